"""Predictions of several runs on the same frames, for a figure."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from matplotlib.figure import Figure
from torch import Tensor

from labkit.attribution.frames import LEAST_SHARE, run_frames
from labkit.attribution.request import scoring_batch
from labkit.datasets import DatasetInfo, Split
from labkit.records import Run
from labkit.records.artifacts import save_figure
from labkit.training.experiment import Experiment, load_experiment

READINGS = {"image": "", "true_label": " + label", "foreign_label": " + foreign label"}


class Predictions(NamedTuple):
    """What several runs predict on frames of the split that scores the first of them.

    Attributes:
        images: (3, H, W) uint8 per frame; targets: (H, W) class ids, 255 void.
        predictions: (H, W) class ids per frame, by name of the run and what it reads.
        info: of the data set.
        caption: which frames, by which rule, and which runs.
    """

    images: list[Tensor]
    targets: list[Tensor]
    predictions: dict[str, list[Tensor]]
    info: DatasetInfo
    caption: str


def predict_frames(
    runs: Mapping[str, Run], *, category: str, count: int, **changes: Any
) -> Predictions:
    """Predictions on frames that hold enough of a class, chosen by `choose_frames`.

    Args:
        runs: complete runs of one data set by the name to show; at least one.
        category: name of the class; "": see `DatasetInfo.category`.
        count: frames at most.
        changes: device, threads and data_root; empty ones are left as they are.

    Raises:
        DataError: no frame holds enough of the class.
        RecordError: weights are not those a manifest recorded.
    """
    changes = {name: value for name, value in changes.items() if value}
    first, predictions = None, {}
    for name, run in runs.items():
        experiment = load_experiment(run, **changes)
        if first is None:
            first = experiment
            category = first.info.category(category)
            class_id = first.info.class_id(category)
            frames = run_frames(first, category=class_id, count=count)
        split = first.val_split
        for reading in _readings(experiment, split):
            predicted = [_predict(experiment, reading, split, frame) for frame in frames]
            predictions[name + READINGS[reading]] = predicted
    samples = [first.val_split[frame] for frame in frames]
    names = ", ".join(first.val_split.frame_name(frame) for frame in frames)
    caption = (
        f"Image, label and predictions with their mIoU on frames {names}: those in which "
        f"{category} fills at least {LEAST_SHARE:.0%} of the labelled pixels, spread evenly over "
        f"the split. One run each: {', '.join(run.run_id for run in runs.values())}."
    )
    return Predictions(
        [sample.image for sample in samples],
        [sample.target for sample in samples],
        predictions,
        first.info,
        caption,
    )


def save_predictions(
    runs: Mapping[str, Run],
    folder: Path,
    draw: Callable[..., Figure],
    *,
    parameters: Mapping[str, Any],
    **options: Any,
) -> str:
    """Draw what several runs predict and save it as predictions.png with its record.

    Args:
        draw: `plots.predictions_figure`.
        parameters: of the notebook.
        options: of `predict_frames`.

    Returns:
        The file's name, or why there is none.
    """
    if not runs:
        return "predictions: not drawn; no run is complete."
    *arguments, caption = predict_frames(runs, **options)
    save_figure(
        draw(*arguments),
        folder / "predictions.png",
        caption=caption,
        alt=f"Image, label and the predictions of {len(runs)} runs on {len(arguments[0])} frames.",
        runs=list(runs.values()),
        parameters=parameters,
    )
    return "predictions.png"


def _readings(experiment: Experiment, split: Split) -> list[str]:
    """Readings that are drawn; one frame alone has no foreign label."""
    missing = "foreign_label" if len(split) < 2 else ""
    return [name for name in experiment.predictors() if name in READINGS and name != missing]


@torch.no_grad()
def _predict(experiment: Experiment, reading: str, split: Split, frame: int) -> Tensor:
    foreign = reading == "foreign_label"
    batch = scoring_batch(experiment, split, [frame], foreign=foreign)
    return experiment.logits(reading, batch).argmax(1)[0]
