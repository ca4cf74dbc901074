"""Three estimates of the label share per class over a split: LayerCAM at the stem, Shapley values,
and removal of an input.
"""

from collections.abc import Mapping
from itertools import combinations

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor

from labkit.attribution.common import (
    eval_float32,
    full_size_logits,
    rank_correlation,
    share_of,
)
from labkit.attribution.layercam import BranchMeans, branch_layercam
from labkit.attribution.noisings import nan_std
from labkit.attribution.request import (
    Request,
    labelled_batches,
    measured_means,
    noise_label,
    noised_labels,
    spread_index,
)
from labkit.attribution.shapley import coalition_logits, scored_shapley
from labkit.datasets import ScoringBatch, Split
from labkit.method import Counts, Scores, count_pixels, scores_from_counts
from labkit.training.experiment import Experiment

ESTIMATES = ("layercam", "shapley", "removal")
READINGS = ("true_label", "foreign_label", "zero_label", "blank_image")
ALL_CLASSES = "all classes"


def label_share_estimates(
    experiment: Experiment, split: Split, *, frames: int, request: Request
) -> pd.DataFrame:
    """Label share of every class by three methods on the same frames and noisings.

    Args:
        experiment: an assisted teacher, complete.
        frames: of the split, spread evenly; 0: all. Frames whose label is all void are left out.
        request: every noising is a pass over the frames.

    Returns:
        A row per class, and last "all classes". Shares in percent, NaN where there is nothing to
        share: class; frames (that hold the class's region under the first noising; in the last row
        all frames that were read); absent (in no frame); layercam, shapley, removal (label share:
        by evidence summed over frames; by |Shapley value| summed over frames; by drops of IoU, mIoU
        in the last row, clipped at 0); layercam_std (over noisings, ddof 1); shapley_image,
        shapley_label (mean over frames, signed, in the unit of the score); iou_<reading> in percent
        at the label's size; in the last row rank_<one>_<other>, Spearman's correlation of two
        estimates over classes, and rank_n, over how many.
    """
    names = experiment.info.class_names
    means = measured_means(experiment, request)
    sums = _Sums(len(names), request.noisings)
    for batch in labelled_batches(experiment, split, spread_index(frames, len(split))):
        sums.frames += len(batch.images)
        for number, channel in enumerate(noised_labels(experiment, batch, request)):
            _add(sums, experiment, batch, channel, means, request, number)
    return _table(sums, names)


class _Sums:
    """Running sums over frames, (K,) by class unless stated."""

    def __init__(self, num_classes: int, noisings: int) -> None:
        zeros = {"dtype": torch.float64}
        self.evidence = torch.zeros(2, noisings, num_classes, **zeros)  # image, label
        self.values = torch.zeros(2, num_classes, **zeros)  # Shapley values of image, label
        self.absolute = torch.zeros(2, num_classes, **zeros)
        self.present = torch.zeros(num_classes)  # frames and noisings with a region
        self.present_first = torch.zeros(num_classes)  # frames with a region, first noising
        self.counts = {name: torch.zeros(3, num_classes, dtype=torch.int64) for name in READINGS}
        self.readings: set[str] = set()
        self.frames = 0

    def scores(self) -> dict[str, Scores]:
        """IoU and mIoU of every reading; those of one-frame splits have no foreign label."""
        return {name: scores_from_counts(Counts(*self.counts[name])) for name in self.readings}


def _add(
    sums: _Sums,
    experiment: Experiment,
    batch: ScoringBatch,
    channel: Tensor,
    means: BranchMeans | None,
    request: Request,
    number: int,
) -> None:
    """Add a batch under one noising, the label channel of this number."""
    network = experiment.network
    categories = range(experiment.info.num_classes)
    options = {"category": categories, "target": batch.label, **request.options()}
    maps = branch_layercam(
        network, batch.images, channel, layer=request.layer, means=means, **options
    )
    for branch, part in enumerate((maps.image, maps.label)):
        sums.evidence[branch, number] += part.sum((2, 3)).nansum(0).cpu()
    logits = coalition_logits(network, batch.images, channel)
    for branch, part in enumerate(scored_shapley(logits, **options)):
        sums.values[branch] += part.nansum(0).cpu()
        sums.absolute[branch] += part.abs().nansum(0).cpu()
    sums.present += maps.present.sum(0).cpu()
    if number == 0:
        sums.present_first += maps.present.sum(0).cpu()
    answers = {"true_label": logits.both, "zero_label": logits.image, "blank_image": logits.label}
    if batch.foreign_label is not None:
        answers["foreign_label"] = foreign_logits(experiment, batch, seed=request.seed + number)
    for reading, answer in answers.items():
        sums.counts[reading] += _count(answer, batch.target)
        sums.readings.add(reading)


