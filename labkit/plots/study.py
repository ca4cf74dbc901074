"""Gains with their intervals, by region and by label use, and how rows of a study are named."""

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from labkit.plots.colours import AXIS, FAMILIES, family
from labkit.plots.panels import SMALL, TITLE, WIDTH, row_height
from labkit.records.text import figure_text

LABELS = (
    "dataset",
    "teacher_network",
    "student_network",
    "noise",
    "recipe",
    "train_size",
    "train_frames",
)
LABEL_USE = {
    "teacher_reliance_mean": "teacher's reliance, points",
    "teacher_label_gain_mean": "teacher's label gain, points",
    "teacher_mean": "teacher's mIoU, percent",
}
INTERVALS = "95 % intervals: thick by bootstrap, thin with ends by t-test over seeds"
READS = {"true_label": "true label", "foreign_label": "foreign label", "zero_label": "zero label"}


def gains_figure(gains: pd.DataFrame) -> Figure:
    """Forest plot: each row's gain with both 95 % intervals, and each seed's gain.

    Args:
        gains: of `study.gains_table` or `study.teacher_gains_table`, one line a row of the picture;
            those without a complete run are left out. An open ring is one seed, which has no
            interval by t-test. A panel per baseline.
    """
    gains = with_values(gains, "gain")
    over = [_with_reading(*pair) for pair in zip(gains.over, gains.over_reads, strict=True)]
    panels = list(gains.assign(row=row_names(gains), panel=over).groupby("panel", sort=False))
    heights = [len(lines) + 0.9 for _, lines in panels]
    figure, axes = plt.subplots(
        len(panels),
        1,
        figsize=(WIDTH, row_height(0.4, len(gains)) * sum(heights) + 0.8),
        sharex=True,
        squeeze=False,
        height_ratios=heights,
        layout="constrained",
    )
    for axis, (name, lines) in zip(axes[:, 0], panels, strict=True):
        for height, line in enumerate(lines.itertuples()):
            _draw_gain(axis, height, line)
        axis.axvline(0, **AXIS)
        axis.set(yticks=range(len(lines)), yticklabels=lines.row, ylim=(len(lines) - 0.4, -0.6))
        axis.set_title(f"over {figure_text(name)}", fontsize=TITLE, loc="left")
        axis.grid(alpha=0.3, axis="x")
    axes[-1, 0].set_xlabel("gain, points of mIoU")
    # below the whole figure, because long names leave narrow panels
    figure.supxlabel(f"{INTERVALS}; strokes: seeds", fontsize=TITLE)
    return figure


def region_gains_figure(gains: pd.DataFrame) -> Figure:
    """Gain near class boundaries and inside, two bars a row over its first baseline.

    Args:
        gains: of `study.gains_table`; lines without a gain are left out.
    """
    lines = first_baseline(gains).dropna(subset=["boundary_gain", "interior_gain"])
    names = row_names(lines)
    height = row_height(0.62, len(lines)) * len(lines) + 1.3
    figure, axis = plt.subplots(figsize=(WIDTH, height), layout="constrained")
    heights = np.arange(len(lines))
    kinds = (("interior", "inside", 0.17, "o"), ("boundary", "near boundaries", -0.17, "D"))
    for region, label, shift, marker in kinds:
        gain = lines[f"{region}_gain"]
        reach = [gain - lines[f"{region}_low"], lines[f"{region}_high"] - gain]
        colours = [FAMILIES[family(kind)][0] for kind in lines.taught_by]
        face = colours if region == "interior" else ["white"] * len(lines)
        for height, value, low, high, colour, fill in zip(
            heights - shift, gain, *reach, colours, face, strict=True
        ):
            bar = [[max(low, 0)], [max(high, 0)]]
            axis.errorbar(
                value, height, xerr=bar, color=colour, marker=marker, mfc=fill, ms=7, ls=""
            )
        filling = "0.3" if region == "interior" else "white"
        axis.plot([], [], marker, color="0.3", mfc=filling, label=label)
    axis.axvline(0, **AXIS)
    axis.set(yticks=heights, yticklabels=names, ylim=(len(lines) - 0.4, -0.6))
    axis.set_xlabel(f"gain over {baseline_name(lines)}, points of mIoU (bar: 95 %, bootstrap)")
    axis.grid(alpha=0.3, axis="x")
    axis.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
    return figure


