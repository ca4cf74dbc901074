"""Maps of one class as the network's weights are randomised piece by piece, and as its label is permuted."""

from typing import NamedTuple

import pandas as pd
import torch
from torch import Tensor

from labkit.attribution import BranchMaps, branch_layercam, cascading_randomisation, permute_label
from labkit.contribution.frames import Request, altered, measured_means, noised_labels
from labkit.datasets import Batch
from labkit.experiments import Experiment
from labkit.metrics import spearman
from labkit.streams import stream_generator

FRACTIONS = (0.1, 0.25, 0.5, 1.0)  # of the label's pixels that change places


class SanityStep(NamedTuple):
    """Maps after one more thing was taken away, beside those of the untouched teacher."""

    kind: str  # weights or label
    name: str  # what was taken away last; "as trained" for the first
    image_map: Tensor  # (N, h, w), unscaled
    label_map: Tensor  # (N, h, w)
    image: float  # Spearman's correlation with the untouched map, mean over frames
    label: float


def sanity_steps(experiment: Experiment, batch: Batch, *, category: int, request: Request, seed: int) -> list[SanityStep]:
    """The maps of a class on some frames, step by step, each step keeping what the steps before it took away.

    Args:
        experiment: an assisted teacher, complete.
        batch: frames that hold the class.
        seed: of the random weights and permutations.

    The region is where the label holds the class, for a randomised network's prediction is random; with a permuted label it is
    still the true one.
    """
    batch = batch.to(experiment.device)
    (shown,) = noised_labels(experiment, batch, request, count=1)
    means = measured_means(experiment, seed=request.seed) if request.layer == "folded" else None
    asked = {"category": category, "region": "true", "target": batch.target, "score": request.score, "layer": request.layer}
    untouched = branch_layercam(experiment.network, batch.images, shown, means=means, **asked)
    steps = [_step("weights", "as trained", untouched, untouched)]
    generator = stream_generator("sanity weights", seed)
    for piece, network in cascading_randomisation(experiment.network, generator=generator):
        centred = measured_means(altered(experiment, network=network), seed=request.seed) if request.layer == "folded" else None
        maps = branch_layercam(network, batch.images, shown, means=centred, **asked)
        steps.append(_step("weights", piece, maps, untouched))
    steps.append(_step("label", "as it is", untouched, untouched))
    for fraction in FRACTIONS:
        permuted = permute_label(batch.target, fraction, generator=stream_generator("sanity label", seed))
        (changed,) = noised_labels(experiment, batch._replace(target=permuted), request, count=1)
        maps = branch_layercam(experiment.network, batch.images, changed, means=means, **asked)
        steps.append(_step("label", f"{fraction:.0%} permuted", maps, untouched))
    (foreign,) = noised_labels(experiment, batch._replace(target=batch.foreign_target), request, count=1)
    maps = branch_layercam(experiment.network, batch.images, foreign, means=means, **asked)
    return [*steps, _step("label", "foreign label", maps, untouched)]


def steps_by_kind(steps: list[SanityStep]) -> dict[str, list[tuple]]:
    """For the figure: per kind the name, both maps of the first frame and both correlations of every step."""
    kinds: dict[str, list[tuple]] = {}
    for step in steps:
        short = step.name.replace("encoder.model.", "encoder.")
        kinds.setdefault(step.kind, []).append((short, step.image_map[0], step.label_map[0], step.image, step.label))
    return kinds


def steps_table(steps: list[SanityStep]) -> pd.DataFrame:
    """Columns kind, step, image and label: Spearman's correlation with the untouched map."""
    return pd.DataFrame([{"kind": step.kind, "step": step.name, "image": step.image, "label": step.label} for step in steps])


def rank_by_frame(maps: Tensor, others: Tensor) -> float:
    """Spearman's correlation of maps (N, h, w) with others over positions, mean over the frames in which both vary."""
    found = torch.tensor([spearman(one.flatten(), other.flatten()) for one, other in zip(maps, others, strict=True)])
    return found.nanmean().item()


def _step(kind: str, name: str, maps: BranchMaps, untouched: BranchMaps) -> SanityStep:
    same = rank_by_frame(maps.image, untouched.image), rank_by_frame(maps.label, untouched.label)
    return SanityStep(kind, name, maps.image.cpu(), maps.label.cpu(), *same)
