"""From a matrix to its jobs: every one once, teachers before students, its settings checked."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

from labkit.batch.jobs import Job, Line, Plan
from labkit.batch.matrix import RECIPE, TAUGHT, MatrixFile, Scalar, networks_of
from labkit.distillers import parse_distillation
from labkit.errors import LabkitError, SettingsError
from labkit.settings.fields import settings_class
from labkit.settings.paths import absolute_path
from labkit.settings.resolve import make_settings, settings_digest
from labkit.training.device import choose_device, choose_precision
from labkit.training.planning import check_compatibility

STUDENT_KINDS = {None: "alone", "plain": "of-plain", "assisted": "of-assisted"}


def plan(matrix: MatrixFile) -> Plan:
    """Every run of a matrix, its settings checked; no data are read and nothing is written.

    Raises:
        SettingsError: every fault of every run, with the teacher or method it belongs to.
    """
    return _Planner(matrix).plan()


@dataclass(frozen=True)
class _Cell:
    """One cell on the axes of a matrix, for every seed."""

    datasets: str
    train_sizes: int | None
    student_networks: str
    teacher_networks: str
    noise: Mapping[str, Scalar]


class _Planner:
    """Checks settings once for every distinct set of values; seeds share them."""

    def __init__(self, matrix: MatrixFile) -> None:
        self.matrix = matrix
        self.faults: dict[str, None] = {}
        self.known: dict[tuple, Any] = {}  # settings, or None where they have faults
        self.jobs: dict[str, Job] = {}
        self.lines: dict[str, dict[tuple, Line]] = {"teacher": {}, "student": {}}

    def plan(self) -> Plan:
        for cell in self._cells():
            for seed in self.matrix.seeds:
                taught = {name: self._teacher(cell, name, seed) for name in self.matrix.teachers}
                for name, job in taught.items():
                    self._enter(job, name)
                for name, method in self.matrix.methods.items():
                    teacher = taught.get(str(method["teacher"])) if "teacher" in method else None
                    self._enter(self._student(cell, name, seed, teacher), name)
        if self.faults:
            name = self.matrix.path.name
            raise SettingsError("\n".join(f"matrix {name}, {fault}" for fault in self.faults))
        order = {seed: place for place, seed in enumerate(self.matrix.seeds)}
        jobs = sorted(
            self.jobs.values(), key=lambda j: (order[j.resolved.seed], j.role != "teacher")
        )
        return Plan(jobs, *(list(lines.values()) for lines in self.lines.values()))

    def _cells(self) -> Iterator[_Cell]:
        matrix = self.matrix
        noises = [
            dict(zip(matrix.noise, values, strict=True))
            for values in product(*matrix.noise.values())
        ]
        sizes = matrix.train_sizes or {None: {}}
        networks = (matrix.student_networks, matrix.teacher_networks)
        axes = product(matrix.datasets, sizes, *networks, noises)
        return (_Cell(*cell) for cell in axes)

    def _teacher(self, cell: _Cell, name: str, seed: int) -> Job | None:
        own = networks_of(cell.teacher_networks) | self.matrix.teachers[name]
        assisted = _truth(own.get("assisted", True))
        applies = settings_class("teacher", "assisted" if assisted else "plain").model_fields.keys()
        if own.get("class_codes") == "fixed":
            applies = applies - {"class_std"}  # fixed codes are not drawn
        shared = self._shared("teacher", cell) | cell.noise
        values = {key: value for key, value in shared.items() if key in applies} | own
        settings = self._resolved(f"teacher {name}", "teacher", values)
        if settings is None:
            return None
        noise = {k: v for k, v in cell.noise.items() if k in applies and k not in own}
        shown = ", ".join(f"{key}={value}" for key, value in noise.items())
        title = self._title(
            f"teacher {name}", cell, seed, ("datasets", "train_sizes", "teacher_networks"), shown
        )
        return self._job("teacher", title, values, settings, seed, noise=shown)

    def _student(self, cell: _Cell, name: str, seed: int, teacher: Job | None) -> Job | None:
        """The student of a method; None where it or its teacher has faults, which are kept."""
        method = self.matrix.methods[name]
        own = {key: value for key, value in method.items() if key not in TAUGHT}
        own = networks_of(cell.student_networks) | own
        taught_by = (
            (teacher.resolved.kind if teacher else "assisted") if "teacher" in method else None
        )
        values = self._student_values(cell, own, taught_by)
        settings = self._resolved(f"method {name}", "student", values, taught_by)
        if settings is not None and "as_long_as" in method:
            longer = self._teacher(cell, str(method["as_long_as"]), seed)
            if longer is None:
                return None
            values["train_steps"] = longer.resolved.train_steps + settings.train_steps
            settings = self._resolved(f"method {name}", "student", values, taught_by)
        if settings is None or (taught_by and teacher is None):
            return None
        if teacher and not self._compatible(f"method {name}", settings, teacher):
            return None
        axes = (
            "datasets",
            "train_sizes",
            "student_networks",
            *(("teacher_networks",) if teacher else ()),
        )
        title = self._title(name, cell, seed, axes, teacher.noise if teacher else "")
        return self._job("student", title, values, settings, seed, teacher)

    def _student_values(
        self, cell: _Cell, own: dict[str, Any], taught_by: str | None
    ) -> dict[str, Any]:
        """Shared settings where they apply to this kind of student, then its own."""
        applies = settings_class("student", STUDENT_KINDS[taught_by]).model_fields
        shared = self._shared("student", cell)
        values = {key: value for key, value in shared.items() if key in applies} | own
        options = {key: value for key, value in shared.items() if "." in key and key not in own}
        if taught_by and options:
            distillation = values.get("distillation")
            settings = (
                self._resolved("settings", "student", values, taught_by)
                if not distillation
                else None
            )
            used = _distillers(distillation or (settings.distillation if settings else ""))
            values |= {
                key: value for key, value in options.items() if key.partition(".")[0] in used
            }
        return values

    def _shared(self, role: str, cell: _Cell) -> dict[str, Any]:
        """Settings of every run of a role; settings.ROLE.NAME goes before settings.NAME."""
        given = self.matrix.settings
        plain = {name: v for name, v in given.items() if name.partition(".")[0] not in self.lines}
        own = {
            name.partition(".")[2]: v for name, v in given.items() if name.startswith(f"{role}.")
        }
        size = {}
        if cell.train_sizes is not None:
            size = {"train_size": cell.train_sizes} | self.matrix.train_sizes[cell.train_sizes]
        return {"dataset": cell.datasets, "runs": self.matrix.runs} | plain | own | size

    def _resolved(
        self, where: str, role: str, values: Mapping[str, Any], taught_by: str | None = None
    ) -> Any:
        """Final settings with the first seed, checked once for all; None where they have faults."""
        known = (
            role,
            taught_by,
            *sorted((name, type(v).__name__, v) for name, v in values.items()),
        )
        if known not in self.known:
            self.known[known] = None
            try:
                seed = {"seed": self.matrix.seeds[0]}
                self.known[known] = _check(role, values | seed, taught_by)
            except LabkitError as error:
                self.faults |= dict.fromkeys(f"{where}: {line}" for line in str(error).splitlines())
        return self.known[known]

    def _compatible(self, where: str, settings: Any, teacher: Job) -> bool:
        """Whether a student's settings are such that this teacher can teach it."""
        try:
            check_compatibility(settings, teacher.resolved)
        except SettingsError as error:
            self.faults[f"{where}: {error}"] = None
            return False
        return True

    def _job(
        self, role: str, title: str, values: Mapping[str, Any], settings: Any, seed: int,
        teacher: Job | None = None, noise: str = "",
    ) -> Job:  # fmt: skip
        """The job of one seed; the same computation under two names is one job."""
        if settings.seed != seed:
            settings = settings.model_copy(update={"seed": seed})
        extra = {"role": role, "teacher": teacher.key if teacher else ""}
        hashed = settings_digest(settings, extra)[:12]
        parts = [
            settings.dataset,
            role,
            settings.kind,
            settings.architecture,
            settings.encoder,
            f"s{seed}",
            hashed,
        ]
        key = re.sub(r"[^A-Za-z0-9._-]", "_", "-".join(parts))
        return self.jobs.get(key) or Job(
            key, title, role, values | {"seed": seed}, settings, teacher, noise
        )

    def _enter(self, job: Job | None, method: str) -> None:
        """Put a job on its line."""
        if job is None:
            return
        teacher = job if job.role == "teacher" else job.teacher
        labels = {
            "dataset": job.resolved.dataset,
            "teacher_network": _network(teacher.resolved) if teacher else "",
            "student_network": _network(job.resolved) if job.role == "student" else "",
            "noise": teacher.noise if teacher else "",
            "method": method,
        }
        if self.matrix.train_sizes:
            labels["train_size"] = str(job.resolved.train_size)
        lines = self.lines[job.role]
        line = lines.setdefault(tuple(labels.values()), Line(labels, {}, baseline=teacher is None))
        line.jobs[job.resolved.seed] = self.jobs.setdefault(job.key, job)

    def _title(self, name: str, cell: _Cell, seed: int, axes: tuple[str, ...], noise: str) -> str:
        """The name, then whatever the matrix varies, and the seed last."""
        varied = [getattr(cell, axis) for axis in axes if len(getattr(self.matrix, axis)) > 1]
        varied = [text for text in (*varied, noise) if text not in ("", RECIPE)]
        varied = [f"{text} images" if isinstance(text, int) else text for text in varied]
        return f"{name} ({', '.join(varied)}) s{seed}" if varied else f"{name} s{seed}"


