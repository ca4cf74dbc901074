"""Panels and tables of class ids: predictions, errors of one class, IoU of one frame."""

from dataclasses import replace
from functools import partial

import numpy as np
from torch import Tensor

from labkit.datasets import DatasetInfo
from labkit.explore.pictures import class_picture, error_picture, fitted, outlined
from labkit.explore.view import Panel, Table, panel
from labkit.method import IGNORE_INDEX, Counts, Scores, count_pixels, scores_from_counts


def miou_text(scores: dict[str, Scores]) -> str:
    """mIoU of a frame by reading, and the reliance."""
    parts = [f"{name} {one.miou:.1f}" for name, one in scores.items() if name != "edited label"]
    text = f"mIoU of this frame: {', '.join(parts)}"
    if "foreign label" in scores:
        reliance = scores["true label"].miou - scores["foreign label"].miou
        text += f"; reliance {reliance:.1f}"
    return text + "."


def frame_scores(prediction: Tensor, truth: Tensor, info: DatasetInfo) -> Scores:
    """Scores of one frame; (H, W) class ids each."""
    counts = count_pixels(prediction[None], truth[None], num_classes=info.num_classes)
    return scores_from_counts(Counts(*(part[0] for part in counts)))


def class_panel(
    title: str,
    ids: Tensor,
    info: DatasetInfo,
    *,
    alt: str,
    note: str = "",
    hint: str = "",
    named: bool = True,
    lines: bool = True,
    region: np.ndarray | None = None,
    over: Tensor | None = None,
) -> Panel:
    """A panel of class ids; the alt text names the classes by size.

    Args:
        note, hint: as in `Panel`.
        named: write the classes' names on it; lines: draw lines between them.
        region: (H, W) bool, outlined.
        over: (H, W) class ids of a second picture, to swipe between the two.
    """
    draw = partial(class_panel, title, info=info, alt=alt, note=note, named=named, lines=lines)
    if over is not None:
        return replace(draw(ids), over=draw(over).content)
    values = ids.masked_fill(ids == IGNORE_INDEX, info.num_classes).numpy()
    names = [*info.class_names, "void"]
    counts = np.bincount(values.ravel(), minlength=len(names))
    shares = ", ".join(
        f"{names[k]} {100 * counts[k] / values.size:.1f} %"
        for k in np.argsort(-counts, kind="stable")
        if counts[k]
    )
    pixels = class_picture(values, info.palette, names, named=named, lines=lines)
    return panel(
        title,
        pixels if region is None else outlined(pixels, fitted(region)),
        alt=f"{alt}: {shares}.",
        note=note,
        hint=hint,
    )


def error_panel(
    prediction: Tensor, truth: Tensor, category: int, reading: str, info: DatasetInfo
) -> Panel:
    """Hits, misses and false alarms of one class."""
    labelled = truth != IGNORE_INDEX
    predicted, true = (prediction == category) & labelled, truth == category
    counts = [int(one.sum()) for one in (predicted & true, true & ~predicted, predicted & ~true)]
    name = info.class_names[category]
    hit, missed, false = counts
    alt = f"Errors for {name}, {reading}: {hit} pixels hit, {missed} missed, {false} false alarms."
    pixels = error_picture(prediction.numpy(), truth.numpy(), category, IGNORE_INDEX)
    note = f"{reading}: {hit} hit (grey), {missed} missed (black), {false} false (striped)"
    return panel(f"errors, {name}", pixels, alt=alt, note=note)


def iou_table(scores: dict, info: DatasetInfo) -> Table:
    """IoU of one frame by class and reading."""
    rows = [
        (name, *(_percent(one.iou[k]) for one in scores.values()))
        for k, name in enumerate(info.class_names)
    ]
    rows.append(("mean", *(_percent(one.miou) for one in scores.values())))
    return Table(
        "IoU of this frame by class, percent; – is in neither label nor prediction.",
        ("class", *scores),
        tuple(rows),
    )


def class_legend(info: DatasetInfo) -> tuple[tuple[str, tuple[int, int, int]], ...]:
    """Class names with their colours, void last."""
    colours = (*(tuple(one) for one in info.palette), (0, 0, 0))
    return tuple(zip((*info.class_names, "void"), colours, strict=True))


def _percent(value: float) -> str:
    return "–" if value != value else f"{value:.1f}"
