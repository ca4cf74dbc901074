"""Frames, labels, predictions, and the noising of a label."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from labkit.datasets import DatasetInfo
from labkit.method import IGNORE_INDEX, NoisingSteps, count_pixels, scores_from_counts
from labkit.method.metrics import Counts
from labkit.plots.panels import SMALL, WIDTH, Panels, class_legend, ratio, show
from labkit.records.text import figure_text

LEGEND_ROW = 0.2  # inches per row of a class legend
CHANNEL = "cividis"  # colour map of a label channel


def colourise(class_ids: Tensor, info: DatasetInfo) -> np.ndarray:
    """(H, W) class ids -> (H, W, 3) uint8 in the data set's palette; void black."""
    palette = np.zeros((256, 3), dtype=np.uint8)
    palette[: info.num_classes] = info.palette
    return palette[class_ids.cpu().numpy()]


def picture(image: Tensor) -> np.ndarray:
    """(3, H, W) uint8 -> (H, W, 3) for imshow."""
    return image.permute(1, 2, 0).cpu().numpy()


def frame_miou(prediction: Tensor, target: Tensor, num_classes: int) -> float:
    """mIoU of one frame in percent, over the classes in its label or prediction; (H, W) class ids
    each.
    """
    counts = count_pixels(prediction[None], target[None], num_classes=num_classes)
    return scores_from_counts(Counts(*(part[0] for part in counts))).miou


