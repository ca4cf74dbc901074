"""A study at a glance: gains with their intervals, by class, near boundaries and inside, and the noise diagram."""

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

# Okabe and Ito's colours, told apart by most colour-blind readers, and a shape each for those who see none.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C6D1F")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "p")
NAMED = ("dataset", "teacher_network", "student_network", "noise")  # labels that follow the method's name where rows differ in them
ZERO = {"color": "0.35", "lw": 1}
LEGEND_LETTERS = 190  # of its small print that fit the width of a figure


def gains_figure(gains: pd.DataFrame) -> Figure:
    """Forest plot: gain with its 95 % interval and each seed's own gain, a panel per twin; an open ring: one seed, a dash: no run.

    Args:
        gains: of `studies.gains_table`, one line a row of the picture, the first on top.
    """
    panels = list(gains.assign(row=row_names(gains)).groupby("over", sort=False))
    heights = [len(lines) + 0.9 for _, lines in panels]
    size = (10, 0.34 * sum(heights) + 0.9)
    figure, axes = plt.subplots(len(panels), 1, figsize=size, sharex=True, squeeze=False, height_ratios=heights, layout="constrained")
    for place, (over, lines) in zip(axes[:, 0], panels, strict=True):
        for height, line in enumerate(lines.itertuples()):
            _draw_gain(place, height, line)
        place.axvline(0, **ZERO)
        place.set(yticks=range(len(lines)), yticklabels=lines.row, ylim=(len(lines) - 0.4, -0.6))
        place.set_title(f"over {over}", fontsize=10, loc="left")
        place.grid(alpha=0.3, axis="x")
    axes[-1, 0].set_xlabel("gain, points of mIoU (bar: 95 % interval, strokes: seeds)")
    return figure


def class_gains_figure(gains: pd.DataFrame) -> Figure:
    """Gain of every class over the first baseline: a dot and its 95 % interval, a colour and shape per row.

    Args:
        gains: of `studies.class_gains_table`, of one data set.
    """
    classes = list(dict.fromkeys(gains["class"]))
    rows = dict(tuple(gains.assign(row=row_names(gains)).groupby("row", sort=False)))
    width = np.clip(0.16 * len(classes) * (len(rows) + 2), 9, 14)
    figure, place = plt.subplots(figsize=(width, 4.6), layout="constrained")
    shifts = 0.8 * (np.arange(len(rows)) - (len(rows) - 1) / 2) / max(len(rows), 2)
    for number, (shift, (name, lines)) in enumerate(zip(shifts, rows.items(), strict=True)):
        lines = lines.set_index("class").loc[classes]
        reach = [lines.gain - lines.ci_low, lines.ci_high - lines.gain]
        place.errorbar(np.arange(len(classes)) + shift, lines.gain, np.abs(reach), label=name, **style(number), ms=6)
    for number in np.flatnonzero(gains.groupby("class").gain.count().loc[classes] == 0):
        place.text(number, 0, "absent", ha="center", va="bottom", fontsize=8, color="0.4")
    for border in np.arange(len(classes) - 1) + 0.5:
        place.axvline(border, color="0.88", lw=0.8, zorder=0)
    place.axhline(0, **ZERO)
    place.set_xticks(range(len(classes)), classes, rotation=30 if len(classes) > 8 else 0, ha="right" if len(classes) > 8 else "center")
    place.set(xlim=(-0.6, len(classes) - 0.4), ylabel=f"gain over {', '.join(dict.fromkeys(gains.over))}, points of IoU")
    place.grid(alpha=0.3, axis="y")
    figure.legend(*place.get_legend_handles_labels(), loc="outside upper center", ncols=_columns(rows), fontsize=8, frameon=False)
    return figure


