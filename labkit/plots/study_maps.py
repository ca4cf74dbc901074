"""Heat maps of a study, every value written in its cell: noise diagram, rows by score, classes."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Normalize, TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from labkit.plots.colours import GAINS, SCORES
from labkit.plots.panels import TITLE, WIDTH, row_height
from labkit.plots.study import baseline_name, first_baseline, row_names, with_values
from labkit.records.text import figure_text

MOST_CLASSES = 40  # that one figure can show, one below the other
MOST_ACROSS = 12  # columns whose numbers can be read
CELL = {"ha": "center", "va": "center", "fontsize": TITLE}
NOISE_PANELS = (
    ("miou", "mIoU with the true label, percent"),
    ("reliance", "reliance (true minus foreign label), points"),
)


def noise_diagram_figure(cells: pd.DataFrame, title: str = "") -> Figure:
    """Class-code std by pixel-noise std: teacher mIoU with the true label, and reliance.

    Args:
        cells: of `study.noise_diagrams`: columns class_std, pixel_std, miou, reliance; hatched
            where no run is complete.
    """
    rows, columns = (sorted(cells[name].unique()) for name in ("class_std", "pixel_std"))
    size = (WIDTH, max(2.8, 1.3 + 0.45 * len(rows)))
    figure, axes = plt.subplots(1, 2, figsize=size, layout="constrained")
    for axis, (name, words) in zip(axes, NOISE_PANELS, strict=True):
        table = cells.pivot(index="class_std", columns="pixel_std", values=name)
        values = table.reindex(index=rows, columns=columns).to_numpy(float)
        drawn = _heat_map(axis, values, SCORES, _range(values), form="{:.1f}")
        axis.invert_yaxis()
        axis.set_xticks(range(len(columns)), [f"{value:g}" for value in columns])
        axis.set_yticks(range(len(rows)), [f"{value:g}" for value in rows])
        axis.set(xlabel="pixel noise std, units of the class codes", ylabel="class-code std")
        axis.set_title(words, fontsize=TITLE)
        figure.colorbar(drawn, ax=axis, shrink=0.9)
    figure.suptitle(figure_text(title), fontsize=TITLE)
    return figure


def overview_figure(students: pd.DataFrame, gains: pd.DataFrame) -> Figure:
    """One row per student: its teacher's mIoU and reliance, its own mIoU, its gain. For ablations.

    Args:
        students: of `study.students_table`; those without a complete run are left out.
        gains: of `study.gains_table`; the gain over the first baseline is shown.
    """
    students = with_values(students.assign(row=row_names(students)), "last_mean")
    first = first_baseline(gains)
    gain = dict(zip(row_names(first), first.gain, strict=True))
    names = list(students.row)
    difference = pd.Series([gain.get(name) for name in names])
    columns = {
        "teacher,\ntrue label": (students.teacher_mean, SCORES),
        "its\nreliance": (students.teacher_reliance_mean, SCORES),
        "student": (students.last_mean, SCORES),
        f"gain over\n{baseline_name(first)}": (difference, GAINS),
    }
    height = row_height(0.36, len(names)) * len(names) + 1.1
    figure, axes = plt.subplots(
        1, len(columns), figsize=(WIDTH, height), sharey=True, layout="constrained"
    )
    for axis, (title, (values, colours)) in zip(axes, columns.items(), strict=True):
        column = values.to_numpy(float)[:, None]
        norm = _centred(column) if colours == GAINS else _range(column)
        form = "{:+.1f}" if colours == GAINS else "{:.1f}"
        _heat_map(axis, column, colours, norm, form=form, missing="")
        axis.set_xticks([])
        axis.set_title(title, fontsize=TITLE)
    axes[0].set_yticks(range(len(names)), names)
    for axis in axes[1:]:
        axis.tick_params(left=False)
    return figure


def class_gains_figure(gains: pd.DataFrame) -> Figure:
    """Gain in IoU of every class by row of the study; bold: the bootstrap's leaves out 0.

    A column per row of the study, or per class where the study has more than 12 rows.

    Args:
        gains: of `study.class_gains_table`, of one data set. Where there are more than 40 classes,
            or 12 across, those with the largest gains or losses are shown.
    """
    rows = gains.assign(row=row_names(gains))
    rows = rows.assign(sure=(rows.ci_low > 0) | (rows.ci_high < 0))
    values, bold = (
        rows.pivot(index="class", columns="row", values=name) for name in ("gain", "sure")
    )
    classes, columns = list(dict.fromkeys(gains["class"])), list(dict.fromkeys(rows.row))
    classes_across = len(columns) > MOST_ACROSS
    most = MOST_ACROSS if classes_across else MOST_CLASSES
    if len(classes) > most:
        largest = values.abs().max(axis=1).nlargest(most).index
        classes = [name for name in classes if name in largest]
    values, bold = (table.reindex(index=classes, columns=columns) for table in (values, bold))
    pixels = dict(zip(rows["class"], rows.pixels, strict=True))
    down = [f"{figure_text(name)} ({pixels[name]:.2g} %)" for name in classes]
    across = columns
    if classes_across:
        values, bold, down, across = values.T, bold.T, across, down
    size = (WIDTH, 1.8 + row_height(0.26, len(down)) * len(down))
    figure, axis = plt.subplots(figsize=size, layout="constrained")
    table = values.to_numpy(float)
    drawn = _heat_map(
        axis,
        table,
        GAINS,
        _centred(table),
        form="{:+.1f}",
        missing="absent",
        bold=bold.to_numpy(bool),
    )
    axis.set_xticks(range(len(across)), across, rotation=25, ha="right", rotation_mode="anchor")
    axis.set_yticks(range(len(down)), down)
    figure.colorbar(drawn, ax=axis, label=f"gain over {baseline_name(gains)}, points of IoU")
    return figure


def _range(values: np.ndarray) -> Normalize:
    known = values[~np.isnan(values)]
    if not len(known) or known.min() == known.max():
        middle = known[0] if len(known) else 0.0
        return Normalize(middle - 1, middle + 1)
    return Normalize(known.min(), known.max())


def _centred(values: np.ndarray) -> TwoSlopeNorm:
    known = np.abs(values[~np.isnan(values)])
    limit = max(float(known.max()) if len(known) else 0.0, 1e-6)
    return TwoSlopeNorm(0, -limit, limit)


def _heat_map(
    axis: Axes,
    values: np.ndarray,
    colours: str,
    norm: Normalize,
    *,
    form: str,
    missing: str = "–",
    bold: np.ndarray | None = None,
) -> AxesImage:
    """Cells with their value, dark on light or light on dark; missing ones grey with `missing`."""
    axis.set_facecolor("0.93")
    drawn = axis.imshow(values, cmap=colours, norm=norm, aspect="auto")
    for (row, column), value in np.ndenumerate(values):
        if np.isnan(value):
            axis.text(column, row, missing, color="0.35", **CELL)
            if missing == "–":
                box = {"fill": False, "hatch": "////", "ec": "0.7", "lw": 0}
                axis.add_patch(plt.Rectangle((column - 0.5, row - 0.5), 1, 1, **box))
            continue
        light = np.dot(drawn.cmap(drawn.norm(value))[:3], (0.299, 0.587, 0.114)) > 0.5
        weight = "bold" if bold is not None and bold[row, column] else "normal"
        colour = "black" if light else "white"
        text = form.format(round(value, 1) + 0.0)  # no -0.0
        axis.text(column, row, text, color=colour, weight=weight, **CELL)
    return drawn
