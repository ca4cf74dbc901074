"""Figures of one training run: what its network reads, and what it predicts."""

from collections.abc import Mapping

import torch
from matplotlib.figure import Figure

from labkit.datasets import DatasetInfo, frames_batch
from labkit.datasets.batches import Batch
from labkit.method import LabelNoising, stream_generator
from labkit.plots.frames import CHANNEL, LEGEND_ROW, colourise, picture, predictions_figure
from labkit.plots.panels import Panels, class_legend, ratio, show
from labkit.training.experiment import Experiment

READINGS = {
    "image": "image",
    "true_label": "true label",
    "foreign_label": "foreign label",
    "zero_label": "zero label",
}


def input_figure(
    batch: Batch, noising: LabelNoising | None, info: DatasetInfo, *, seed: int = 0
) -> Figure:
    """First frame of a training batch: image, label and, with a noising, two label channels."""
    image, target = info.pixels(batch.images[0]), batch.target[0]
    legend = -(-info.num_classes // 8) * LEGEND_ROW + 0.1
    panels = Panels([ratio(image)], 4 if noising else 2, bottom=legend)
    axes = panels.axes[0]
    show(axes[0], picture(image), "image")
    show(axes[1], colourise(target, info), "label")
    if noising:
        streams = [stream_generator("explore noise", seed, path) for path in range(2)]
        channels = [noising(target[None], generator=stream)[0, 0] for stream in streams]
        limit = float(torch.stack(channels).abs().max())
        for panel, name, channel in zip(axes[2:], "ab", channels, strict=True):
            options = {"cmap": CHANNEL, "vmin": -limit, "vmax": limit}
            show(panel, channel, f"noised label, path {name}", **options)
    class_legend(panels.figure, info.class_names, info.palette, columns=8)
    return panels.figure


def run_predictions_figure(experiments: Mapping[str, Experiment], *, frames: int) -> Figure:
    """Predictions of networks on the first validation frames, by what each network reads.

    Args:
        experiments: by name; all of one data set.
        frames: how many frames, from the first on.
    """
    first = next(iter(experiments.values()))
    split = first.val_split
    batches = [frames_batch(split, first.info, [i]) for i in range(min(frames, len(split)))]
    predictions = {
        _name(name, reading): [experiment.logits(reading, one).argmax(1)[0] for one in batches]
        for name, experiment in experiments.items()
        for reading in experiment.predictors()
        if reading != "foreign_label" or batches[0].foreign_label is not None
    }
    images = [split[i].image for i in range(len(batches))]
    targets = [one.target[0] for one in batches]
    return predictions_figure(images, targets, predictions, first.info)


def _name(name: str, reading: str) -> str:
    return name if reading == "image" else f"{name}, {READINGS[reading]}"
