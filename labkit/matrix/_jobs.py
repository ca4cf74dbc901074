"""From a matrix to its runs: every job once, teachers before students, and the rows of the tables they fill."""

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

from labkit.config import SettingsError, StudentSettings, TeacherSettings, TrainSettings
from labkit.datasets import DataError, dataset_recipe
from labkit.matrix._file import SAME, MatrixFile, Scalar
from labkit.planning import checked, planned_run, refuse_strange_weights
from labkit.recipes import idle_settings, resolve, settings_hash
from labkit.records import Run

ROLES: dict[str, type[TrainSettings]] = {"teacher": TeacherSettings, "student": StudentSettings}


@dataclass(frozen=True)
class Job:
    """One run of a matrix, as `labkit run` is asked for it.

    Attributes:
        key: names its receipt and log: a run id whose last part is a hash of the settings and, for a student, of its teacher's run id.
        title: for people.
        role: teacher or student.
        values: settings; a student's teacher is not among them.
        resolved: the same, filled in by the data set's recipe.
        teacher: the job whose run teaches this one.
        noise: the matrix's noise that reaches a teacher, for people; "" where the teacher is plain or sets it itself.
    """

    key: str
    title: str
    role: str
    values: dict[str, Any]
    resolved: TrainSettings
    teacher: "Job | None" = None
    noise: str = ""

    @property
    def method(self) -> str:
        """none, kd or lad, as run ids have it."""
        if self.role == "teacher":
            return self.resolved.method
        return {None: "none", "none": "kd", "lad": "lad"}[self.teacher.method if self.teacher else None]

    @property
    def settings(self) -> dict[str, Any]:
        """Everything `labkit run` is given. A teacher's run id is known before it is trained: it is its key."""
        return self.values | ({"teacher": self.teacher.key} if self.teacher else {})

    @property
    def command(self) -> str:
        """The plain command that makes this run."""
        parts = [f"--set {shlex.quote(f'{name}={value}')}" for name, value in self.settings.items()]
        return " ".join(["labkit run", self.role, *parts])

    @property
    def work(self) -> int:
        """Steps, weighed by the passes through the trained network: two noisings make two."""
        return self.resolved.train_steps * (2 if self.method == "lad" and self.role == "teacher" else 1)

    def run(self) -> Run | None:
        """The run it makes; None while a student's teacher is not trained, whose checkpoint is part of the student's id."""
        if self.teacher and self.teacher.run().state != "complete":
            return None
        return planned_run(ROLES[self.role](**self.settings))


@dataclass(frozen=True)
class Line:
    """One line of a table: what its runs share, and the job of every seed."""

    labels: dict[str, str]  # dataset, teacher_network, student_network, noise, method; "" = does not apply
    jobs: dict[int, Job]  # by seed
    baseline: bool = False  # a student without a teacher


@dataclass(frozen=True)
class Plan:
    """Jobs without doubles, teachers first, and the lines they fill."""

    jobs: list[Job]
    teachers: list[Line]
    students: list[Line]


def plan(matrix: MatrixFile) -> Plan:
    """Every run of a matrix, its settings checked.

    Raises:
        SettingsError: every fault of every run, with the teacher or method it belongs to.
    """
    jobs: dict[str, Job] = {}
    teachers: dict[tuple, Line] = {}
    students: dict[tuple, Line] = {}
    faults: list[str] = []
    axes = product(matrix.datasets, matrix.teacher_networks, _noises(matrix))
    for (dataset, network, noise), (name, seed) in product(axes, product(matrix.teachers, matrix.seeds)):
        if (made := _noted(faults, f"teacher {name}", _teacher, matrix, dataset, network, noise, name, seed)) is not None:
            _enter(jobs, teachers, made, seed, name)
    axes = product(matrix.datasets, matrix.student_networks, matrix.teacher_networks, _noises(matrix))
    for (dataset, network, taught, noise), (name, seed) in product(axes, product(matrix.methods, matrix.seeds)):
        teacher = None
        if who := matrix.methods[name].get("teacher"):
            teacher = _noted(faults, f"teacher {who}", _teacher, matrix, dataset, taught, noise, who, seed)
            if teacher is None:
                _noted(faults, f"method {name}", _check_method, matrix, dataset, network, name, seed)
                continue
        if (made := _noted(faults, f"method {name}", _student, matrix, dataset, network, taught, noise, name, seed, teacher)) is not None:
            _enter(jobs, students, made, seed, name)
    if faults:
        raise SettingsError("\n".join(f"matrix {matrix.path.name}, {fault}" for fault in dict.fromkeys(faults)))
    ordered = sorted(jobs.values(), key=lambda job: (matrix.seeds.index(job.resolved.seed), job.role != "teacher"))
    return Plan(ordered, list(teachers.values()), list(students.values()))


