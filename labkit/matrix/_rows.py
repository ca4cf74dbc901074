"""A matrix as the tables see it: its lines, with the runs that are complete."""

from labkit.matrix._file import MatrixFile
from labkit.matrix._jobs import Line
from labkit.matrix._plan import plan
from labkit.matrix._states import done
from labkit.studies import Row, Study


def study(matrix: MatrixFile) -> Study:
    """Every line of a matrix with its complete runs; None where one is missing."""
    planned = plan(matrix)
    return Study(matrix.title, [_row(line) for line in planned.teachers], [_row(line) for line in planned.students], matrix.compare)


def _row(line: Line) -> Row:
    return Row(line.labels, {seed: done(job) for seed, job in line.jobs.items()}, line.baseline)
