"""Lines and points: training, reliance over noise, three opinions per class."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

LINE_STYLES = ("-", "--", ":", "-.")
SHORT = {"true_label": "true label", "foreign_label": "foreign label", "zero_label": "zero label", "image": "image"}
SHOWN = {"layercam": ("LayerCAM at the stem", "o"), "shapley": ("Shapley value", "s"), "removal": ("removal", "^")}  # by shape
SHADES = {name: plt.get_cmap("cividis")(shade) for name, shade in zip(SHOWN, (0.1, 0.5, 0.85), strict=True)}
AXES = {"pixel_std": "pixel noise std, units of the class weights", "label_scale": "label scale, units of the image's std"}


def curves_figure(logs: Mapping[str, list[dict]]) -> Figure:
    """Training of several runs: loss terms above, reliance below them, mIoU by reading on the right.

    Args:
        logs: rows of log.jsonl by the run's name. Reliance is drawn for runs that were shown a label.
    """
    assisted = any("true_label" in row.get("miou", {}) for rows in logs.values() for row in rows)
    places = [["terms", "miou"], ["reliance", "miou"]] if assisted else [["terms", "miou"]]
    size = (13, 6.2 if assisted else 4.6)
    figure, axes = plt.subplot_mosaic(places, figsize=size, layout="constrained", height_ratios=[3, 2] if assisted else None)
    for number, (name, rows) in enumerate(logs.items()):
        colour = plt.get_cmap("tab10")(number)
        _draw_terms(axes["terms"], name, rows, colour)
        evaluations = [row for row in rows if "miou" in row]
        for style, reading in zip(LINE_STYLES, evaluations[0]["miou"], strict=False):
            points = [row["miou"][reading] for row in evaluations]
            label = f"{name}: {SHORT[reading]}"
            axes["miou"].plot([row["step"] for row in evaluations], points, style, marker="o", ms=4, color=colour, label=label)
        if "true_label" in evaluations[0]["miou"]:
            _draw_reliance(axes["reliance"], name, evaluations, colour)
    axes["terms"].set(xlabel="optimiser steps", ylabel="weighted loss term, nats\n(running mean of 5)", yscale="log", title="loss terms")
    axes["miou"].set(xlabel="optimiser steps", ylabel="mIoU, percent", title="validation mIoU by what the network reads")
    if assisted:
        axes["reliance"].sharex(axes["terms"])
        axes["reliance"].set(xlabel="optimiser steps", ylabel="points of mIoU", title="does it use its label?")
        axes["reliance"].axhline(0, color="0.5", lw=0.8)
    for place in axes.values():
        place.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
        place.grid(alpha=0.3)
    return figure


def reliance_figure(table: pd.DataFrame) -> Figure:
    """Reliance and label gain above, label share below, over the noise shown at evaluation time; training's value is marked.

    Args:
        table: columns varied, value, trained, reliance, label_gain, layercam, shapley, removal.
    """
    figure, axes = plt.subplots(2, 2, figsize=(10.5, 6), sharey="row", sharex="col", layout="constrained")
    for column, (varied, rows) in zip(axes.T, table.groupby("varied", sort=False), strict=True):
        trained = rows.value[rows.trained].iloc[0]
        for name, style, label in (
            ("reliance", "o-", "reliance: true - foreign label"),
            ("label_gain", "s--", "label gain: true - zero label"),
        ):
            column[0].plot(rows.value, rows[name], style, color="0.15" if name == "reliance" else "0.55", label=label)
        for name, (label, marker) in SHOWN.items():
            column[1].plot(rows.value, rows[name], marker=marker, color=SHADES[name], label=label)
        for place in column:
            place.axvline(trained, color="0.6", ls=":", label="as in training")
            place.grid(alpha=0.3)
        if varied == "pixel_std":
            values = sorted(rows.value)
            column[1].set_xscale("symlog", linthresh=max(trained, 0.01), linscale=0.5)
            column[1].set_xticks(values, [f"{value:g}" for value in values])
            column[1].set_xlim(-0.3 * max(trained, 0.01), 1.5 * values[-1])
            column[1].minorticks_off()
        column[1].set_xlabel(AXES[varied])
        column[1].set_ylim(0, 100)
    axes[0, 0].set_ylabel("points of mIoU")
    axes[1, 0].set_ylabel("label share over all classes, percent")
    for place in axes[:, 1]:
        place.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    return figure


def opinions_figure(table: pd.DataFrame) -> Figure:
    """Label share of every class by three methods, one row per class.

    Args:
        table: columns class, layercam, shapley, removal, layercam_std, in percent; classes without a value have no point.
    """
    names = list(table["class"])[::-1]
    figure, place = plt.subplots(figsize=(7.5, 0.42 * len(names) + 1.3), layout="constrained")
    rows = table.set_index("class").loc[names]
    heights = np.arange(len(names))
    for shift, (name, (label, marker)) in zip((0.15, 0, -0.15), SHOWN.items(), strict=True):
        spread = rows.layercam_std.fillna(0) if name == "layercam" else None
        place.errorbar(rows[name], heights + shift, xerr=spread, fmt=marker, ms=8, color=SHADES[name], mec="0.2", mew=0.6, label=label)
    silent = rows.index[rows[list(SHOWN)].isna().all(axis=1)]
    for name in silent:
        place.text(2, names.index(name), "absent", va="center", fontsize=8, color="0.4")
    place.axvline(50, color="0.6", ls=":")
    place.set(xlim=(-2, 102), yticks=heights, yticklabels=names, xlabel="label share, percent (50: as much as the image)")
    place.grid(alpha=0.3, axis="x")
    place.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    return figure


def draw_agreement(place: Axes, steps: Sequence[str], image: Sequence[float], label: Sequence[float], *, title: str) -> None:
    """Spearman's correlation with the untouched map, step by step, for the image map and for the label map."""
    for values, marker, shade, name in ((image, "o-", 0.1, "image map"), (label, "s--", 0.7, "label map")):
        place.plot(range(len(steps)), values, marker, color=plt.get_cmap("cividis")(shade), label=name)
    place.set_xticks(range(len(steps)), steps, rotation=40, ha="right", fontsize=7, rotation_mode="anchor")
    place.set(ylim=(-0.4, 1.05), ylabel="Spearman's correlation")
    place.set_title(title, fontsize=9)
    place.axhline(0, color="0.5", lw=0.8)
    place.grid(alpha=0.3)


def _draw_terms(place: Axes, name: str, rows: list[dict], colour: tuple) -> None:
    terms = [row for row in rows if "loss" in row]
    names = [key for key in terms[0] if key not in ("step", "seconds", "learning_rate", "loss")]
    for style, term in zip(LINE_STYLES, names, strict=False):
        points = _smoothed([row[term] for row in terms])
        place.plot([row["step"] for row in terms], points, style, color=colour, label=f"{name}: {term}")


def _draw_reliance(place: Axes, name: str, evaluations: list[dict], colour: tuple) -> None:
    for style, other, label in (("o-", "foreign_label", "reliance"), ("s--", "zero_label", "label gain")):
        points = [row["miou"]["true_label"] - row["miou"].get(other, np.nan) for row in evaluations]
        place.plot([row["step"] for row in evaluations], points, style, ms=4, color=colour, label=f"{name}: {label}")


def _smoothed(values: list[float], width: int = 5) -> np.ndarray:
    """Trailing mean of up to `width` values, same length."""
    sums = np.cumsum([0.0, *values])
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(0, ends - width)
    return (sums[ends] - sums[starts]) / (ends - starts)
