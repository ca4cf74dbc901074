"""Jobs of a matrix, one `labkit train` each, and the lines of the tables they fill."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Job:
    """One run of a matrix, as `labkit train` is asked for it.

    Attributes:
        key: names its receipt and log. Its last part is a hash of the settings and, for a student,
            of its teacher's key.
        title: for people.
        role: teacher or student.
        values: settings; a student's teacher is not among them.
        resolved: final settings.
        teacher: the job whose run teaches this one.
        noise: the matrix's noise that reaches a teacher, for people; "" where none does.
    """

    key: str
    title: str
    role: str
    values: Mapping[str, Any]
    resolved: Any
    teacher: "Job | None" = None
    noise: str = ""

    @property
    def taught_by(self) -> str | None:
        """Kind of its teacher: plain or assisted."""
        return self.teacher.resolved.kind if self.teacher else None

    @property
    def work(self) -> int:
        """Steps, weighed by the passes through the trained network: two noisings make two."""
        return self.resolved.train_steps * (2 if self.resolved.kind == "assisted" else 1)

    def settings(self, teacher_id: str = "") -> dict[str, Any]:
        """What `labkit train` is given; the planned precision holds on any machine."""
        given = dict(self.values) | {"precision": self.resolved.precision}
        return given | ({"teacher": teacher_id} if self.teacher else {})

    def command(self, teacher_id: str = "") -> str:
        """The plain command that makes this run."""
        pairs = self.settings(teacher_id).items()
        parts = [f"--set {shlex.quote(f'{name}={value}')}" for name, value in pairs]
        return " ".join(["labkit train", self.role, *parts])


@dataclass(frozen=True)
class Line:
    """One line of a table: what its runs share, and the job of every seed."""

    labels: dict[
        str, str
    ]  # dataset, teacher_network, student_network, noise, method; "" = does not apply
    jobs: dict[int, Job]  # by seed
    baseline: bool = False  # a student without a teacher


@dataclass(frozen=True)
class Plan:
    """Jobs without doubles, teachers first, and the lines they fill."""

    jobs: list[Job]
    teachers: list[Line]
    students: list[Line]
