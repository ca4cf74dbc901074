"""Lines and points: training, reliance over noise, label share per class by three methods."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from labkit.plots.colours import AXIS, LINE_STYLES, MARKERS, READINGS, row_styles
from labkit.plots.panels import SMALL, TITLE, WIDTH
from labkit.records.text import figure_text

READING_TITLES = {
    "image": "image alone",
    "true_label": "true label",
    "foreign_label": "foreign label",
    "zero_label": "zero label",
}
ESTIMATES = {  # label and marker; the marker tells them apart without colour
    "layercam": ("LayerCAM at the stem", "o"),
    "shapley": ("Shapley values", "s"),
    "removal": ("removal", "^"),
}
ESTIMATE_COLOURS = dict(
    zip(ESTIMATES, (plt.get_cmap("cividis")(shade) for shade in (0.1, 0.5, 0.85)), strict=True)
)
NOISE_TITLES = {
    "pixel_std": "pixel noise std, units of the class codes",
    "label_scale": "label scale, units of the image's std",
}
NOT_TERMS = (  # of a row of the log
    "step", "seconds", "learning_rate", "loss", "miou", "waiting", "images_per_second",
)  # fmt: skip
FEW_POINTS = 15  # a line of fewer points shows each of them
COLUMNS = 3  # loss panels in a row


def curves_figure(
    logs: Mapping[str, Sequence[dict]], *, kinds: Mapping[str, str] | None = None
) -> Figure:
    """Training of several runs: validation mIoU and reliance above, the loss terms of every run in
    a panel of its own below.

    Args:
        logs: rows of log.jsonl by the run's name.
        kinds: kind of each run (`Run.kind`), for its colour; None: one colour each.
    """
    evaluated = {name: [row for row in rows if "miou" in row] for name, rows in logs.items()}
    assisted = [
        name for name, rows in evaluated.items() if rows and "true_label" in rows[0]["miou"]
    ]
    given = kinds or {}
    styles = dict(zip(logs, row_styles(given.get(name, "") for name in logs), strict=True))
    loss_rows = -(-len(logs) // COLUMNS)
    heights = [2.6] + [2.2] * bool(assisted) + [1.9 * loss_rows]
    figure = plt.figure(figsize=(WIDTH, sum(heights)), layout="constrained")
    parts = list(figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0])
    _draw_miou(parts[0].subplots(), evaluated, styles)
    if assisted:
        _draw_reliance(parts[1].subplots(), {name: evaluated[name] for name in assisted}, styles)
    columns = min(COLUMNS, len(logs))
    cells = parts[-1].subplots(loss_rows, columns, squeeze=False).ravel()
    for axes, (name, rows) in zip(cells, logs.items(), strict=False):
        _draw_terms(axes, name, [row for row in rows if "loss" in row])
    for axes in cells[len(logs) :]:
        axes.set_axis_off()
    cells[0].set_ylabel("loss terms, weighted", fontsize=SMALL)
    return figure


def noise_sweep_figure(table: pd.DataFrame) -> Figure:
    """Reliance and label gain above, label share below, over the noise at evaluation time;
    training's value is marked.

    Args:
        table: columns varied, value, trained, reliance, label_gain, layercam, shapley, removal.
    """
    figure, axes = plt.subplots(
        2, 2, figsize=(WIDTH, 4.6), sharey="row", sharex="col", layout="constrained"
    )
    for column, (varied, rows) in zip(axes.T, table.groupby("varied", sort=False), strict=True):
        trained = rows.value[rows.trained].iloc[0]
        gains = (("reliance", "o-", "reliance (true - foreign label)", "foreign_label"),
                 ("label_gain", "s--", "label gain (true - zero label)", "zero_label"))  # fmt: skip
        for name, style, label, reading in gains:
            column[0].plot(rows.value, rows[name], style, color=READINGS[reading], label=label)
        for name, (label, marker) in ESTIMATES.items():
            colour = ESTIMATE_COLOURS[name]
            column[1].plot(rows.value, rows[name], marker=marker, color=colour, label=label)
        for cell in column:
            cell.axvline(trained, color="0.4", ls=":", label="as in training")
            cell.grid(alpha=0.3)
            cell.tick_params(labelsize=SMALL)
        column[0].axhline(0, **AXIS)
        if varied == "pixel_std":
            _symmetric_scale(column[1], sorted(rows.value), trained)
        column[1].set_xlabel(NOISE_TITLES[varied], fontsize=SMALL)
        column[1].set_ylim(0, 100)
    axes[0, 0].set_ylabel("points of mIoU", fontsize=SMALL)
    axes[1, 0].set_ylabel("label share,\nall classes, percent", fontsize=SMALL)
    for row, cell in zip(("upper", "lower"), axes[:, 0], strict=True):
        handles, labels = cell.get_legend_handles_labels()
        loc = f"outside {row} center"
        figure.legend(handles, labels, loc=loc, ncols=4, fontsize=SMALL, frameon=False)
    return figure


def label_share_figure(table: pd.DataFrame) -> Figure:
    """Label share of every class by three methods, one row per class.

    Args:
        table: columns class, layercam, shapley, removal, layercam_std, in percent; classes without
            a value have no point.
    """
    names = list(table["class"])[::-1]
    figure, axes = plt.subplots(figsize=(WIDTH, 0.32 * len(names) + 1.2), layout="constrained")
    rows = table.set_index("class").loc[names]
    heights = np.arange(len(names))
    for shift, (name, (label, marker)) in zip((0.2, 0, -0.2), ESTIMATES.items(), strict=True):
        spread = rows.layercam_std.fillna(0) if name == "layercam" else None
        axes.errorbar(
            rows[name], heights + shift, xerr=spread, fmt=marker, ms=6, mec="0.2", mew=0.5,
            color=ESTIMATE_COLOURS[name], label=label,
        )  # fmt: skip
    for name in rows.index[rows[list(ESTIMATES)].isna().all(axis=1)]:
        axes.text(2, names.index(name), "absent", va="center", fontsize=SMALL, color="0.4")
    axes.axvline(50, color="0.5", ls=":")
    axes.set(xlim=(-2, 102), yticks=heights, yticklabels=[figure_text(name) for name in names])
    axes.set_xlabel("label share, percent (50: as much as the image)", fontsize=SMALL)
    axes.tick_params(labelsize=SMALL)
    axes.grid(alpha=0.3, axis="x")
    figure.legend(loc="outside upper center", ncols=3, fontsize=SMALL, frameon=False)
    return figure


def _draw_miou(
    axes: Axes, evaluated: Mapping[str, list[dict]], styles: Mapping[str, Mapping]
) -> None:
    """mIoU of every run and reading: the colour is the run's, the line style the reading's."""
    dashes = dict(zip(READING_TITLES, ("-", "-", "--", ":"), strict=True))
    for name, rows in evaluated.items():
        for reading in rows[0]["miou"] if rows else ():
            kept = [row for row in rows if reading in row["miou"]]
            label = name if reading == "image" else f"{name}, {READING_TITLES[reading]}"
            label = figure_text(label)
            axes.plot(
                [row["step"] for row in kept], [row["miou"][reading] for row in kept],
                linestyle=dashes[reading], marker=styles[name]["marker"], ms=4, alpha=0.9,
                color=styles[name]["color"], label=label,
            )  # fmt: skip
    _finish(axes, "validation mIoU", "mIoU, percent")


def _draw_reliance(
    axes: Axes, evaluated: Mapping[str, list[dict]], styles: Mapping[str, Mapping]
) -> None:
    """Reliance and label gain of assisted teachers."""
    for name, rows in evaluated.items():
        for dash, other, label in (
            ("-", "foreign_label", "reliance"),
            ("--", "zero_label", "label gain"),
        ):
            points = [row["miou"]["true_label"] - row["miou"].get(other, np.nan) for row in rows]
            axes.plot(
                [row["step"] for row in rows], points, linestyle=dash, ms=4,
                marker=styles[name]["marker"], color=styles[name]["color"],
                label=figure_text(f"{name}, {label}"),
            )  # fmt: skip
    axes.axhline(0, **AXIS)
    _finish(
        axes, "does it use its label? reliance: true - foreign, gain: true - zero", "points of mIoU"
    )


def _draw_terms(axes: Axes, name: str, rows: Sequence[dict]) -> None:
    """Every loss term of one run; lines that coincide differ in dash, marker and width."""
    terms = [key for key in rows[0] if key not in NOT_TERMS] if rows else []
    for number, term in enumerate(terms):
        values = _smoothed([row.get(term, np.nan) for row in rows])
        axes.plot(
            [row["step"] for row in rows], values, LINE_STYLES[number % len(LINE_STYLES)],
            marker=MARKERS[number % len(MARKERS)] if len(rows) < FEW_POINTS else None, ms=3,
            lw=2.4 - 0.6 * min(number, 2), color=plt.get_cmap("Dark2")(number % 8),
            label=figure_text(term),
        )  # fmt: skip
    axes.set_title(figure_text(name), fontsize=SMALL)
    positive = [row.get(term, 0) > 0 for row in rows for term in terms]
    if positive and all(positive):
        axes.set_yscale("log")
    axes.set_xlabel("steps", fontsize=SMALL)
    axes.tick_params(labelsize=6.5, which="both")
    axes.grid(alpha=0.3)
    if terms:
        axes.legend(fontsize=6.5, frameon=False)


def _finish(axes: Axes, title: str, unit: str) -> None:
    axes.set_title(title, fontsize=TITLE)
    axes.set_xlabel("optimiser steps", fontsize=SMALL)
    axes.set_ylabel(unit, fontsize=SMALL)
    axes.tick_params(labelsize=SMALL)
    axes.grid(alpha=0.3)
    if axes.lines:
        axes.legend(fontsize=6.5, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)


def _symmetric_scale(axes: Axes, values: Sequence[float], trained: float) -> None:
    """A logarithmic axis that holds 0, with a tick at every value."""
    smallest = max(trained, 0.01)
    axes.set_xscale("symlog", linthresh=smallest, linscale=0.5)
    axes.set_xticks(values, [f"{value:g}" for value in values])
    axes.set_xlim(-0.3 * smallest, 1.5 * values[-1])
    axes.minorticks_off()


def _smoothed(values: Sequence[float], width: int = 5) -> np.ndarray:
    """Trailing mean of up to `width` values, same length."""
    sums = np.cumsum([0.0, *values])
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(0, ends - width)
    return (sums[ends] - sums[starts]) / (ends - starts)
