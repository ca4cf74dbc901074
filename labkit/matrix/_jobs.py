"""A matrix's jobs, one `labkit run` each, and the lines of the tables they fill."""

import shlex
from dataclasses import dataclass
from typing import Any

from labkit.config import StudentSettings, TeacherSettings, TrainSettings
from labkit.planning import planned_run
from labkit.records import Run

ROLES: dict[str, type[TrainSettings]] = {"teacher": TeacherSettings, "student": StudentSettings}
METHODS = {None: "none", "none": "kd", "lad": "lad"}  # of a student, by its teacher's


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
        return METHODS[self.teacher.method if self.teacher else None]

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
