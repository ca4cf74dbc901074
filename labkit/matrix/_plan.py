"""From a matrix to its jobs: every one once, teachers before students, its settings checked."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

from labkit.config import SettingsError, StudentSettings, TeacherSettings, TrainSettings
from labkit.datasets import DataError, dataset_recipe
from labkit.matrix._file import SAME, MatrixFile, Scalar
from labkit.matrix._jobs import METHODS, ROLES, Job, Line, Plan
from labkit.planning import checked, planned_run, refuse_strange_weights
from labkit.recipes import idle_settings, resolve, settings_hash

TAUGHT = ("teacher", "as_long_as")  # names of teachers among a method's settings


def plan(matrix: MatrixFile) -> Plan:
    """Every run of a matrix, its settings checked.

    Raises:
        SettingsError: every fault of every run, with the teacher or method it belongs to.
    """
    jobs: dict[str, Job] = {}
    teachers: dict[tuple, Line] = {}
    students: dict[tuple, Line] = {}
    faults: list[str] = []
    for place in _places(matrix):
        taught = {name: _noted(faults, f"teacher {name}", place.teacher, name) for name in matrix.teachers}
        for name, job in taught.items():
            _enter(jobs, teachers, job, name)
        for name, values in matrix.methods.items():
            _enter(jobs, students, _noted(faults, f"method {name}", place.student, name, taught.get(values.get("teacher"))), name)
    if faults:
        raise SettingsError("\n".join(f"matrix {matrix.path.name}, {fault}" for fault in dict.fromkeys(faults)))
    by_file = {name: list(lines.values()) for name, lines in (("teacher", teachers), ("student", students))}
    ordered = sorted(jobs.values(), key=lambda job: (matrix.seeds.index(job.resolved.seed), job.role != "teacher"))
    return Plan(ordered, by_file["teacher"], by_file["student"])


@dataclass(frozen=True)
class _Place:
    """One place on the axes of a matrix, and the jobs of it."""

    matrix: MatrixFile
    datasets: str
    student_networks: str
    teacher_networks: str
    noise: dict[str, Scalar]
    seed: int

    def teacher(self, name: str) -> Job:
        own = _network(self.teacher_networks) | self.matrix.teachers[name]
        values = _without_idle("teacher", self._common("teacher") | self.noise | own, keep=own, taught_by=None)
        run = planned_run(checked(TeacherSettings, values))
        noise = ", ".join(f"{key}={value}" for key, value in self.noise.items() if key in values and key not in own)
        title = self._title(f"teacher {name}", ("datasets", "teacher_networks"), noise)
        return Job(run.run_id, title, "teacher", values, run.settings, noise=noise)

    def student(self, name: str, teacher: Job | None) -> Job | None:
        """The student of a method; None where its teacher has faults, which were told."""
        method = self.matrix.methods[name]
        own = _network(self.student_networks) | {key: value for key, value in method.items() if key not in TAUGHT}
        taught_by = (teacher.method if teacher else "lad") if "teacher" in method else None
        values = _without_idle("student", self._common("student") | own, keep=own, taught_by=taught_by)
        if "as_long_as" in method:
            values["train_steps"] = self.teacher(method["as_long_as"]).resolved.train_steps + _resolved("student", values).train_steps
        checked(StudentSettings, values, taught_by=taught_by)
        if taught_by and teacher is None:
            return None
        resolved = _resolved("student", values)
        if teacher:
            refuse_strange_weights(resolved, teacher.resolved)
        hashed = settings_hash(resolved.model_dump() | {"role": "student", "teacher": teacher.key if teacher else ""})
        encoder = resolved.encoder.replace("/", "_")
        key = "-".join([self.datasets, "student", METHODS[taught_by], resolved.architecture, encoder, f"s{self.seed}", hashed])
        axes = ("datasets", "student_networks", *(("teacher_networks",) if teacher else ()))
        return Job(key, self._title(name, axes, teacher.noise if teacher else ""), "student", values, resolved, teacher)

    def _common(self, role: str) -> dict[str, Any]:
        """What every run of a role is given; settings.ROLE.NAME goes before settings.NAME."""
        given, fields = self.matrix.settings, ROLES[role].model_fields
        shared = {name: value for name, value in given.items() if "." not in name and name in fields}
        own = {name.partition(".")[2]: value for name, value in given.items() if name.startswith(f"{role}.")}
        return {"dataset": self.datasets, "seed": self.seed, "runs": self.matrix.runs} | shared | own

    def _title(self, name: str, axes: tuple[str, ...], noise: str) -> str:
        """The name, then whatever the matrix varies, and the seed last."""
        varied = [getattr(self, axis) for axis in axes if len(getattr(self.matrix, axis)) > 1]
        varied = [place for place in (*varied, noise) if place not in ("", SAME)]
        return f"{name} ({', '.join(varied)}) s{self.seed}" if varied else f"{name} s{self.seed}"


def _places(matrix: MatrixFile) -> Iterator[_Place]:
    noises = [dict(zip(matrix.noise, values, strict=True)) for values in product(*matrix.noise.values())]
    axes = product(matrix.datasets, matrix.student_networks, matrix.teacher_networks, noises, matrix.seeds)
    return (_Place(matrix, *place) for place in axes)


def _enter(jobs: dict[str, Job], lines: dict[tuple, Line], job: Job | None, method: str) -> None:
    """Put a job on its line; the same computation under two names is one job."""
    if job is None:
        return
    teacher = job if job.role == "teacher" else job.teacher
    shown = {
        "dataset": job.resolved.dataset,
        "teacher_network": _parts(teacher.resolved) if teacher else "",
        "student_network": _parts(job.resolved) if job.role == "student" else "",
        "noise": teacher.noise if teacher else "",
        "method": method,
    }
    line = lines.setdefault(tuple(shown.values()), Line(shown, {}, baseline=teacher is None))
    line.jobs[job.resolved.seed] = jobs.setdefault(job.key, job)


def _without_idle(role: str, values: dict[str, Any], *, keep: dict[str, Any], taught_by: str | None) -> dict[str, Any]:
    """Shared settings only where they mean something; what a teacher or method asks for itself stays, and is refused if idle."""
    try:
        idle = idle_settings(ROLES[role](**values), taught_by=taught_by) - keep.keys()
    except SettingsError:
        return values  # told by the check that follows
    return {name: value for name, value in values.items() if name not in idle}


def _resolved(role: str, values: dict[str, Any]) -> TrainSettings:
    settings = ROLES[role](**values)
    return resolve(settings, dataset_recipe(settings.dataset, settings.recipe))


def _network(network: str) -> dict[str, str]:
    return {} if network == SAME else dict(zip(("architecture", "encoder"), network.split("/"), strict=True))


def _parts(settings: TrainSettings) -> str:
    return f"{settings.architecture}/{settings.encoder}"


def _noted(faults: list[str], where: str, make: Any, *arguments: Any) -> Job | None:
    """Keep an expected error's words, with whose they are, and go on."""
    try:
        return make(*arguments)
    except (SettingsError, DataError) as error:
        faults += [f"{where}: {line}" for line in str(error).splitlines()]
        return None
