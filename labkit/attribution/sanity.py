"""Maps of one class while the network's weights are randomised piece by piece, and while its label
is permuted.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from torch import Tensor

from labkit.attribution.common import rank_correlation
from labkit.attribution.layercam import BranchMaps, BranchMeans, branch_layercam
from labkit.attribution.randomise import cascading_randomisation, permute_label
from labkit.attribution.request import (
    Request,
    altered,
    measured_means,
    noise_label,
    scoring_batch,
)
from labkit.datasets import ScoringBatch
from labkit.method import stream_generator
from labkit.networks import SegmentationNetwork
from labkit.training.experiment import Experiment

FRACTIONS = (0.1, 0.25, 0.5, 1.0)  # of the label's pixels that change places


class SanityStep(NamedTuple):
    """Maps after one more change, compared with those of the trained teacher."""

    kind: str  # weights or label
    name: str  # the last change; "as trained" or "true label" for the first step
    image_map: Tensor  # (h, w) of the first frame, unscaled
    label_map: Tensor  # (h, w)
    image: float  # Spearman's correlation with the trained teacher's map, mean over frames
    label: float


def sanity_steps(
    experiment: Experiment, index: Sequence[int], *, category: int, request: Request, seed: int
) -> list[SanityStep]:
    """The maps of a class on frames of the validation split, step by step; each step keeps the
    changes before it.

    Args:
        experiment: an assisted teacher, complete.
        index: frames that hold the class.
        seed: of the random weights and permutations.

    The region is where the label holds the class, because the prediction of a randomised network is
    random; with a permuted label it is still that of the true one.
    """
    batches = [scoring_batch(experiment, experiment.val_split, [i], foreign=True) for i in index]
    trained_means = measured_means(experiment, request)
    labels = [batch.label for batch in batches]

    def maps(
        network: SegmentationNetwork, means: BranchMeans | None, labels: Sequence[Tensor]
    ) -> list[BranchMaps]:
        return [
            _maps(experiment, network, batch, label, means, category=category, request=request)
            for batch, label in zip(batches, labels, strict=True)
        ]

    trained = maps(experiment.network, trained_means, labels)
    steps = [_step("weights", "as trained", trained, trained)]
    generator = stream_generator("sanity weights", seed)
    for piece, network in cascading_randomisation(experiment.network, generator=generator):
        means = measured_means(altered(experiment, network=network), request)
        steps.append(_step("weights", piece, maps(network, means, labels), trained))
    steps.append(_step("label", "true label", trained, trained))
    for name, changed in _changed_labels(batches, seed):
        steps.append(
            _step("label", name, maps(experiment.network, trained_means, changed), trained)
        )
    return steps


def steps_table(steps: list[SanityStep]) -> pd.DataFrame:
    """Columns kind, step, image, label: Spearman's correlation with the trained teacher's map."""
    rows = [
        {"kind": step.kind, "step": step.name, "image": step.image, "label": step.label}
        for step in steps
    ]
    return pd.DataFrame(rows)


def _changed_labels(batches: list[ScoringBatch], seed: int) -> list[tuple[str, list[Tensor]]]:
    """Labels permuted more and more, and last the foreign label where the split has one."""
    changed = []
    for fraction in FRACTIONS:
        permuted = [
            permute_label(batch.label, fraction, generator=stream_generator("sanity label", seed))
            for batch in batches
        ]
        changed.append((f"{fraction:.0%} permuted", permuted))
    if all(batch.foreign_label is not None for batch in batches):
        changed.append(("foreign label", [batch.foreign_label for batch in batches]))
    return changed


def _maps(
    experiment: Experiment,
    network: SegmentationNetwork,
    batch: ScoringBatch,
    label: Tensor,
    means: BranchMeans | None,
    *,
    category: int,
    request: Request,
) -> BranchMaps:
    channel = noise_label(experiment, label, batch, seed=request.seed)
    return branch_layercam(
        network, batch.images, channel, means=means, category=category, region="true",
        target=batch.label, score=request.score, layer=request.layer,
    )  # fmt: skip


def _step(kind: str, name: str, maps: list[BranchMaps], trained: list[BranchMaps]) -> SanityStep:
    image, label = (
        _mean_rank(
            [getattr(one, branch) for one in maps], [getattr(one, branch) for one in trained]
        )
        for branch in ("image", "label")
    )
    return SanityStep(kind, name, maps[0].image[0].cpu(), maps[0].label[0].cpu(), image, label)


def _mean_rank(maps: list[Tensor], others: list[Tensor]) -> float:
    """Spearman's correlation over positions, mean over the frames in which both maps vary."""
    ranks = [
        rank_correlation(one.cpu(), other.cpu()) for one, other in zip(maps, others, strict=True)
    ]
    known = [rank for rank in ranks if rank == rank]
    return float(np.mean(known)) if known else float("nan")