def _columns(names: Sequence[str]) -> int:
    """Columns of a legend above a wide figure into which the longest name fits."""
    return max(1, min(len(names), 4, LEGEND_LETTERS // (max(map(len, names), default=1) + 8)))


def region_gains_figure(gains: pd.DataFrame) -> Figure:
    """Gain near class boundaries against the gain inside, of every row over its first twin; on the diagonal they are equal.

    Args:
        gains: of `studies.gains_table`; lines without a gain are left out.
    """
    first = gains.drop_duplicates([*NAMED, "method"]).dropna(subset=["boundary_gain", "interior_gain"])
    names = [f"{name} over {over}" for name, over in zip(row_names(first), first.over, strict=True)]
    figure, place = plt.subplots(figsize=(9.5, 5.4), layout="constrained")
    for number, (name, line) in enumerate(zip(names, first.itertuples(), strict=True)):
        across = [[line.interior_gain - line.interior_low], [line.interior_high - line.interior_gain]]
        along = [[line.boundary_gain - line.boundary_low], [line.boundary_high - line.boundary_gain]]
        place.errorbar(line.interior_gain, line.boundary_gain, np.abs(along), np.abs(across), label=name, **style(number), ms=8)
    ends = np.array([place.get_xlim(), place.get_ylim()])
    limits = ends.min(), ends.max()
    place.plot(limits, limits, ":", color="0.5", label="as much near boundaries as inside")
    place.axhline(0, **ZERO)
    place.axvline(0, **ZERO)
    place.set(xlim=limits, ylim=limits, aspect="equal", xlabel="gain inside, points of mIoU", ylabel="gain near boundaries, points of mIoU")
    place.grid(alpha=0.3)
    figure.legend(*place.get_legend_handles_labels(), loc="outside right center", fontsize=8, frameon=False)
    return figure


def noise_diagram_figure(cells: pd.DataFrame, *, title: str = "") -> Figure:
    """Class-weight std by pixel-noise std: teacher mIoU with the true label, and reliance; hatched: no complete run.

    Args:
        cells: of `studies.noise_diagrams`: columns class_std, pixel_std, miou, reliance.
    """
    stds = [sorted(cells[name].unique()) for name in ("class_std", "pixel_std")]
    size = 1.3 + 0.55 * len(stds[0]), 3.6 + 2.0 * max(1.2, 0.75 * len(stds[1]))
    figure, axes = plt.subplots(1, 2, figsize=(max(9.0, size[1]), max(3.4, size[0])), layout="constrained")
    shown = (("miou", "mIoU with the true label, percent", "viridis"), ("reliance", "reliance (true minus foreign), points", "cividis"))
    for place, (name, words, colours) in zip(axes, shown, strict=True):
        values = cells.pivot(index="class_std", columns="pixel_std", values=name).reindex(index=stds[0], columns=stds[1]).to_numpy()
        drawn = _heat_map(place, values, colours)
        place.set_xticks(range(len(stds[1])), [f"{value:g}" for value in stds[1]])
        place.set_yticks(range(len(stds[0])), [f"{value:g}" for value in stds[0]])
        place.set(xlabel="pixel noise std, units of the class weights", ylabel="class-weight std")
        place.set_title(words, fontsize=10)
        figure.colorbar(drawn, ax=place, shrink=0.9)
    figure.suptitle(title, fontsize=10)
    return figure


def row_names(table: pd.DataFrame) -> list[str]:
    """The method of every line, followed in brackets by the labels in which lines differ."""
    differ = [name for name in NAMED if table.loc[table[name] != "", name].nunique() > 1]
    names = []
    for line in table.to_dict("records"):
        others = ", ".join(line[name] for name in differ if line[name])
        names.append(f"{line['method']} ({others})" if others else line["method"])
    return names


def _heat_map(place: Axes, values: np.ndarray, colours: str) -> AxesImage:
    """Cells with their value written on them, dark on light or light on dark; missing ones hatched, with a dash."""
    place.set_facecolor("0.93")
    drawn = place.imshow(values, cmap=colours, aspect="auto", origin="lower")
    for (row, column), value in np.ndenumerate(values):
        if np.isnan(value):
            place.add_patch(plt.Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, hatch="////", ec="0.7", lw=0))
            place.text(column, row, "–", ha="center", va="center", color="0.2")
        else:
            light = np.dot(drawn.cmap(drawn.norm(value))[:3], (0.299, 0.587, 0.114)) > 0.5
            place.text(column, row, f"{value:.1f}", ha="center", va="center", color="black" if light else "white")
    return drawn


def style(number: int) -> dict:
    """Colour and shape of the nth row, from 0, no two alike among the first 64."""
    colour, marker = number % len(COLOURS), (number + number // len(COLOURS)) % len(MARKERS)
    return {"color": COLOURS[colour], "marker": MARKERS[marker], "mec": "white", "mew": 0.5, "elinewidth": 1.3, "ls": ""}


def _draw_gain(place: Axes, height: float, line: Any) -> None:
    """One line of the forest plot, its number in the right margin."""
    margin = {"xycoords": ("axes fraction", "data"), "fontsize": 8, "va": "center", "annotation_clip": False}
    if np.isnan(line.gain):
        place.annotate("–  (n 0)", (1.01, height), **margin)
        return
    place.plot([float(part) for part in line.by_seed.split()], [height] * line.n, "|", ms=11, color="0.55", zorder=1)
    place.hlines(height, line.ci_low, line.ci_high, color=COLOURS[0], lw=2)
    place.plot(line.gain, height, "o", ms=7, color=COLOURS[0], mfc="white" if line.n == 1 else COLOURS[0])
    place.annotate(f"{line.gain:+.1f}  (n {line.n})", (1.01, height), **margin)
