"""Which tables a figure of a study draws, and its caption and text; one call draws and saves it."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from matplotlib.figure import Figure

from labkit.records.artifacts import save_figure
from labkit.records.run import Run
from labkit.study.build import StudyTables
from labkit.study.rows import Study, complete_runs

MOST_CURVES = 30  # that can be told apart in one figure
MOST_GAINS = 80  # lines of one figure
OF_STEP = ("reads", "step", "n", "miou", "low", "high")  # columns of learning curves, labels aside
FEWEST_TEACHERS = 4  # whose use of the label says something about their students' gains


class Drawing(NamedTuple):
    """Arguments of one figure and its text."""

    arguments: tuple[Any, ...]
    caption: str
    alt: str
    suffix: str = ""  # of the file name, where a study has several such figures


def save_study_figure(
    tables: StudyTables,
    name: str,
    folder: Path,
    draw: Callable[..., Figure],
    *,
    parameters: Mapping[str, Any],
) -> str:
    """Draw and save one kind of figure of a study, with its record.

    Args:
        name: a name of `DRAWINGS`, and of the file.
        draw: the figure's function in `labkit.plots`.
        parameters: of the notebook.

    Returns:
        Names of the files, or what the study lacks for this figure.
    """
    files = []
    for drawing in DRAWINGS[name](tables):
        path = folder / f"{name}{drawing.suffix}.png"
        save_figure(
            draw(*drawing.arguments),
            path,
            caption=drawing.caption,
            alt=drawing.alt,
            runs=complete_runs(tables.study),
            parameters=dict(parameters),
        )
        files.append(path.name)
    return ", ".join(files) or f"{name}: not drawn; {NEEDS[name]}."


def one_of_each_kind(study: Study) -> dict[str, Run]:
    """The runs whose predictions are drawn: of every kind the first row's first complete seed.

    Only runs of the first data set of the study, by the name to show.
    """
    runs: dict[str, Run] = {}
    kinds = set()
    for row in (*study.teachers, *study.students):
        if not row.complete or (row.complete[0].role, row.kind) in kinds:
            continue
        run = row.complete[0]
        if runs and run.settings.dataset != next(iter(runs.values())).settings.dataset:
            continue
        kinds.add((run.role, row.kind))
        runs[NAMES[row.kind]] = run
    return runs


NAMES = {
    "plain": "plain teacher",
    "assisted": "assisted teacher",
    "alone": "student alone",
    "of-plain": "student of plain",
    "of-assisted": "student of assisted",
}


def _forest(name: str) -> Callable[[StudyTables], list[Drawing]]:
    def drawings(tables: StudyTables) -> list[Drawing]:
        table = getattr(tables, name)
        if table.empty or table.n.max() == 0 or len(table) > MOST_GAINS:
            return []
        alt = (
            f"{len(table)} paired gains in mIoU with two 95 percent intervals and each seed's gain."
        )
        return [Drawing((table,), tables.caption(name), alt)]

    return drawings


def _regions(tables: StudyTables) -> list[Drawing]:
    if _over_first(tables.gains).boundary_gain.notna().sum() == 0:
        return []
    alt = "Gain near class boundaries and inside regions, with bootstrap intervals, a row a method."
    return [Drawing((tables.gains,), tables.caption("gains"), alt)]


def _sizes(tables: StudyTables) -> list[Drawing]:
    table = tables.gains
    if _over_first(table).dropna(subset="gain").train_frames.nunique() < 2:
        return []
    alt = "Gain in mIoU over the number of training frames, with two 95 percent intervals."
    return [Drawing((table,), tables.caption("gains"), alt)]


def _curves(tables: StudyTables) -> list[Drawing]:
    caption = (
        f"{tables.caption('learning_curves')} Mean over seeds; the band reaches from the lowest "
        "to the highest seed."
    )
    alt = "mIoU over optimiser steps, a line with a band for every row."
    return [
        Drawing((lines,), f"{of_size}{caption}", alt, suffix)
        for suffix, of_size, lines in _by_size(tables.learning_curves)
        if 0 < len(lines.drop(columns=[*OF_STEP]).drop_duplicates()) <= MOST_CURVES
    ]


def _overview(tables: StudyTables) -> list[Drawing]:
    taught = tables.students.teacher_mean.notna().sum() if len(tables.students) else 0
    if not taught or tables.gains.empty:
        return []
    alt = "Heat map, a row a student: its teacher's mIoU and reliance, its own mIoU and its gain."
    return [Drawing((tables.students, tables.gains), tables.caption("gains"), alt)]


def _label_use(tables: StudyTables) -> list[Drawing]:
    students = tables.students[_first_of_teacher(tables.study)].reset_index(drop=True)
    if not len(students) or students.teacher_reliance_mean.nunique() < FEWEST_TEACHERS:
        return []
    if _over_first(tables.gains).gain.notna().sum() == 0:
        return []
    caption = (
        f"{tables.caption('gains')} Spearman's rank correlation over the first student of each "
        "assisted teacher."
    )
    alt = "Three panels: gain over the teacher's reliance, label gain and mIoU, a point a student."
    return [Drawing((students, tables.gains), caption, alt)]


def _over_first(gains: pd.DataFrame) -> pd.DataFrame:
    """Every row over the first one it is compared with: the lines that these figures draw."""
    return gains.drop_duplicates(list(gains.columns[: gains.columns.get_loc("over")]))


def _first_of_teacher(study: Study) -> list[bool]:
    """For every student row whether it is the first that a teacher has taught."""
    first, seen = [], set()
    for row in study.students:
        teachers = {run.teacher.run_id for run in row.complete if run.teacher}
        first.append(bool(teachers) and not teachers & seen)
        seen |= teachers
    return first


def _classes(tables: StudyTables) -> list[Drawing]:
    groups = list(tables.class_gains.groupby("dataset", sort=False))
    return [_class_drawing(tables, dataset, lines) for dataset, lines in groups]


def _class_drawing(tables: StudyTables, dataset: str, lines: pd.DataFrame) -> Drawing:
    caption = (
        f"{tables.caption('class_gains')} Bold: the bootstrap's interval leaves out 0. In "
        "brackets: percent of the labelled pixels."
    )
    alt = f"Heat map of the gain in IoU of every class of {dataset}, a column a method."
    return Drawing((lines,), caption, alt, suffix=f"_{dataset}")


def _areas(tables: StudyTables) -> list[Drawing]:
    caption = (
        f"{tables.caption('area_gains')} Area: percent of a frame's labelled pixels. In brackets: "
        "percent of all labelled pixels that lie in classes of this area. Predictions of a class "
        "in frames whose label does not hold it are left out."
    )
    alt = "Gain in IoU over the area of a class in its frame, with bootstrap intervals."
    return [
        Drawing((lines,), f"{of_size}{caption}", alt, f"_{dataset}{suffix}")
        for dataset, table in tables.area_gains.groupby("dataset", sort=False)
        for suffix, of_size, lines in _by_size(table)
        if len(lines) <= MOST_CURVES * lines.area.nunique()
    ]


def _by_size(table: pd.DataFrame) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """Suffix of the file, words of the caption and lines, by the training-set size if it varies."""
    sizes = [size for size in table.get("train_size", pd.Series()).unique() if size]
    if len(sizes) < 2:
        yield "", "", table
        return
    for size in sizes:
        lines = table[table.train_size.isin([size, ""])]
        yield f"_{size}", f"{size} training images. ", lines


def _noise(tables: StudyTables) -> list[Drawing]:
    drawings = []
    for number, (kind, cells) in enumerate(tables.noise_diagrams().items(), start=1):
        caption = (
            "Teacher mIoU with the true label, and reliance, by the std of class codes and of "
            f"pixel noise; mean over seeds; {kind}. {' '.join(tables.notes['teachers'])}"
        )
        alt = f"Two heat maps with values, {len(cells)} noise settings: mIoU and reliance."
        drawings.append(Drawing((cells, kind), caption, alt, suffix=f"_{number}"))
    return drawings


DRAWINGS: dict[str, Callable[[StudyTables], list[Drawing]]] = {
    "teacher_gains": _forest("teacher_gains"),
    "gains": _forest("gains"),
    "class_gains": _classes,
    "region_gains": _regions,
    "area_gains": _areas,
    "size_gains": _sizes,
    "learning_curves": _curves,
    "overview": _overview,
    "label_use": _label_use,
    "noise_diagram": _noise,
}
FEW_GAINS = f"and at most {MOST_GAINS} gains"
NEEDS = {
    "teacher_gains": f"it needs a complete assisted teacher, {FEW_GAINS}",
    "gains": f"it needs a student and its baseline, complete for one seed, {FEW_GAINS}",
    "class_gains": "it needs a student and its baseline, complete for one seed",
    "region_gains": "it needs a student and its baseline, complete for one seed",
    "area_gains": "it needs a student and its baseline, complete for one seed, "
    f"and at most {MOST_CURVES} rows",
    "size_gains": "it needs gains for two training-set sizes",
    "learning_curves": f"it needs a complete run, and at most {MOST_CURVES} rows",
    "overview": "it needs a complete student with a teacher",
    "label_use": f"it needs students of {FEWEST_TEACHERS} different assisted teachers",
    "noise_diagram": "it needs teachers that vary class_std and pixel_std",
}
