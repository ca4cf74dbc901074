"""Rows of a study, and which of them are compared."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from labkit.errors import SettingsError, nearest_name
from labkit.records.run import Run

FIRST_LABELS = ("dataset", "teacher_network", "student_network", "noise")
LAST_LABELS = ("taught_by", "method")
TEACHER_LABELS = ("teacher_network", "noise")  # a baseline has no teacher
TAUGHT_BY = {"alone": "nobody", "of-plain": "plain", "of-assisted": "assisted"}  # by kind


class Row(NamedTuple):
    """One line of the tables: the runs that differ by their seed alone.

    Attributes:
        labels: text by name, such as dataset, student_network, noise, method; "" = does not apply.
            Any further name becomes a column, and only rows that agree in it are compared.
        runs: by seed; None = not complete.
        baseline: student rows only: trained without a teacher (alone, compute-matched).
        tried: number of settings tried until this row's were chosen; 0 = not counted.
    """

    labels: dict[str, str]
    runs: dict[int, Run | None]
    baseline: bool = False
    tried: int = 0

    @property
    def method(self) -> str:
        return self.labels.get("method", "")

    @property
    def complete(self) -> list[Run]:
        """Complete runs in the order of the seeds."""
        return [run for run in self.runs.values() if run]

    @property
    def kind(self) -> str:
        """Kind of the complete runs; "" where there is none."""
        return next((run.kind for run in self.complete), "")

    @property
    def taught_by(self) -> str:
        """nobody, plain or assisted for student rows; "" where it is not known."""
        given = self.labels.get("taught_by", "") or TAUGHT_BY.get(self.kind, "")
        return given or ("nobody" if self.baseline else "")


class Study(NamedTuple):
    """Rows of teachers and students, as a matrix file gives them."""

    title: str
    teachers: list[Row]
    students: list[Row]
    compare: Sequence[tuple[str, str]] = ()  # pairs of student methods: gain of first over second


class Pair(NamedTuple):
    """A row and the row it is compared with, each scored under one reading."""

    row: Row
    over: Row
    reading: str = "image"
    over_reading: str = "image"

    def seeds(self) -> list[int]:
        """Seeds complete in both, in the row's order."""
        return [seed for seed, run in self.row.runs.items() if run and self.over.runs.get(seed)]


def label_names(rows: Iterable[Row]) -> list[str]:
    """Names of the rows' labels in the order of the columns."""
    given = dict.fromkeys(name for row in rows for name in row.labels)
    extra = [name for name in given if name not in (*FIRST_LABELS, *LAST_LABELS)]
    return [*FIRST_LABELS, *extra, *LAST_LABELS]


def complete_runs(study: Study) -> list[Run]:
    """Every complete run of a study once, in order of the rows."""
    rows = [*study.teachers, *study.students]
    return list({run.run_id: run for row in rows for run in row.complete}.values())


def student_pairs(study: Study) -> list[Pair]:
    """Every student row over every baseline, then the pairs the study asks for.

    Compared rows agree in every label both have: over a baseline, apart from the teacher's labels.
    A baseline is compared with the baselines before it.

    Raises:
        SettingsError: `compare` names a method that no row has.
    """
    pairs = []
    for number, row in enumerate(study.students):
        earlier = study.students[:number] if row.baseline else study.students
        baselines = [over for over in earlier if over.baseline]
        pairs += [Pair(row, over) for over in baselines if _agree(row, over, TEACHER_LABELS)]
    for first, second in study.compare:
        for row in _of_method(study, first):
            others = [over for over in _of_method(study, second) if not over.baseline]
            pairs += [Pair(row, over) for over in others if _agree(row, over)]
    return pairs


def teacher_pairs(study: Study) -> list[Pair]:
    """Assisted teachers with their true label over plain ones, over a foreign and an empty label.

    The second and third compare a row with itself: reliance and label gain, with intervals.
    """
    pairs = []
    plain = [row for row in study.teachers if row.kind == "plain"]
    for row in study.teachers:
        if row.kind != "assisted":
            continue
        twins = [over for over in plain if _agree(row, over, ("noise",))]
        pairs += [Pair(row, over, "true_label", "image") for over in twins]
        pairs += [Pair(row, row, "true_label", other) for other in ("foreign_label", "zero_label")]
    return [pair for pair in pairs if _has_readings(pair)]


def _has_readings(pair: Pair) -> bool:
    """Whether the complete runs were scored under the readings; one frame has no foreign label."""
    sides = ((pair.row, pair.reading), (pair.over, pair.over_reading))
    return all(
        reading in run.metrics()["readings"] for row, reading in sides for run in row.complete
    )


def _of_method(study: Study, method: str) -> list[Row]:
    rows = [row for row in study.students if row.method == method]
    if not rows:
        known = {row.method for row in study.students}
        raise SettingsError(
            f"compare: no student row has the method {method!r}; {nearest_name(method, known)}"
        )
    return rows


def _agree(row: Row, over: Row, left_out: Sequence[str] = ()) -> bool:
    """Whether labels, apart from some, and train_size are equal where both rows have them."""
    if len({of.complete[0].settings.train_size for of in (row, over) if of.complete}) > 1:
        return False
    names = (row.labels.keys() & over.labels.keys()) - {*LAST_LABELS, *left_out}
    return all(
        row.labels[name] == over.labels[name]
        for name in names
        if row.labels[name] and over.labels[name]
    )
