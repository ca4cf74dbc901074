"""Lines of a study: mIoU along training; gains by training-set size and by area of a class."""

from collections.abc import Iterator

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from labkit.plots.colours import AXIS, row_styles
from labkit.plots.panels import SMALL, TITLE, WIDTH
from labkit.plots.study import INTERVALS, baseline_name, first_baseline, row_names, teacher_family

UNMARKED = {"marker": ""}
MOST_IN_LEGEND = 6  # lines whose names fit inside a panel


def learning_curves_figure(curves: pd.DataFrame) -> Figure:
    """mIoU along training: mean over seeds, the band from the lowest to the highest.

    Args:
        curves: of `study.learning_curves`; a panel for teachers and one for students.
    """
    panels = list(curves.groupby("role", sort=False))
    most = max((table.method.nunique() for _, table in panels), default=0)
    size = (WIDTH, 3.8 + (0.13 * most if most > MOST_IN_LEGEND else 0))
    figure, axes = plt.subplots(
        1, max(1, len(panels)), figsize=size, sharey=True, squeeze=False, layout="constrained"
    )
    for axis, (role, table) in zip(axes[0], panels, strict=False):
        rows = list(table.assign(row=row_names(table)).groupby("row", sort=False))
        kinds = [
            lines.taught_by.iloc[0] if role == "student" else teacher_family(lines.reads.iloc[0])
            for _, lines in rows
        ]
        for (name, lines), style in zip(rows, row_styles(kinds), strict=True):
            marked = len(lines) <= 25
            axis.plot(
                lines.step, lines.miou, label=name, ms=5, **style | ({} if marked else UNMARKED)
            )
            axis.fill_between(lines.step, lines.low, lines.high, color=style["color"], alpha=0.15)
        axis.set_xlabel("optimiser steps")
        axis.set_title(f"{role}s", fontsize=TITLE)
        axis.grid(alpha=0.3)
        beside = len(rows) <= MOST_IN_LEGEND
        place = {"loc": "lower right"} if beside else {"loc": "upper center", "ncols": 2}
        axis.legend(fontsize=SMALL, **place | ({} if beside else {"bbox_to_anchor": (0.5, -0.2)}))
    axes[0, 0].set_ylabel("mIoU, percent")
    return figure


def size_gains_figure(gains: pd.DataFrame) -> Figure:
    """Gain over the first baseline by the number of training frames, with 95 % intervals.

    Thick by bootstrap, thin with ends by t-test; with one seed there is none by t-test.

    Args:
        gains: of `study.gains_table` with train_frames; lines without a gain are left out.
    """
    lines = first_baseline(gains).dropna(subset=["gain", "train_frames"])
    lines = lines.assign(row=row_names(lines, without=("train_size", "train_frames")))
    figure, axis = plt.subplots(figsize=(WIDTH, 4.6), layout="constrained")
    for name, group, style, shift in _side_by_side(lines):
        group = group.sort_values("train_frames")
        x = group.train_frames * (1 + 0.03 * shift)  # on a log axis
        axis.errorbar(x, group.gain, _reach(group), label=name, ms=7, elinewidth=3, **style)
        axis.vlines(x, group.t_low, group.t_high, color=style["color"], lw=1)
        ends = pd.concat([group.t_low, group.t_high])
        axis.plot([*x, *x], ends, "_", ms=9, color=style["color"])
    sizes = sorted(lines.train_frames.unique())
    axis.set_xscale("log")
    axis.set_xticks(sizes, [f"{size:g}" for size in sizes])
    axis.minorticks_off()
    axis.axhline(0, **AXIS)
    axis.set(xlabel=f"training frames\n{INTERVALS}", ylabel="gain, points of mIoU")
    axis.grid(alpha=0.3)
    _legend_below(figure, axis)
    return figure


def area_gains_figure(gains: pd.DataFrame) -> Figure:
    """Gain over the first baseline by the area of a class in its frame, with bootstrap intervals.

    Args:
        gains: of `study.area_gains_table`, of one data set; areas without a gain are left out.
    """
    lines = gains.assign(row=row_names(gains)).dropna(subset="gain")
    areas = [area for area in dict.fromkeys(gains.area) if area in set(lines.area)]
    figure, axis = plt.subplots(figsize=(WIDTH, 4.6), layout="constrained")
    for name, group, style, shift in _side_by_side(lines):
        x = group.area.map(areas.index) + 0.08 * shift
        axis.errorbar(x, group.gain, _reach(group), label=name, ms=7, **style)
    pixels = dict(zip(lines.area, lines.pixels, strict=True))
    axis.set_xticks(range(len(areas)), [f"{area}\n({pixels[area]:.2g} %)" for area in areas])
    axis.axhline(0, **AXIS)
    axis.set(xlabel="area of a class in its frame, percent")
    axis.set_ylabel(f"gain over {baseline_name(gains)}, points of IoU\n(bar: 95 %, bootstrap)")
    axis.grid(alpha=0.3)
    _legend_below(figure, axis)
    return figure


def _side_by_side(lines: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame, dict, float]]:
    """Name, lines, style and shift, in steps around 0, of every row."""
    groups = list(lines.groupby("row", sort=False))
    styles = row_styles(group.taught_by.iloc[0] for _, group in groups)
    for number, ((name, group), style) in enumerate(zip(groups, styles, strict=True)):
        yield name, group, style, number - (len(groups) - 1) / 2


def _reach(lines: pd.DataFrame) -> np.ndarray:
    """(2, n) lengths of the error bars."""
    return np.abs([lines.gain - lines.ci_low, lines.ci_high - lines.gain])


def _legend_below(figure: Figure, axis: Axes) -> None:
    handles, labels = axis.get_legend_handles_labels()
    columns = max(1, min(3, 100 // (max(map(len, labels), default=1) + 6)))
    figure.legend(
        handles, labels, loc="outside lower center", ncols=columns, fontsize=SMALL, frameon=False
    )
