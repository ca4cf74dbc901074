"""Three opinions per class over a whole split: LayerCAM at the stem, Shapley values, and what is lost by removal."""

from collections.abc import Iterator
from itertools import combinations

import pandas as pd
import torch
from torch import Tensor

from labkit.attribution import branch_layercam, coalition_logits, nan_std, scored_shapley, share_of
from labkit.attribution.passes import full_size_logits, looking_into
from labkit.contribution.frames import Request, measured_means, noised_labels
from labkit.datasets import Batch, Split, frames_batch
from labkit.experiments import EVALUATION_BATCH, Experiment
from labkit.lnm import IGNORE_INDEX
from labkit.metrics import Scores, confusion_matrix, scores_from_confusion, spearman
from labkit.steps import noised_by_frame

OPINIONS = ("layercam", "shapley", "removal")
READINGS = ("true_label", "foreign_label", "zero_label", "blank_image")
EVERY = "all classes"


def split_opinions(experiment: Experiment, split: Split, *, frames: int, request: Request) -> pd.DataFrame:
    """Label share of every class by three methods on the same frames and noisings.

    Args:
        experiment: an assisted teacher, complete.
        frames: of the split, spread evenly; 0: all. Frames of void alone are left out.
        request: every noising is a pass over the frames.

    Returns:
        A row per class, and last "all classes". Shares in percent, blank where there is nothing to share:
        class; frames (that hold the class's region, first noising); absent (in no frame);
        layercam, shapley, removal (label share: by evidence summed over frames; by |Shapley value| summed over frames; by drops of
        IoU, mIoU in the last row, clipped at 0); layercam_std (over noisings, ddof 1); shapley_image, shapley_label (mean over
        frames, signed, in the unit of the score); iou_<reading> in percent; in the last row rank_<one>_<other>, Spearman's
        correlation of two opinions over classes, and rank_n, over how many.
    """
    names, network = experiment.info.class_names, experiment.network
    categories = range(len(names))
    means = measured_means(experiment, seed=request.seed) if request.layer == "folded" else None
    evidence = torch.zeros(2, request.noisings, len(names), dtype=torch.float64)  # image, label
    values, absolute = torch.zeros(2, len(names), dtype=torch.float64), torch.zeros(2, len(names), dtype=torch.float64)
    held, first_held = torch.zeros(len(names)), torch.zeros(len(names))
    counts = {reading: torch.zeros(len(names), len(names), dtype=torch.int64) for reading in READINGS}
    for batch in spread_batches(experiment, split, frames):
        for number, shown in enumerate(noised_labels(experiment, batch, request)):
            asked = {"category": categories, "target": batch.target, **request.what()}
            maps = branch_layercam(network, batch.images, shown, layer=request.layer, means=means, **asked)
            for branch, part in enumerate((maps.image, maps.label)):
                evidence[branch, number] += part.sum((2, 3)).nansum(0).cpu()
            logits = coalition_logits(network, batch.images, shown)
            for branch, part in enumerate(scored_shapley(logits, **asked)):
                values[branch] += part.nansum(0).cpu()
                absolute[branch] += part.abs().nansum(0).cpu()
            held += maps.present.sum(0).cpu()
            first_held += maps.present.sum(0).cpu() if number == 0 else 0
            foreign = foreign_logits(experiment, batch, seed=request.seed + number)
            answers = {"true_label": logits.both, "foreign_label": foreign, "zero_label": logits.image, "blank_image": logits.label}
            for reading, answer in answers.items():
                counts[reading] += _confusion(answer, batch.target)
    scores = {reading: scores_from_confusion(count) for reading, count in counts.items()}
    by_noising = 100 * share_of(evidence[1], evidence[0])  # (M, K)
    table = pd.DataFrame({
        "class": names, "frames": first_held.int(), "absent": held == 0,
        "layercam": 100 * share_of(*evidence.sum(1).flip(0)), "shapley": 100 * share_of(*absolute.flip(0)),
        "removal": removal_share(scores, "iou"), "layercam_std": nan_std(by_noising),
        "shapley_image": values[0] / held, "shapley_label": values[1] / held,
        **{f"iou_{reading}": score.iou for reading, score in scores.items()},
    })  # fmt: skip
    whole = {
        "class": EVERY, "frames": int(first_held.max()), "absent": False,
        "layercam": 100 * float(share_of(*evidence.sum((1, 2)).flip(0))), "shapley": 100 * float(share_of(*absolute.sum(1).flip(0))),
        "removal": removal_share(scores, "miou")[0],
        "layercam_std": float(nan_std(100 * share_of(*evidence.sum(2).flip(0)))),
        "shapley_image": float(values[0].sum() / held.sum()), "shapley_label": float(values[1].sum() / held.sum()),
        **{f"iou_{reading}": score.miou for reading, score in scores.items()}, **rank_correlations(table),
    }  # fmt: skip
    return pd.concat([table, pd.DataFrame([whole])], ignore_index=True)


def rank_correlations(table: pd.DataFrame) -> dict[str, float]:
    """Spearman's correlation of each pair of opinions over the classes that all three judge, and their number."""
    judged = table[list(OPINIONS)].dropna()
    ranks = {f"rank_{one}_{other}": spearman(torch.tensor(judged[one].values), torch.tensor(judged[other].values))
             for one, other in combinations(OPINIONS, 2)}  # fmt: skip
    return ranks | {"rank_n": len(judged)}


def removal_share(scores: dict[str, Scores], what: str) -> list[float]:
    """drop without label / (drop without label + drop without image), percent, drops clipped at 0; NaN where nothing drops."""
    found = {reading: torch.tensor(getattr(score, what), dtype=torch.float64).reshape(-1) for reading, score in scores.items()}
    without_label = (found["true_label"] - found["zero_label"]).clamp(min=0)
    without_image = (found["true_label"] - found["blank_image"]).clamp(min=0)
    return (100 * share_of(without_label, without_image)).tolist()


def spread_batches(experiment: Experiment, split: Split, frames: int) -> Iterator[Batch]:
    """So many frames of the split (0: all), spread evenly, on the device; those of void alone are left out."""
    count = min(frames, len(split)) or len(split)
    index = [(2 * i + 1) * len(split) // (2 * count) for i in range(count)]
    for start in range(0, count, EVALUATION_BATCH):
        batch = frames_batch(split, experiment.info, index[start : start + EVALUATION_BATCH])
        labelled = (batch.target != IGNORE_INDEX).flatten(1).any(1)
        if labelled.any():
            yield Batch(*(part[labelled] for part in batch)).to(experiment.device)


@torch.no_grad()
def foreign_logits(experiment: Experiment, batch: Batch, *, seed: int) -> Tensor:
    """Full-size logits (N, K, H, W) with the label of another frame, in float32 as everything here."""
    shown = noised_by_frame(experiment.noising, batch.foreign_target, batch.index, seed=seed)
    with looking_into(experiment.network, batch.images.device) as looked_at, torch.no_grad():
        return full_size_logits(looked_at, batch.images, shown)


def _confusion(logits: Tensor, target: Tensor) -> Tensor:
    return confusion_matrix(logits.argmax(1), target, num_classes=logits.shape[1]).cpu()
