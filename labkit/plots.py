"""What people see. Values come in as they are; scales are chosen here, one per figure, and shown."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from labkit.datasets import DatasetInfo
from labkit.lnm import IGNORE_INDEX, NoisingSteps

LINE_STYLES = ("-", "--", ":", "-.")
SHORT = {"true_label": "true label", "foreign_label": "foreign label", "zero_label": "zero label", "image": "image"}


def colourise(class_ids: Tensor, info: DatasetInfo) -> np.ndarray:
    """(H, W) class ids -> (H, W, 3) uint8 in the data set's palette; void black."""
    palette = np.zeros((256, 3), dtype=np.uint8)
    palette[: info.num_classes] = info.palette
    return palette[class_ids.cpu().numpy()]


def error_map(prediction: Tensor, target: Tensor) -> np.ndarray:
    """(H, W, 3) uint8: right pale, wrong dark, void white: lightness carries the meaning."""
    shades = np.array([[225, 225, 225], [110, 0, 40], [255, 255, 255]], dtype=np.uint8)
    kind = (prediction != target).long().masked_fill(target == IGNORE_INDEX, 2)
    return shades[kind.cpu().numpy()]


def picture(image: Tensor) -> np.ndarray:
    """(3, H, W) uint8 -> (H, W, 3) for imshow."""
    return image.permute(1, 2, 0).cpu().numpy()


def noising_figure(image: Tensor, target: Tensor, steps: NoisingSteps, weights: Tensor, info: DatasetInfo) -> Figure:
    """One frame's way through the label noising module: one-hot, weighted, summed, noised (after the paper's figure 3).

    Args:
        image: (3, H, W) uint8; target: (H, W).
        steps: of this frame alone, N = 1; the first label channel is drawn.
        weights: (K+1,) class codes of that channel, void last.
    """
    names = [*info.class_names, "void"]
    columns = len(names)
    shape = target.shape[0] / target.shape[1]
    heights = [3 * shape + 0.4, 12 / columns * shape + 0.35, 12 / columns * shape + 0.35]  # inches
    figure = plt.figure(figsize=(13, sum(heights)), layout="constrained")
    top, middle, bottom = figure.subfigures(3, 1, height_ratios=heights)
    limit = float(max(steps.noised[0, 0].abs().max(), steps.summed[0, 0].abs().max(), 1e-6))
    scale = {"cmap": "cividis", "vmin": -limit, "vmax": limit}
    axes = top.subplots(1, 4)
    _show(axes[0], picture(image), "image")
    _show(axes[1], colourise(target, info), "label")
    _show(axes[2], steps.summed[0, 0], "3  summed over classes", **scale)
    shown = axes[3].imshow(np.asarray(steps.noised[0, 0]), **scale)
    _show(axes[3], None, "4  noised and scaled: what the teacher reads")
    top.colorbar(shown, ax=axes, label="channel value", shrink=0.9, pad=0.02)
    for place, name, one_hot in zip(middle.subplots(1, columns), names, steps.one_hot[0], strict=True):
        _show(place, one_hot, name, cmap="gray", vmin=0, vmax=1)
    middle.supylabel("1  one-hot", fontsize=9)
    for place, weight, weighted in zip(bottom.subplots(1, columns), weights, steps.weighted[0, 0], strict=True):
        _show(place, weighted, f"× {weight:+.2f}", **scale)
    bottom.supylabel("2  weighted", fontsize=9)
    return figure


def code_histogram_figure(label_channel: Tensor, target: Tensor, info: DatasetInfo) -> Figure:
    """How far apart do the classes lie in the channel? Values (H, W) by class of the target (H, W)."""
    figure, place = plt.subplots(figsize=(8, 3), layout="constrained")
    bins = np.linspace(float(label_channel.min()), float(label_channel.max()) + 1e-6, 120)
    for number, name in [*enumerate(info.class_names), (IGNORE_INDEX, "void")]:
        values = label_channel[target == number].numpy()
        if values.size:
            colour = np.array(info.palette[number]) / 255 if number != IGNORE_INDEX else (0, 0, 0)
            place.hist(values, bins=bins, histtype="stepfilled", alpha=0.6, color=colour, label=name)
            place.text(
                float(np.median(values)), 1.02, name, transform=place.get_xaxis_transform(), rotation=70, fontsize=8, ha="center"
            )  # a class is told by its name, not by hue
    place.set(yscale="log", ylabel="pixels", xlabel="value of the label channel, by class")
    return figure


