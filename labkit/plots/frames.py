"""Frames, labels, predictions, and the noising of a label."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from labkit.datasets import DatasetInfo
from labkit.lnm import IGNORE_INDEX, NoisingSteps


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
    show(axes[0], picture(image), "image")
    show(axes[1], colourise(target, info), "label")
    show(axes[2], steps.summed[0, 0], "3  summed over classes", **scale)
    shown = axes[3].imshow(np.asarray(steps.noised[0, 0]), **scale)
    show(axes[3], None, "4  noised and scaled: what the teacher reads")
    top.colorbar(shown, ax=axes, label="channel value", shrink=0.9, pad=0.02)
    for place, name, one_hot in zip(middle.subplots(1, columns), names, steps.one_hot[0], strict=True):
        show(place, one_hot, name, cmap="gray", vmin=0, vmax=1)
    middle.supylabel("1  one-hot", fontsize=9)
    for place, weight, weighted in zip(bottom.subplots(1, columns), weights, steps.weighted[0, 0], strict=True):
        show(place, weighted, f"× {weight:+.2f}", **scale)
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
        show(upper[0], picture(image), "image" if number == 0 else "")
        show(lower[0], colourise(target, info), "label" if number == 0 else "")
        for column, (name, predicted) in enumerate(predictions.items(), start=1):
            labelled = target != IGNORE_INDEX
            wrong = 100 * (predicted[number] != target)[labelled].float().mean()
            show(upper[column], colourise(predicted[number], info), name if number == 0 else "")
            show(lower[column], error_map(predicted[number], target), f"wrong {wrong:.0f} %")
    handles = [plt.Rectangle((0, 0), 1, 1, color=np.array(colour) / 255) for colour in info.palette]
    figure.legend(handles, info.class_names, loc="outside lower center", ncols=info.num_classes, fontsize=8, frameon=False)
    return figure


def frame_grid(images: Sequence[Tensor], columns: int, *, width: float = 3.1) -> tuple[Figure, np.ndarray]:
    """Axes for a row per frame, `width` inches to a column, with room for titles above and colour bars below."""
    ratio = images[0].shape[1] / images[0].shape[2]
    size = (width * columns, len(images) * (width * ratio + 0.28) + 1.2)
    figure, axes = plt.subplots(len(images), columns, figsize=size, squeeze=False, layout="compressed")
    return figure, axes


def show(place: Axes, values: np.ndarray | Tensor | None, title: str, **options) -> None:
    if values is not None:
        place.imshow(np.asarray(values), **options)
    place.set_title(title, fontsize=9)
    place.set_xticks([])
    place.set_yticks([])