def hero_figure(
    image: Tensor,
    target: Tensor,
    label_channel: Tensor,
    predictions: Mapping[str, Tensor],
    info: DatasetInfo,
) -> Figure:
    """The method on one frame: image, noised label and label above; predictions with their mIoU
    below.

    Args:
        image: (3, H, W) uint8.
        target: (H, W) class ids at the predictions' size.
        label_channel: (h, w), the channel the teacher reads.
        predictions: (H, W) class ids by what is shown, such as teacher with label, teacher without,
            student.
    """
    columns = max(3, len(predictions))
    legend = -(-info.num_classes // 8) * LEGEND_ROW + 0.1
    panels = Panels([ratio(image)] * 2, columns, bottom=legend)
    upper, lower = panels.axes
    show(upper[0], picture(image), "image")
    limit = float(label_channel.abs().max().clamp(min=1e-6))
    channel = {"cmap": CHANNEL, "vmin": -limit, "vmax": limit}
    show(upper[1], label_channel.cpu(), "noised label: the teacher's extra input", **channel)
    show(upper[2], colourise(target, info), "label")
    for axes, (name, prediction) in zip(lower, predictions.items(), strict=False):
        score = frame_miou(prediction, target, info.num_classes)
        show(axes, colourise(prediction, info), f"{name}: mIoU {score:.0f} %")
    for axes in [*upper[3:], *lower[len(predictions) :]]:
        axes.set_axis_off()
    class_legend(panels.figure, info.class_names, info.palette, columns=8)
    return panels.figure


def predictions_figure(
    images: Sequence[Tensor],
    targets: Sequence[Tensor],
    predictions: Mapping[str, Sequence[Tensor]],
    info: DatasetInfo,
) -> Figure:
    """Per frame: image, label, and every prediction with its mIoU in percent, three to a row.

    Args:
        images: (3, H, W) uint8 each; targets: (H, W) each, of any size.
        predictions: by name, (H, W) class ids for each frame.
    """
    columns = 3
    rows = -(-(2 + len(predictions)) // columns)
    ratios = [ratio(image) for image in images for _ in range(rows)]
    legend = -(-info.num_classes // 8) * LEGEND_ROW + 0.1
    panels = Panels(ratios, columns, bottom=legend)
    for number, (image, target) in enumerate(zip(images, targets, strict=True)):
        cells = panels.axes[rows * number : rows * (number + 1)].ravel()
        show(cells[0], picture(image), f"image {number + 1}")
        show(cells[1], colourise(target, info), "label; the others with their mIoU")
        for axes, (name, predicted) in zip(cells[2:], predictions.items(), strict=False):
            score = frame_miou(predicted[number], target, info.num_classes)
            show(axes, colourise(predicted[number], info), f"{name}: {score:.0f} %")
        for axes in cells[2 + len(predictions) :]:
            axes.set_axis_off()
    class_legend(panels.figure, info.class_names, info.palette, columns=8)
    return panels.figure


def noising_figure(
    image: Tensor, target: Tensor, steps: NoisingSteps, codes: Tensor, info: DatasetInfo
) -> Figure:
    """One frame's way through the label noising: one-hot, weighted, summed, noised (after the
    paper's figure 3).

    Args:
        image: (3, H, W) uint8; target: (H, W).
        steps: of this frame alone, N = 1; the first label channel is drawn.
        codes: (K+1,) class codes of that channel, void last.
    """
    names = [*info.class_names, "void"]
    limit = float(max(steps.noised[0, 0].abs().max(), steps.summed[0, 0].abs().max(), 1e-6))
    scale = {"cmap": CHANNEL, "vmin": -limit, "vmax": limit}
    columns = min(len(names), 10)
    blocks = -(-len(names) // columns)
    strip = blocks * (0.72 * ratio(image) + 0.18) + 0.25  # inches
    heights = [1.7 * ratio(image) + 0.35, strip, strip]
    figure = plt.figure(figsize=(WIDTH, sum(heights)), layout="constrained")
    top, middle, bottom = figure.subfigures(3, 1, height_ratios=heights)
    axes = top.subplots(1, 4)
    show(axes[0], picture(image), "image")
    show(axes[1], colourise(target, info), "label")
    show(axes[2], steps.summed[0, 0], "3  summed over classes", **scale)
    drawn = axes[3].imshow(np.asarray(steps.noised[0, 0]), **scale)
    show(axes[3], None, "4  noised and scaled")
    bar = top.colorbar(drawn, ax=list(axes), shrink=0.9, pad=0.02)
    bar.set_label("channel value", fontsize=SMALL)
    bar.ax.tick_params(labelsize=SMALL)
    _class_grid(middle, "1  one-hot", names, steps.one_hot[0], columns, cmap="gray", vmin=0, vmax=1)
    weighted = [f"× {code:+.2f}" for code in codes]
    _class_grid(bottom, "2  weighted", weighted, steps.weighted[0, 0], columns, **scale)
    return figure


def code_histogram_figure(label_channel: Tensor, target: Tensor, info: DatasetInfo) -> Figure:
    """Values of the channel (H, W) by class of the target (H, W): how far apart the classes lie."""
    figure, axes = plt.subplots(figsize=(WIDTH, 2.6), layout="constrained")
    bins = np.linspace(float(label_channel.min()), float(label_channel.max()) + 1e-6, 120)
    for number, name in [*enumerate(info.class_names), (IGNORE_INDEX, "void")]:
        name = figure_text(name)
        values = label_channel[target == number].numpy()
        if values.size:
            colour = np.array(info.palette[number]) / 255 if number != IGNORE_INDEX else (0, 0, 0)
            axes.hist(values, bins=bins, histtype="stepfilled", alpha=0.6, color=colour, label=name)
            axes.text(
                float(np.median(values)), 1.02, name, transform=axes.get_xaxis_transform(),
                rotation=70, fontsize=SMALL, ha="center",
            )  # fmt: skip
    axes.set(yscale="log", ylabel="pixels", xlabel="value of the label channel, by class")
    return figure


def _class_grid(
    part: Any, title: str, names: Sequence[str], maps: Tensor, columns: int, **options: Any
) -> None:
    """Small pictures of every class, `columns` to a row."""
    rows = -(-len(names) // columns)
    cells = part.subplots(rows, columns, squeeze=False).ravel()
    for axes, name, values in zip(cells, names, maps, strict=False):
        show(axes, values, name, **options)
        axes.title.set_fontsize(SMALL)
    for axes in cells[len(names) :]:
        axes.set_axis_off()
    part.suptitle(title, x=0.01, ha="left", fontsize=SMALL)
