"""The rows of a study, and which of them are compared."""

from collections.abc import Sequence
from typing import NamedTuple

from labkit.records import Run

LABELS = ("dataset", "teacher_network", "student_network", "noise", "method")


class Row(NamedTuple):
    """One line of the tables: the runs that differ by their seed alone."""

    labels: dict[str, str]  # by LABELS; "" = does not apply
    runs: dict[int, Run | None]  # by seed, in the matrix's order; None = not complete
    baseline: bool = False  # student rows only: a method without a teacher (student alone, compute-matched)


class Study(NamedTuple):
    """A matrix's rows."""

    title: str
    teachers: list[Row]
    students: list[Row]
    compare: list[tuple[str, str]]  # pairs of student methods asked for: first over second


class Pair(NamedTuple):
    """A row and what it is compared with."""

    row: Row
    over: Row

    def seeds(self) -> list[int]:
        """Seeds complete in both, in the row's order."""
        return [seed for seed, run in self.row.runs.items() if run and self.over.runs.get(seed)]


def complete_runs(rows: Sequence[Row]) -> list[Run]:
    """Every complete run of some rows, once, in order."""
    return list({run.run_id: run for row in rows for run in row.runs.values() if run}.values())


def pairs(study: Study) -> list[Pair]:
    """Every student row over every baseline of its data set and student network, then the pairs the matrix asks for.

    A baseline is compared with the baselines before it. Rows of an asked pair agree in every label both have.
    """
    found = []
    for place, row in enumerate(study.students):
        for other, over in enumerate(study.students):
            if over.baseline and _agree(row, over, ("dataset", "student_network")) and (other < place if row.baseline else True):
                found.append(Pair(row, over))
    for first, second in study.compare:
        for row in _of_method(study, first):
            for over in _of_method(study, second):
                if not over.baseline and _agree(row, over, LABELS[:-1]):
                    found.append(Pair(row, over))
    return found


def _of_method(study: Study, method: str) -> list[Row]:
    found = [row for row in study.students if row.labels["method"] == method]
    if not found:
        known = ", ".join(dict.fromkeys(row.labels["method"] for row in study.students))
        raise ValueError(f"compare: no student row of method {method!r}; expected one of {known}.")
    return found


def _agree(row: Row, over: Row, names: Sequence[str]) -> bool:
    """Whether the labels are equal where both rows have them."""
    return all(row.labels[name] == over.labels[name] for name in names if row.labels[name] and over.labels[name])