def curves_figure(logs: Mapping[str, list[dict]]) -> Figure:
    """Training of several runs: loss terms on the left, mIoU by reading on the right.

    Args:
        logs: rows of log.jsonl by the run's name.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(13, 4.6), layout="constrained")
    for number, (name, rows) in enumerate(logs.items()):
        colour = plt.get_cmap("tab10")(number)
        terms = [row for row in rows if "loss" in row]
        for style, term in zip(
            LINE_STYLES, [key for key in terms[0] if key not in ("step", "seconds", "learning_rate", "loss")], strict=False
        ):
            values = _smoothed([row[term] for row in terms])
            left.plot([row["step"] for row in terms], values, style, color=colour, lw=1.4, label=f"{name}: {term}")
        evaluations = [row for row in rows if "miou" in row]
        for style, reading in zip(LINE_STYLES, evaluations[0]["miou"], strict=False):
            points = [row["miou"][reading] for row in evaluations]
            label = f"{name}: {SHORT[reading]}"
            right.plot([row["step"] for row in evaluations], points, style, marker="o", ms=4, color=colour, label=label)
    left.set(xlabel="optimiser steps", ylabel="weighted loss term, nats (running mean of 5)", yscale="log", title="loss terms")
    right.set(xlabel="optimiser steps", ylabel="mIoU, percent", title="validation mIoU by what the network reads")
    for place in (left, right):
        place.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
        place.grid(alpha=0.3)
    return figure


def predictions_figure(
    images: Sequence[Tensor], targets: Sequence[Tensor], predictions: Mapping[str, Sequence[Tensor]], info: DatasetInfo
) -> Figure:
    """Per frame two rows: the image and every prediction; the label and every error map.

    Args:
        images: (3, H, W) uint8 each; targets: (H, W) each.
        predictions: by the network's name, (H, W) class ids for each frame.
    """
    height, width = targets[0].shape
    columns = 1 + len(predictions)
    size = (2.6 * columns, 2 * len(images) * 2.6 * height / width + 0.9)
    figure, axes = plt.subplots(2 * len(images), columns, figsize=size, squeeze=False, layout="constrained")
    for number, (image, target) in enumerate(zip(images, targets, strict=True)):
        upper, lower = axes[2 * number], axes[2 * number + 1]
        _show(upper[0], picture(image), "image" if number == 0 else "")
        _show(lower[0], colourise(target, info), "label" if number == 0 else "")
        for column, (name, predicted) in enumerate(predictions.items(), start=1):
            labelled = target != IGNORE_INDEX
            wrong = 100 * (predicted[number] != target)[labelled].float().mean()
            _show(upper[column], colourise(predicted[number], info), name if number == 0 else "")
            _show(lower[column], error_map(predicted[number], target), f"wrong {wrong:.0f} %")
    handles = [plt.Rectangle((0, 0), 1, 1, color=np.array(colour) / 255) for colour in info.palette]
    figure.legend(handles, info.class_names, loc="outside lower center", ncols=info.num_classes, fontsize=8, frameon=False)
    return figure


def contribution_figure(
    images: Sequence[Tensor], outlines: Sequence[Tensor], image_maps: Tensor, label_maps: Tensor, shares: Tensor, *, category: str
) -> Figure:
    """Evidence for one class that came through the image and through the label, in one scale, and the label's share.

    Args:
        images: (3, H, W) uint8; outlines: (H, W) bool, where the label holds the class.
        image_maps, label_maps: (N, h, w) branch maps, unscaled; NaN where the class was not predicted.
        shares: (N,) label share over each whole frame.
    """
    limit = shared_limit(image_maps, label_maps)
    figure, axes = _frame_grid(images, 4)
    for row, (image, outline, from_image, from_label, share) in enumerate(
        zip(images, outlines, image_maps, label_maps, shares, strict=True)
    ):
        height, width = outline.shape
        extent = (-0.5, width - 0.5, height - 0.5, -0.5)
        titles = ("frame", "through the image", "through the label", "label share") if row == 0 else ("",) * 4
        _show(axes[row, 0], picture(image), titles[0])
        scale = {"cmap": "magma", "vmin": 0, "vmax": limit, "extent": extent}
        evidence = axes[row, 1].imshow(np.asarray(from_image), **scale)
        axes[row, 2].imshow(np.asarray(from_label), **scale)
        total = from_image + from_label
        ratio = torch.where(total > 0.05 * limit, from_label / total.clamp(min=1e-12), torch.nan)
        axes[row, 3].set_facecolor("0.6")
        parts = axes[row, 3].imshow(np.asarray(ratio), cmap="PuOr", vmin=0, vmax=1, extent=extent)
        axes[row, 3].set_xlabel(f"whole frame: {100 * share:.0f} % label", fontsize=8)
        for place, title in zip(axes[row], titles, strict=True):
            _show(place, None, title)
            place.contour(outline.float().numpy(), levels=[0.5], colors=["white"], linewidths=0.9)
    figure.colorbar(
        evidence, ax=axes[:, :3], label=f"evidence for {category}, logits (one scale)", location="bottom", shrink=0.6, aspect=40
    )
    figure.colorbar(parts, ax=axes[:, 3], label="label share; grey: little evidence", location="bottom", shrink=0.9, aspect=20)
    return figure


def library_figure(
    images: Sequence[Tensor], ours: tuple[Tensor, Tensor], library: tuple[np.ndarray, np.ndarray], *, category: str
) -> Figure:
    """Our two maps in one scale beside the library's, which scales each map to 0-1 on its own.

    Args:
        images: (3, H, W) uint8; ours: image and label maps (N, h, w); library: image and label maps (N, H, W).
    """
    limit = shared_limit(*ours)
    figure, axes = _frame_grid(images, 5)
    titles = ("frame", "ours: image", "ours: label", "library: image", "library: label")
    for row, image in enumerate(images):
        _show(axes[row, 0], picture(image), "")
        mine = [axes[row, 1 + branch].imshow(np.asarray(ours[branch][row]), cmap="magma", vmin=0, vmax=limit) for branch in (0, 1)]
        theirs = [axes[row, 3 + branch].imshow(np.asarray(library[branch][row]), cmap="magma", vmin=0, vmax=1) for branch in (0, 1)]
        for place, title in zip(axes[row], titles, strict=True):
            _show(place, None, title if row == 0 else "")
    figure.colorbar(mine[0], ax=axes[:, :3], label=f"evidence for {category}, logits (one scale)", location="bottom", shrink=0.6, aspect=40)
    figure.colorbar(
        theirs[0], ax=axes[:, 3:], label="each map over its own maximum (no common unit)", location="bottom", shrink=0.6, aspect=40
    )
    return figure


def shared_limit(*maps: Tensor) -> float:
    """One upper limit for several maps: the 99.5th percentile of all their finite values."""
    values = np.concatenate([one.numpy().ravel() for one in maps])
    return float(max(np.nanpercentile(values, 99.5), 1e-12)) if np.isfinite(values).any() else 1.0


def _frame_grid(images: Sequence[Tensor], columns: int) -> tuple[Figure, np.ndarray]:
    """Axes for a row per frame, 3.1 inches to a column, with room for titles above and colour bars below."""
    height, width = images[0].shape[1:]
    size = (3.1 * columns, len(images) * (3.1 * height / width + 0.28) + 1.2)
    figure, axes = plt.subplots(len(images), columns, figsize=size, squeeze=False, layout="compressed")
    return figure, axes


def _show(place: Axes, values: np.ndarray | Tensor | None, title: str, **options) -> None:
    if values is not None:
        place.imshow(np.asarray(values), **options)
    place.set_title(title, fontsize=9)
    place.set_xticks([])
    place.set_yticks([])


def _smoothed(values: list[float], width: int = 5) -> np.ndarray:
    """Trailing mean of up to `width` values, same length."""
    sums = np.cumsum([0.0, *values])
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(0, ends - width)
    return (sums[ends] - sums[starts]) / (ends - starts)
