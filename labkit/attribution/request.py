"""One request for every method (region, score, layer, noisings), and the batches and label channels
it needs.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from labkit.attribution.common import Region, Score
from labkit.attribution.layercam import BranchMeans, Layer, branch_means
from labkit.datasets import ScoringBatch, Split, frames_batch
from labkit.datasets.batches import equal_size_groups
from labkit.method import IGNORE_INDEX
from labkit.training.experiment import Experiment
from labkit.training.predict import noise_by_frame

CENTRING_FRAMES = 64  # the first training images, over which the branches' means are measured
REGIONS = {
    "predicted": "predicted as it",
    "true": "labelled as it",
    "both": "both predicted and labelled as it",
}
SCORES = {"logit": "mean logit", "margin": "mean margin over the best other class"}


@dataclass(frozen=True, kw_only=True)
class Request:
    """The explained quantity, the same for every method. Fields as for `branch_layercam`."""

    region: Region = "predicted"
    score: Score = "logit"
    layer: Layer = "folded"
    seed: int = 0  # of the first noising; the others follow
    noisings: int = 1  # averaged

    def options(self) -> dict[str, str]:
        """Region and score, as every method takes them."""
        return {"region": self.region, "score": self.score}

    def describe(self) -> str:
        """The class score in words, for captions."""
        return f"{SCORES[self.score]} of the class over the pixels {REGIONS[self.region]}"

    def describe_noisings(self) -> str:
        """How many noisings, and their seeds."""
        last = self.seed + self.noisings - 1
        if self.noisings == 1:
            return f"one noising (seed {last})"
        return f"mean of {self.noisings} noisings (seeds {self.seed}-{last})"


def scoring_batch(
    experiment: Experiment, split: Split, index: Sequence[int], *, foreign: bool = False
) -> ScoringBatch:
    """Frames of one size as the run scores them, on its device; foreign labels only on request."""
    size = experiment.settings.score_size
    batch = frames_batch(split, experiment.info, index, resize=size, foreign=foreign)
    return batch.to(experiment.device)


def labelled_batches(
    experiment: Experiment, split: Split, index: Sequence[int]
) -> Iterator[ScoringBatch]:
    """Frames in order, in groups of equal size, without those whose label is all void."""
    for group in equal_size_groups(split, index, at_most=experiment.settings.scoring_batch):
        batch = scoring_batch(experiment, split, group, foreign=True)
        labelled = (batch.label != IGNORE_INDEX).flatten(1).any(1)
        if labelled.any():
            yield batch if labelled.all() else _part(batch, labelled)


def _part(batch: ScoringBatch, where: Tensor) -> ScoringBatch:
    return ScoringBatch(*(None if part is None else part[where.to(part.device)] for part in batch))


def spread_index(count: int, frames: int) -> list[int]:
    """So many of `frames` frames (0: all), spread evenly, ascending."""
    count = min(count, frames) or frames
    return [(2 * i + 1) * frames // (2 * count) for i in range(count)]


def noised_labels(
    experiment: Experiment, batch: ScoringBatch, request: Request, *, count: int = 0
) -> list[Tensor]:
    """Label channels (N, C, h, w) of the batch, one per noising; count 0: as many as requested."""
    seeds = range(request.seed, request.seed + (count or request.noisings))
    return [noise_label(experiment, batch.label, batch, seed=seed) for seed in seeds]


def noise_label(experiment: Experiment, label: Tensor, batch: ScoringBatch, *, seed: int) -> Tensor:
    """Label channel (N, C, h, w) of any label (N, h, w) under the noise of the batch's frames."""
    return noise_by_frame(experiment.noising, label, batch.index, seed=seed)


@torch.no_grad()
def measured_means(experiment: Experiment, request: Request) -> BranchMeans | None:
    """Means of both branches per stem channel over the first 64 training images; None where the
    layer needs none.
    """
    if request.layer == "raw":
        return None
    split = experiment.train_split
    index = range(min(CENTRING_FRAMES, len(split)))
    groups = equal_size_groups(split, index, at_most=experiment.settings.scoring_batch)
    batches = (scoring_batch(experiment, split, group) for group in groups)
    return branch_means(
        experiment.network,
        (
            (batch.images, noise_label(experiment, batch.label, batch, seed=request.seed))
            for batch in batches
        ),
    )


def altered(experiment: Experiment, **changes: Any) -> Experiment:
    """The same experiment with another network or noising; open splits are shared."""
    other = replace(experiment, **changes)
    for name in ("train_split", "val_split"):
        if name in vars(experiment):
            vars(other)[name] = vars(experiment)[name]
    return other
