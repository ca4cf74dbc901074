"""Figures of one training run: what its network reads, and what it predicts."""

from collections.abc import Mapping

import torch
from matplotlib.figure import Figure

from labkit.datasets import frames_batch
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


def input_figure(experiment: Experiment, noising: LabelNoising | None) -> Figure:
    """First frame of the first training batch: image, label and, with a noising, what it makes of
    the label in the first step: twice for a teacher's two paths, once for a student's teacher.
    """
    info, settings = experiment.info, experiment.settings
    batch = experiment.train_batches[0].to(experiment.device)
    image, target = info.pixels(batch.images[0].cpu()), batch.target[0].cpu()
    titles = ["noised label, path a", "noised label, path b"]
    if experiment.run.role == "student":
        titles = ["noised label"]
    channels = []
    if noising:
        stream = stream_generator("noise", settings.seed, 0, device=experiment.device)
        channels = [noising(batch.target, generator=stream)[0, 0].cpu() for _ in titles]
    legend = -(-info.num_classes // 8) * LEGEND_ROW + 0.1
    panels = Panels([ratio(image)], 2 + len(channels), bottom=legend)
    axes = panels.axes[0]
    show(axes[0], picture(image), "image")
    show(axes[1], colourise(target, info), "label")
    if channels:
        limit = float(torch.stack(channels).abs().max())
        options = {"cmap": CHANNEL, "vmin": -limit, "vmax": limit}
        for panel, title, channel in zip(axes[2:], titles, channels, strict=True):
            show(panel, channel, title, **options)
    class_legend(panels.figure, info.class_names, info.palette, columns=8)
    return panels.figure


def run_predictions_figure(experiments: Mapping[str, Experiment], *, frames: int) -> Figure:
    """Predictions of networks on the first validation frames, by what each network reads; each at
    the size at which its run is scored.

    Args:
        experiments: by name; all of one data set.
        frames: how many frames, from the first on.
    """
    first = next(iter(experiments.values()))
    split = first.val_split
    samples = [split[i] for i in range(min(frames, len(split)))]
    predictions = {}
    for name, experiment in experiments.items():
        size = experiment.settings.score_size
        batches = [frames_batch(split, first.info, [i], resize=size) for i in range(len(samples))]
        predictions |= {
            _name(name, reading): [experiment.prediction(reading, one)[0] for one in batches]
            for reading in experiment.predictors()
            if reading != "foreign_label" or len(split) > 1
        }
    images, targets = zip(*[(one.image, one.target) for one in samples], strict=True)
    return predictions_figure(images, targets, predictions, first.info)


def _name(name: str, reading: str) -> str:
    return name if reading == "image" else f"{name}, {READINGS[reading]}"