def _teacher(matrix: MatrixFile, dataset: str, network: str, noise: Mapping[str, Scalar], name: str, seed: int) -> Job:
    own = _network(network) | matrix.teachers[name]
    values = _common(matrix, "teacher", dataset, seed) | dict(noise) | own
    values = _without_idle("teacher", values, keep=own, taught_by=None)
    settings = checked(TeacherSettings, values)
    run = planned_run(settings)
    told = ", ".join(f"{key}={value}" for key, value in noise.items() if key in values and key not in own)
    title = _title(f"teacher {name}", matrix, seed, datasets=dataset, teacher_networks=network, noise=told)
    return Job(run.run_id, title, "teacher", values, run.settings, noise=told)


def _student(
    matrix: MatrixFile, dataset: str, network: str, taught: str, noise: Mapping[str, Scalar], name: str, seed: int, teacher: Job | None
) -> Job:
    taught_by = teacher.method if teacher else None
    values = _student_values(matrix, dataset, network, name, seed, taught_by)
    if as_long_as := matrix.methods[name].get("as_long_as"):
        before = _teacher(matrix, dataset, taught, noise, as_long_as, seed).resolved.train_steps
        values["train_steps"] = before + _resolved("student", values).train_steps
    checked(StudentSettings, values, taught_by=taught_by)
    resolved = _resolved("student", values)
    if teacher:
        refuse_strange_weights(resolved, teacher.resolved)
    method = {None: "none", "none": "kd", "lad": "lad"}[taught_by]
    parts = [dataset, "student", method, resolved.architecture, resolved.encoder.replace("/", "_"), f"s{seed}"]
    key = "-".join([*parts, settings_hash(resolved.model_dump() | {"role": "student", "teacher": teacher.key if teacher else ""})])
    title = _title(
        name, matrix, seed, datasets=dataset, student_networks=network, teacher_networks=taught if teacher else "",
        noise=teacher.noise if teacher else "",
    )  # fmt: skip
    return Job(key, title, "student", values, resolved, teacher)


def _student_values(matrix: MatrixFile, dataset: str, network: str, name: str, seed: int, taught_by: str | None) -> dict[str, Any]:
    own = {key: value for key, value in matrix.methods[name].items() if key not in ("teacher", "as_long_as")}
    own = _network(network) | own
    values = _common(matrix, "student", dataset, seed) | own
    return _without_idle("student", values, keep=own, taught_by=taught_by)


def _check_method(matrix: MatrixFile, dataset: str, network: str, name: str, seed: int) -> None:
    """Refuse a method's own faults where its teacher has some, too: all are told at once."""
    checked(StudentSettings, _student_values(matrix, dataset, network, name, seed, "lad"), taught_by="lad")


def _enter(jobs: dict[str, Job], lines: dict[tuple, Line], job: Job, seed: int, method: str) -> None:
    """Put a job on its line; the same computation under two names is one job."""
    teacher = job if job.role == "teacher" else job.teacher
    shown = {
        "dataset": job.resolved.dataset,
        "teacher_network": _parts(teacher.resolved) if teacher else "",
        "student_network": _parts(job.resolved) if job.role == "student" else "",
        "noise": teacher.noise if teacher else "",
        "method": method,
    }
    job = jobs.setdefault(job.key, job)
    if job.teacher:
        jobs.setdefault(job.teacher.key, job.teacher)
    line = lines.setdefault(tuple(shown.values()), Line(shown, {}, job.role == "student" and not teacher))
    line.jobs[seed] = job


def _common(matrix: MatrixFile, role: str, dataset: str, seed: int) -> dict[str, Any]:
    """What every run of a role is given; settings.ROLE.NAME goes before settings.NAME."""
    fields = ROLES[role].model_fields
    shared = {name: value for name, value in matrix.settings.items() if "." not in name and name in fields}
    own = {name.partition(".")[2]: value for name, value in matrix.settings.items() if name.startswith(f"{role}.")}
    return {"dataset": dataset, "seed": seed, "runs": matrix.runs} | shared | own


def _without_idle(role: str, values: dict[str, Any], *, keep: Mapping[str, Any], taught_by: str | None) -> dict[str, Any]:
    """Shared settings only where they mean something; what a teacher or method asks for itself stays, and is refused if idle."""
    kind = ROLES[role]
    try:
        idle = idle_settings(kind(**values), taught_by=taught_by) - keep.keys()
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


def _noises(matrix: MatrixFile) -> Iterator[dict[str, Scalar]]:
    for values in product(*matrix.noise.values()):
        yield dict(zip(matrix.noise, values, strict=True))


def _title(name: str, matrix: MatrixFile, seed: int, **where: str) -> str:
    """The name, then whatever the matrix varies, and the seed last.

    Args:
        where: the run's place on each axis of the matrix: datasets, teacher_networks, student_networks, noise.
    """
    varied = [place for axis, place in where.items() if place and (axis == "noise" or len(getattr(matrix, axis)) > 1)]
    return " ".join([f"{name} ({', '.join(varied)})" if varied else name, f"s{seed}"])


def _noted(faults: list[str], where: str, make: Any, *arguments: Any) -> Job | None:
    """Keep an expected error's words, with whose they are, and go on."""
    try:
        return make(*arguments)
    except (SettingsError, DataError) as error:
        faults += [f"{where}: {line}" for line in str(error).splitlines()]
        return None
