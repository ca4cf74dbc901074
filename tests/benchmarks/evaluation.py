"""Scoring of a split: one pass for three readings against a pass for each, frame by frame."""

import tempfile
from collections.abc import Iterator

import numpy as np
import torch

from labkit.datasets import frames_batch
from labkit.training.evaluate import score_split
from labkit.training.experiment import Experiment, plan_run, prepare
from tests.benchmarks.reference import frame_confusion
from tests.benchmarks.timing import milliseconds, row

FRAMES = 20


def evaluation_rows() -> Iterator[dict]:
    """An assisted teacher on generated scenes; frames are in memory before. Scores are equal."""
    with tempfile.TemporaryDirectory(prefix="labkit-bench-") as folder:
        values = {"runs": folder, "val_size": FRAMES, "threads": torch.get_num_threads()}
        for dataset in ("streets", "streets_large"):
            experiment = prepare(plan_run("teacher", values | {"dataset": dataset}))
            split = experiment.val_split
            counts = score_split(experiment, split)["true_label"].whole
            confusion = _one_by_one(experiment)["true_label"]
            assert (counts.hits.sum(0).numpy() == confusion.diagonal()).all()
            ours, reference = milliseconds(
                lambda experiment=experiment: score_split(experiment, experiment.val_split),
                lambda experiment=experiment: _one_by_one(experiment),
                repeat=3,
            )
            height, width = split.size(0)
            size = f"{FRAMES} frames of {height} x {width}, three readings, small Unet"
            yield row(
                "scores of a split vs a pass per reading, frame by frame", size, ours, reference
            )


def _one_by_one(experiment: Experiment) -> dict[str, np.ndarray]:
    """(K, K) confusion by reading: batches of one frame, counted by numpy."""
    split, classes = experiment.val_split, experiment.info.num_classes
    confusions = {}
    for reading in experiment.predictors():
        confusion = np.zeros((classes, classes), dtype=np.int64)
        for index in range(len(split)):
            batch = frames_batch(split, experiment.info, [index])
            prediction = experiment.logits(reading, batch).argmax(1)[0].numpy()
            confusion += frame_confusion(prediction, batch.target[0].numpy(), classes)
        confusions[reading] = confusion
    return confusions