def label_use_figure(students: pd.DataFrame, gains: pd.DataFrame) -> Figure:
    """Students' gain over their teachers' reliance, label gain and mIoU, a number a student.

    Args:
        students, gains: as of `overview_figure`; students of assisted teachers are drawn, which
            are to be taught alike.
    """
    points = label_use(students, gains)
    size = (WIDTH, 3.0 + 0.17 * -(-len(points) // 3))
    figure, axes = plt.subplots(1, len(LABEL_USE), figsize=size, sharey=True, layout="constrained")
    for axis, (column, title) in zip(axes, LABEL_USE.items(), strict=True):
        axis.scatter(points[column], points.gain, color=FAMILIES["assisted"][0])
        for number, (use, gain) in enumerate(zip(points[column], points.gain, strict=True), 1):
            axis.annotate(str(number), (use, gain), (3, 3), textcoords="offset points", size=SMALL)
        axis.axhline(0, **AXIS)
        axis.margins(0.12)
        correlation = points[column].rank().corr(points.gain.rank())
        axis.set_xlabel(f"{title}\nSpearman's correlation {correlation:.2f}")
        axis.grid(alpha=0.3)
    axes[0].set_ylabel(f"gain over {baseline_name(first_baseline(gains))}, points")
    lines = [f"{number} {name}" for number, name in enumerate(points.row, 1)]
    handles = [Line2D([], [], ls="")] * len(lines)
    legend = {"loc": "outside lower center", "ncols": 3, "handlelength": 0, "frameon": False}
    figure.legend(handles, lines, fontsize=SMALL, **legend)
    return figure


def label_use(students: pd.DataFrame, gains: pd.DataFrame) -> pd.DataFrame:
    """Students of assisted teachers: row, gain and the columns of `LABEL_USE`."""
    labels = [name for name in (*LABELS, "method") if name != "train_frames"]
    keys = [name for name in labels if name in students and name in gains]
    first = first_baseline(gains)[[*keys, "gain"]].drop_duplicates(keys)
    points = students.assign(row=row_names(students)).merge(first, how="left", on=keys)
    return points.dropna(subset=["gain", *LABEL_USE]).reset_index(drop=True)


def teacher_family(reads: str) -> str:
    """Colour family of a teacher by what it reads."""
    return "assisted" if reads == "true_label" else "plain"


def first_baseline(gains: pd.DataFrame) -> pd.DataFrame:
    """Every row over the first one it is compared with."""
    gains = gains.reset_index(drop=True)
    return gains[~pd.Series(row_names(gains)).duplicated()]


def with_values(table: pd.DataFrame, column: str) -> pd.DataFrame:
    """Lines with a number in a column; all where none has one."""
    given = table[table[column].notna()]
    return given if len(given) else table


def baseline_name(gains: pd.DataFrame) -> str:
    """What the rows of a table of gains are compared with."""
    names = list(dict.fromkeys(gains.over))
    return figure_text(names[0]) if len(names) == 1 else "its baseline"


def row_names(table: pd.DataFrame, *, without: Sequence[str] = ()) -> list[str]:
    """The method of every line, and in brackets the labels in which lines of a method differ."""
    given = [name for name in LABELS if name in table and name not in without]
    if "train_size" in given:  # a label that holds the same
        given = [name for name in given if name != "train_frames"]
    texts = {name: table[name].map(_text) for name in given}
    differ = [name for name, text in texts.items() if _most_values(text, table.method) > 1]
    names = []
    for index, method in table.method.items():
        others = ", ".join(filter(None, (texts[name][index] for name in differ)))
        names.append(figure_text(f"{method} ({others})" if others else method))
    return names


def _most_values(text: pd.Series, method: pd.Series) -> int:
    """The largest number of different texts, empty ones aside, among the lines of one method."""
    return text[text != ""].groupby(method).nunique().max() if (text != "").any() else 0


def _text(value: Any) -> str:
    return (
        ""
        if value is None or value != value
        else f"{value:g}"
        if isinstance(value, float)
        else str(value)
    )


def _with_reading(name: str, reading: str) -> str:
    return f"{name}, {READS[reading]}" if reading in READS else name


def _draw_gain(axis: Axes, height: float, line: Any) -> None:
    """One line of the forest plot, its number in the right margin."""
    margin = {"xycoords": ("axes fraction", "data"), "va": "center", "annotation_clip": False}
    if np.isnan(line.gain):
        axis.annotate("–  (n 0)", (1.01, height), **margin)
        return
    kind = line.taught_by or teacher_family(line.reads)
    colour = FAMILIES[family(kind)][0]
    by_seed = [float(part.partition(":")[2]) for part in line.by_seed.split(",")]
    axis.plot(by_seed, [height] * len(by_seed), "|", ms=12, color="0.55", zorder=1)
    axis.hlines(height, line.ci_low, line.ci_high, color=colour, lw=3)
    axis.hlines(height, line.t_low, line.t_high, color=colour, lw=1)
    axis.plot([line.t_low, line.t_high], [height] * 2, "|", ms=9, color=colour)
    axis.plot(line.gain, height, "o", ms=8, color=colour, mfc="white" if line.n == 1 else colour)
    axis.annotate(f"{round(line.gain, 1) + 0.0:+.1f}  (n {line.n})", (1.01, height), **margin)