def foreign_logits(experiment: Experiment, batch: ScoringBatch, *, seed: int) -> Tensor:
    """Logits (N, K, h, w) at the images' size with the label of another frame, in float32."""
    channel = noise_label(experiment, batch.foreign_label, batch, seed=seed)
    with eval_float32(experiment.network, batch.images.device) as network, torch.no_grad():
        return full_size_logits(network, batch.images, channel)


def removal_share(scores: Mapping[str, Scores], what: str) -> np.ndarray:
    """drop without label / (drop without label + drop without image), percent, drops clipped at 0;
    NaN where nothing drops.

    Args:
        scores: of the readings true_label, zero_label and blank_image.
        what: "iou" or "miou".
    """
    values = {
        name: torch.as_tensor(getattr(score, what), dtype=torch.float64).reshape(-1)
        for name, score in scores.items()
    }
    without_label = (values["true_label"] - values["zero_label"]).clamp(min=0)
    without_image = (values["true_label"] - values["blank_image"]).clamp(min=0)
    return (100 * share_of(without_label, without_image)).numpy()


def rank_correlations(table: pd.DataFrame) -> dict[str, float]:
    """Spearman's correlation of each pair of estimates over the classes that have all three, and
    their number.
    """
    complete = table[list(ESTIMATES)].dropna()
    ranks = {
        f"rank_{one}_{other}": rank_correlation(
            complete[one].to_numpy(), complete[other].to_numpy()
        )
        for one, other in combinations(ESTIMATES, 2)
    }
    return ranks | {"rank_n": len(complete)}


def _table(sums: _Sums, names: tuple[str, ...]) -> pd.DataFrame:
    scores = sums.scores()
    image, label = sums.evidence  # (M, K) each
    classes = pd.DataFrame({
        "class": names, "frames": sums.present_first.int(), "absent": sums.present == 0,
        "layercam": 100 * share_of(label.sum(0), image.sum(0)),
        "shapley": 100 * share_of(sums.absolute[1], sums.absolute[0]),
        "removal": removal_share(scores, "iou"),
        "layercam_std": nan_std(100 * share_of(label, image)),
        "shapley_image": sums.values[0] / sums.present,
        "shapley_label": sums.values[1] / sums.present,
        **{f"iou_{reading}": _percent(scores, reading, "iou", len(names)) for reading in READINGS},
    })  # fmt: skip
    total = sums.present.sum()
    whole = {
        "class": ALL_CLASSES, "frames": sums.frames, "absent": False,
        "layercam": 100 * float(share_of(label.sum(), image.sum())),
        "shapley": 100 * float(share_of(*sums.absolute.sum(1).flip(0))),
        "removal": float(removal_share(scores, "miou")[0]),
        "layercam_std": float(nan_std(100 * share_of(label.sum(1), image.sum(1)))),
        "shapley_image": float(sums.values[0].sum() / total),
        "shapley_label": float(sums.values[1].sum() / total),
        **{f"iou_{reading}": _percent(scores, reading, "miou", 1)[0] for reading in READINGS},
        **rank_correlations(classes),
    }  # fmt: skip
    return pd.concat([classes, pd.DataFrame([whole])], ignore_index=True)


def _percent(scores: Mapping[str, Scores], reading: str, what: str, size: int) -> np.ndarray:
    """A score as (size,) float64; NaN where the reading does not exist."""
    if reading not in scores:
        return np.full(size, np.nan)
    return np.asarray(getattr(scores[reading], what), dtype=np.float64).reshape(-1)


def _count(logits: Tensor, target: Tensor) -> Tensor:
    """(3, K) int64: hits, labelled and predicted pixels at the label's size, over the batch."""
    if logits.shape[2:] != target.shape[1:]:
        logits = F.interpolate(logits, target.shape[1:], mode="bilinear", align_corners=False)
    counts = count_pixels(logits.argmax(1), target, num_classes=logits.shape[1])
    return torch.stack([part.sum(0) for part in counts]).cpu()
