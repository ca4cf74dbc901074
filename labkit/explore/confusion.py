"""Confusion of classes over a split, and its picture."""

from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, ImageDraw

from labkit.attribution.request import scoring_batch, spread_index
from labkit.datasets import DatasetInfo
from labkit.datasets.batches import equal_size_groups
from labkit.explore.pictures import INK, LARGE, PAPER, SCORE_COLOURS, font
from labkit.explore.view import Panel, panel
from labkit.method import IGNORE_INDEX
from labkit.training.experiment import Experiment

MOST_FRAMES = 100  # of the split, spread evenly, so that an explorer need not wait for minutes
MOST_CLASSES = 24  # whose names fit


class Confusion(NamedTuple):
    """Pixels of a run's own validation split."""

    counts: np.ndarray  # (K, K): rows are labelled classes, columns predicted ones
    frames: int  # that were counted


def confusion_of(experiment: Experiment, reading: str) -> Confusion:
    """The confusion over a run's validation split, at most `MOST_FRAMES` of it.

    Args:
        reading: of `Experiment.predictors`.
    """
    split, num_classes = experiment.val_split, experiment.info.num_classes
    counts = torch.zeros(num_classes, num_classes, dtype=torch.int64)
    index = spread_index(MOST_FRAMES, len(split))
    for group in equal_size_groups(split, index, at_most=experiment.settings.scoring_batch):
        batch = scoring_batch(experiment, split, group)
        prediction = experiment.prediction(reading, batch)
        labelled = batch.target != IGNORE_INDEX
        pairs = batch.target[labelled] * num_classes + prediction[labelled]
        counts += torch.bincount(pairs, minlength=num_classes**2).view_as(counts)
    return Confusion(counts.numpy(), len(index))


def confusion_panel(confusion: Confusion, info: DatasetInfo, *, title: str) -> Panel:
    """The confusion as a picture: every row is shared out over the predicted classes, percent.

    Classes without a labelled pixel are left out, and the rarest where there are many.
    """
    counts, frames = confusion
    labelled = counts.sum(1)
    order = np.argsort(-labelled, kind="stable")[: min(MOST_CLASSES, np.count_nonzero(labelled))]
    order.sort()
    shares = 100 * counts[order][:, order] / labelled[order, None]
    names = [info.class_names[k] for k in order]
    left, top, cell = 96, 4, (LARGE - 96) // len(order)
    tall = max(14, min(cell, 24))
    picture = Image.new("RGB", (LARGE, top + tall * (len(order) + 1) + 2), PAPER)
    pen = ImageDraw.Draw(picture)
    for row, name in enumerate(names):
        y = top + tall * row
        pen.text((left - 6, y + tall / 2), name, font=font(14), anchor="rm", fill=INK)
        for column, share in enumerate(shares[row]):
            x = left + cell * column
            colour = tuple(int(one) for one in SCORE_COLOURS[round(2.55 * share)])
            pen.rectangle((x, y, x + cell - 2, y + tall - 2), fill=colour)
            if cell >= 26:
                ink = INK if share > 55 else PAPER
                middle = (x + cell / 2, y + tall / 2)
                pen.text(middle, f"{share:.0f}", font=font(13), anchor="mm", fill=ink)
    for column, name in enumerate(names):
        x, y = left + cell * (column + 0.5), top + tall * len(order) + tall / 2
        pen.text((x, y), name[: max(1, cell // 8)], font=font(12), anchor="mm", fill=INK)
    right = np.diag(shares)
    worst = int(right.argmin())
    alt = (
        f"{title}: labelled classes by predicted ones, percent of the labelled pixels of "
        f"{frames} frames. Right: "
        + ", ".join(f"{name} {share:.0f} %" for name, share in zip(names, right, strict=True))
        + "."
    )
    note = f"rows: label, columns: prediction, % of {frames} frames; least right: {names[worst]}"
    return panel(title, np.asarray(picture), alt=alt, note=note, pointable=False)
