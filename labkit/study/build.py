"""All tables of a study at once, with the notes below them, and their files."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from labkit.records.artifacts import record_artifact
from labkit.study.counts import read_once
from labkit.study.gains import (
    DRAWS,
    Resampler,
    area_gains_table,
    class_gains_table,
    gains_table,
    teacher_gains_table,
)
from labkit.study.notes import interval_note, margins, origin_note, protocol_note, seeds_note
from labkit.study.rows import Study, complete_runs
from labkit.study.scores import learning_curves, noise_diagrams, students_table, teachers_table
from labkit.study.tables import study_markdown, write_study_table, write_table

CAPTIONS = {
    "teachers": "Teachers",
    "teacher_gains": "Assisted teachers over plain ones, over a foreign and an empty label",
    "students": "Students",
    "gains": "Students over their baselines",
    "class_gains": "Gain of every class over the first baseline, points of IoU",
    "area_gains": "Gain over the first baseline by a class's area in a frame, points of IoU",
    "learning_curves": "mIoU along training",
}
SHOWN = ("teachers", "teacher_gains", "students", "gains")  # as Markdown too


@dataclass(frozen=True)
class StudyTables:
    """Every table of a study; empty ones have no lines. See `scores` and `gains` for columns."""

    study: Study
    teachers: pd.DataFrame
    teacher_gains: pd.DataFrame
    students: pd.DataFrame
    gains: pd.DataFrame
    class_gains: pd.DataFrame
    area_gains: pd.DataFrame
    learning_curves: pd.DataFrame
    notes: dict[str, list[str]]  # below every table

    def markdown(self, name: str) -> str:
        """One of teachers, teacher_gains, students and gains, for reading."""
        return study_markdown(name, getattr(self, name), notes=self.notes[name])

    def margins(self) -> str:
        """The paired gains in Markdown lines."""
        return margins(self.teacher_gains, self.gains)

    def noise_diagrams(self) -> dict[str, pd.DataFrame]:
        """Noise diagrams of the teachers, by kind; see `scores.noise_diagrams`."""
        return noise_diagrams(self.teachers)

    def caption(self, name: str) -> str:
        """What a table holds, of which study, and its notes."""
        notes = " ".join(self.notes[name])
        return f"{CAPTIONS[name]}; {self.study.title}. {notes}".strip()


def study_tables(study: Study, *, draws: int = DRAWS, seed: int = 0) -> StudyTables:
    """Every table of a study from its complete runs.

    Args:
        draws, seed: of the bootstrap.

    Raises:
        RecordError: compared runs were scored by different protocols or on different labels.
    """
    study = read_once(study)
    resampler = Resampler(draws, seed=seed)
    return StudyTables(
        study=study,
        teachers=teachers_table(study),
        teacher_gains=teacher_gains_table(study, resampler),
        students=students_table(study),
        gains=gains_table(study, resampler),
        class_gains=class_gains_table(study, resampler),
        area_gains=area_gains_table(study, resampler),
        learning_curves=learning_curves(study),
        notes=_notes(study, resampler),
    )


def write_tables(tables: StudyTables, folder: Path, *, parameters: Mapping[str, Any]) -> list[Path]:
    """Every table with a line as CSV, those for reading as Markdown, all in MANIFEST.json.

    Returns:
        The files; the same bytes when made again from the same runs.
    """
    files = []
    for name in CAPTIONS:
        table = getattr(tables, name)
        if table.empty:
            continue
        if name in SHOWN:
            files += write_study_table(name, table, folder, notes=tables.notes[name])
        else:
            files.append(write_table(table, folder / f"{name}.csv"))
    runs = complete_runs(tables.study)
    for path in files:
        caption = tables.caption(path.stem)
        record_artifact(path, caption=caption, runs=runs, parameters=dict(parameters))
    return files


def _notes(study: Study, resampler: Resampler) -> dict[str, list[str]]:
    notes = {}
    for name in CAPTIONS:
        rows = study.teachers if name.startswith("teacher") else study.students
        if name == "learning_curves":
            rows = [*study.teachers, *study.students]
        lines = [protocol_note(rows), origin_note(rows), seeds_note(rows)]
        if name.endswith("gains"):
            lines.append(interval_note(rows, resampler))
        notes[name] = [line for line in lines if line]
    return notes
