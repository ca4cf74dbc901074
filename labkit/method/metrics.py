"""Scores of predictions: counts per frame and class, IoU from their sums, boundary masks."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import max_pool2d

from labkit.method.noising import IGNORE_INDEX


class Counts(NamedTuple):
    """Pixels per class, (..., K) int64, over labelled pixels only. Add them up to score a set."""

    hits: Tensor  # predicted and labelled as the class
    labelled: Tensor  # labelled as the class
    predicted: Tensor  # predicted as the class


class Scores(NamedTuple):
    """Scores in percent. `iou[k]` is NaN where class k is absent from prediction and label."""

    iou: list[float]
    miou: float  # mean over present classes
    absent: list[int]  # class ids left out of the mean
    pixel_accuracy: float


def count_pixels(
    prediction: Tensor,
    target: Tensor,
    *,
    num_classes: int,
    where: Tensor | None = None,
    ignore_index: int = IGNORE_INDEX,
) -> Counts:
    """Pixels per frame and class: hit, labelled, predicted. Void pixels are not counted.

    Args:
        prediction: (N, H, W) int64 class ids; ids at void pixels do not matter.
        target: (N, H, W) int64 class ids or ignore_index.
        where: (N, H, W) bool, the only pixels that count; None = all.

    Returns:
        Counts of (N, K) on the target's device.

    Raises:
        ValueError: the shapes differ; on the CPU also: a counted pixel holds an id outside 0..K-1.
    """
    if prediction.shape != target.shape or target.ndim != 3:
        raise ValueError(
            f"count_pixels: prediction {tuple(prediction.shape)} and target {tuple(target.shape)}; "
            "expected two equal (N, H, W). Predict at the label's own size."
        )
    counted = target != ignore_index
    if where is not None:
        counted = counted & where
    if target.device.type == "cpu":
        _check_ids("prediction", prediction, counted, num_classes)
        _check_ids("target", target, counted, num_classes)
    return Counts(
        hits=_histogram(target, counted & (prediction == target), num_classes),
        labelled=_histogram(target, counted, num_classes),
        predicted=_histogram(prediction, counted, num_classes),
    )


def scores_from_counts(counts: Counts) -> Scores:
    """IoU per class, mIoU over the classes that occur, pixel accuracy; all in percent.

    Args:
        counts: (K,) each, summed over the set.

    Returns:
        Scores; miou and pixel_accuracy are NaN where no pixel was counted.
    """
    hits, labelled, predicted = (values.double().cpu() for values in counts)
    union = labelled + predicted - hits
    iou = 100 * hits / union  # 0/0 = NaN marks an absent class
    return Scores(
        iou=iou.tolist(),
        miou=iou.nanmean().item(),
        absent=(union == 0).nonzero().flatten().tolist(),
        pixel_accuracy=(100 * hits.sum() / labelled.sum()).item(),
    )


def boundary_mask(target: Tensor, *, width: int, ignore_index: int = IGNORE_INDEX) -> Tensor:
    """Pixels with another class in their neighbourhood. Void neither has nor makes a boundary.

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


def _histogram(ids: Tensor, counted: Tensor, num_classes: int) -> Tensor:
    """(N, K) int64 counts of the ids at counted pixels."""
    index = ids.masked_fill(~counted, num_classes).flatten(1)
    counts = torch.zeros(len(ids), num_classes + 1, dtype=torch.int64, device=ids.device)
    return counts.scatter_add_(1, index, torch.ones_like(index))[:, :num_classes]


def _check_ids(name: str, ids: Tensor, counted: Tensor, num_classes: int) -> None:
    outside = counted & ((ids < 0) | (ids >= num_classes))
    if outside.any():
        raise ValueError(
            f"count_pixels: {name} holds ids {ids[outside].unique().tolist()[:8]} at labelled "
            f"pixels; expected 0..{num_classes - 1}."
        )