def _check(role: str, values: Mapping[str, Any], taught_by: str | None) -> Any:
    """Final settings of a run whose teacher may still be to be trained; the precision resolved.

    Raises:
        LabkitError: a fault of the settings.
    """
    teacher = {"teacher": "planned"} if taught_by else {}
    settings = make_settings(role, values | teacher, taught_by=taught_by)
    changed: dict[str, Any] = {}
    if settings.precision == "auto":
        changed["precision"] = choose_precision("auto", choose_device(settings.device))
    if settings.encoder_weights not in ("none", "imagenet"):
        changed["encoder_weights"] = str(absolute_path(settings.encoder_weights))
    return settings.model_copy(update=changed)


def _truth(value: Scalar) -> bool:
    """A YAML or text truth; what is neither is refused with the other settings."""
    return value is not False and str(value).lower() not in ("false", "no", "0")


def _distillers(distillation: Any) -> frozenset[str]:
    try:
        return frozenset(parse_distillation(str(distillation)))
    except (SettingsError, ValueError):
        return (
            frozenset()
        )  # a fault of the distillation, which is found where its settings are made


def _network(settings: Any) -> str:
    return f"{settings.architecture}/{settings.encoder}"


def first_assisted(planned: Plan, matrix: MatrixFile) -> Job:
    """The first assisted teacher, whose attribution a matrix may ask for.

    Raises:
        SettingsError: the matrix has none.
    """
    for job in planned.jobs:
        if job.role == "teacher" and job.resolved.kind == "assisted":
            return job
    raise SettingsError(
        f"matrix {matrix.path.name}: attribution is asked for, and no teacher is assisted; "
        "expected one, or "
        "attribution: false."
    )
