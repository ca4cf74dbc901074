"""How good is a prediction? Everything is read off one confusion matrix over the whole set."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import max_pool2d
from torchmetrics.functional.classification import multiclass_confusion_matrix

from labkit.lnm import IGNORE_INDEX


@dataclass(frozen=True)
class Scores:
    """Scores in percent. `iou[k]` is NaN where class k is absent from both prediction and label."""

    iou: list[float]
    miou: float  # mean over present classes
    absent: list[int]  # class ids left out of the mean
    pixel_accuracy: float
    confusion: Tensor  # (K, K) int64, rows = label, columns = prediction


def confusion_matrix(prediction: Tensor, target: Tensor, *, num_classes: int, ignore_index: int = IGNORE_INDEX) -> Tensor:
    """Counts of labelled pixels.

    Args:
        prediction: (N, H, W) int64 class ids.
        target: (N, H, W) int64 class ids or ignore_index (void, not counted).

    Returns:
        (K, K) int64, rows = label, columns = prediction.

    Raises:
        ValueError: the shapes differ, or a labelled pixel holds an id outside the classes.
    """
    if prediction.shape != target.shape:
        raise ValueError(
            f"confusion_matrix: prediction {tuple(prediction.shape)} and target {tuple(target.shape)} differ; "
            "predict at the label's own size."
        )
    labelled = target != ignore_index
    prediction, target = prediction[labelled], target[labelled]
    for name, ids in (("prediction", prediction), ("target", target)):
        outside = ids[(ids < 0) | (ids >= num_classes)]
        if len(outside):
            raise ValueError(
                f"confusion_matrix: {name} holds ids {outside.unique().tolist()[:8]} at labelled pixels; expected 0..{num_classes - 1}."
            )
    if len(target) == 0:
        return torch.zeros(num_classes, num_classes, dtype=torch.int64, device=target.device)
    return multiclass_confusion_matrix(prediction, target, num_classes)


def scores_from_confusion(confusion: Tensor) -> Scores:
    """IoU per class, mIoU over the classes that occur, pixel accuracy; all in percent.

    Args:
        confusion: (K, K) counts, rows = label, columns = prediction, summed over the set.

    Returns:
        Scores; miou and pixel_accuracy are NaN where no pixel was counted.
    """
    counts = confusion.double().cpu()
    hit = counts.diagonal()
    union = counts.sum(0) + counts.sum(1) - hit
    iou = 100 * hit / union  # 0/0 = NaN marks an absent class
    return Scores(
        iou=iou.tolist(),
        miou=iou.nanmean().item(),
        absent=(union == 0).nonzero().flatten().tolist(),
        pixel_accuracy=(100 * hit.sum() / counts.sum()).item(),
        confusion=confusion.cpu(),
    )


def boundary_mask(target: Tensor, *, width: int, ignore_index: int = IGNORE_INDEX) -> Tensor:
    """Pixels with another class in their neighbourhood. Void is no class: it neither has a boundary nor makes one.

    Args:
        target: (N, H, W) int64 class ids or ignore_index.
        width: the neighbourhood is (2 width + 1)^2 pixels, cut at the image's edge; >= 1.

    Returns:
        (N, H, W) bool.

    Raises:
        ValueError: width < 1.
    """
    if width < 1:
        raise ValueError(f"boundary_mask: got width {width}; expected at least 1 pixel.")
    void = target == ignore_index
    ids, window = target.float(), {"kernel_size": 2 * width + 1, "stride": 1, "padding": width}
    highest = max_pool2d(ids.masked_fill(void, -torch.inf)[:, None], **window)[:, 0]
    lowest = -max_pool2d(-ids.masked_fill(void, torch.inf)[:, None], **window)[:, 0]
    return ((highest != ids) | (lowest != ids)) & ~void


def spearman(one: Tensor, other: Tensor) -> float:
    """Spearman's rank correlation of two vectors of equal length; NaN where either does not vary or holds NaN.

    Ties share their mean rank.
    """
    if one.shape != other.shape or one.ndim != 1:
        raise ValueError(f"spearman: got shapes {tuple(one.shape)} and {tuple(other.shape)}; expected two vectors of one length.")
    if one.isnan().any() or other.isnan().any():
        return float("nan")
    ranks = [_mean_ranks(values) for values in (one, other)]
    first, second = (rank - rank.mean() for rank in ranks)
    length = first.norm() * second.norm()
    return (first @ second / length).item() if length > 0 else float("nan")


def _mean_ranks(values: Tensor) -> Tensor:
    """Ranks from 1 in float64, ties at their mean."""
    _, place, count = values.unique(return_inverse=True, return_counts=True)
    last = count.cumsum(0).double()
    return (last - (count - 1) / 2)[place]
