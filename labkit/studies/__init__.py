"""What a matrix of complete runs says: scores with seeds, gains over the twin with intervals, by class and by region."""

from labkit.studies.gains import class_gains_table, gains_table
from labkit.studies.regions import RegionConfusions, measure, region_confusions
from labkit.studies.rows import LABELS, Pair, Row, Study, complete_runs, pairs
from labkit.studies.scores import noise_diagrams, students_table, teachers_table
from labkit.studies.writing import interval_line, protocol_line, write_table

__all__ = [
    "LABELS", "Pair", "RegionConfusions", "Row", "Study", "class_gains_table", "complete_runs", "gains_table", "interval_line", "measure",
    "noise_diagrams", "pairs", "protocol_line", "region_confusions", "students_table", "teachers_table", "write_table",
]  # fmt: skip
