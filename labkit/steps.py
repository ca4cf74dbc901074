"""The paper in two functions: one batch of teacher training, one of distillation. And the predictors that judge them."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from labkit.datasets import Batch
from labkit.lnm import IGNORE_INDEX, LabelNoising
from labkit.losses import cross_entropy, dual_path_consistency
from labkit.losses.logits import Distance
from labkit.models import SegmentationNetwork
from labkit.streams import stream_generator


class StepOutput(NamedTuple):
    """A step's loss and its weighted terms by name; the terms sum to the loss."""

    loss: Tensor
    terms: dict[str, Tensor]


def teacher_step(
    teacher: SegmentationNetwork,
    batch: Batch,
    noising: LabelNoising,
    *,
    generator: torch.Generator,
    consistency_weight: float,
    distance: Distance,
    temperature: float,
    distance_stride: int = 4,
    void_in_distance: bool = True,
) -> StepOutput:
    """Dual-path consistency: two noisings of one batch should both be right, and agree.

    Args:
        teacher: reads image and label channel.
        batch: images (N, 3, H, W), target (N, H, W).
        noising: the label noising module; called twice.
        generator: on the batch's device; both noisings are drawn from it.
        consistency_weight: of D(a, stop b) + D(b, stop a).
        distance, temperature: D, and what divides its logits.
        distance_stride: logits finer than this are average-pooled to it, pixels.
        void_in_distance: False leaves void positions out of D.

    Returns:
        Terms ce_a, ce_b and consistency.

    Source: arXiv 2407.13254.  Differs: both paths go through the network as one batch, so they share BatchNorm statistics.
    """
    noised = [noising(batch.target, generator=generator) for _ in range(2)]
    inputs = torch.cat([assisted_input(batch.images, channel) for channel in noised])  # (2N, 3 + C, H, W)
    logits_a, logits_b = teacher(inputs).chunk(2)
    terms = {
        "ce_a": _cross_entropy(teacher, logits_a, batch.target),
        "ce_b": _cross_entropy(teacher, logits_b, batch.target),
    }
    if consistency_weight:
        a, b = (_at_stride(logits, teacher.output_stride, distance_stride) for logits in (logits_a, logits_b))
        keep = None if void_in_distance else _labelled(batch.target, a)
        consistency = dual_path_consistency(a, b, distance=distance, temperature=temperature, keep=keep)
        terms["consistency"] = consistency_weight * consistency
    return StepOutput(sum(terms.values()), terms)


def student_step(
    student: SegmentationNetwork,
    teacher: SegmentationNetwork | None,
    batch: Batch,
    noising: LabelNoising | None,
    *,
    generator: torch.Generator,
    distillation_weight: float,
    distance: Distance,
    temperature: float,
    distance_stride: int = 1,
    void_in_distance: bool = True,
) -> StepOutput:
    """Distillation: the student sees the image alone, its frozen teacher may see the noised label too.

    Args:
        student: reads the image alone.
        teacher: frozen and in eval mode; None = the student learns alone (a plain teacher trains this way too).
        batch: images (N, 3, H, W), target (N, H, W).
        noising: what an assisted teacher is shown; None for a plain teacher.
        generator: on the batch's device; the noising is drawn from it.
        distillation_weight: of D(student, teacher).
        distance, temperature, distance_stride, void_in_distance: as in `teacher_step`.

    Returns:
        Terms ce, and distillation where there is a teacher.

    Source: arXiv 2407.13254.
    """
    logits = student(batch.images)
    terms = {"ce": _cross_entropy(student, logits, batch.target)}
    if teacher is not None:
        with torch.no_grad():
            answer = teacher(_teacher_input(teacher, batch, noising, generator))
        stride = max(distance_stride, student.output_stride, teacher.output_stride)
        mine = _at_stride(logits, student.output_stride, stride)
        taught = _at_stride(answer, teacher.output_stride, stride)
        keep = None if void_in_distance else _labelled(batch.target, mine)
        terms["distillation"] = distillation_weight * distance(mine, taught, temperature=temperature, keep=keep)
    return StepOutput(sum(terms.values()), terms)


def assisted_input(images: Tensor, label_channel: Tensor) -> Tensor:
    """Image and label channel side by side: (N, 3, H, W) + (N, C, H, W) -> (N, 3 + C, H, W)."""
    return torch.cat([images, label_channel], dim=1)


def predict_from_image(network: SegmentationNetwork, batch: Batch) -> Tensor:
    """Full-size logits (N, K, H, W) of a network that reads the image alone."""
    return network.to_full_size(network(batch.images), batch.images.shape[2:])


def predict_with_label(teacher: SegmentationNetwork, batch: Batch, noising: LabelNoising, *, seed: int) -> Tensor:
    """Full-size logits (N, K, H, W) of an assisted teacher shown the true label; noise is a function of (seed, frame)."""
    return _predict_assisted(teacher, batch, noised_by_frame(noising, batch.target, batch.index, seed=seed))


def predict_with_foreign_label(teacher: SegmentationNetwork, batch: Batch, noising: LabelNoising, *, seed: int) -> Tensor:
    """The same with the label of another frame: what the teacher says when its label is well formed but wrong."""
    return _predict_assisted(teacher, batch, noised_by_frame(noising, batch.foreign_target, batch.index, seed=seed))


def predict_with_zero_label(teacher: SegmentationNetwork, batch: Batch) -> Tensor:
    """The same with an empty label channel."""
    return _predict_assisted(teacher, batch, batch.images.new_zeros(zero_label_shape(teacher, batch)))


def noised_by_frame(noising: LabelNoising, target: Tensor, index: Tensor, *, seed: int) -> Tensor:
    """Label channels (N, C, H, W) whose noise belongs to each frame, however the frames are batched."""
    streams = [stream_generator("evaluation noise", seed, int(i), device=target.device) for i in index]
    return torch.cat([noising(one[None], generator=stream) for one, stream in zip(target, streams, strict=True)])


def zero_label_shape(teacher: SegmentationNetwork, batch: Batch) -> tuple[int, int, int, int]:
    """(N, C, H, W) of the label channel this teacher reads."""
    return len(batch.images), teacher.label_channels, *batch.images.shape[2:]


def _predict_assisted(teacher: SegmentationNetwork, batch: Batch, label_channel: Tensor) -> Tensor:
    return teacher.to_full_size(teacher(assisted_input(batch.images, label_channel)), batch.images.shape[2:])


def _teacher_input(teacher: SegmentationNetwork, batch: Batch, noising: LabelNoising | None, generator: torch.Generator) -> Tensor:
    if teacher.label_channels == 0:
        return batch.images
    return assisted_input(batch.images, noising(batch.target, generator=generator))


def _cross_entropy(network: SegmentationNetwork, logits: Tensor, target: Tensor) -> Tensor:
    return cross_entropy(network.to_full_size(logits, target.shape[1:]), target)


def _at_stride(logits: Tensor, stride: int, wanted: int) -> Tensor:
    """Average-pool logits (N, K, h, w) from one stride to a coarser one, in float32."""
    if wanted > stride and wanted % stride:
        raise ValueError(f"distance_stride: {wanted} is no multiple of the logits' stride {stride}; choose one that is.")
    return F.avg_pool2d(logits.float(), wanted // stride, ceil_mode=True) if wanted > stride else logits.float()


def _labelled(target: Tensor, logits: Tensor) -> Tensor:
    """(N, h, w) bool: logit positions whose nearest label pixel is not void."""
    labelled = (target != IGNORE_INDEX)[:, None].float()
    return F.interpolate(labelled, logits.shape[2:], mode="nearest")[:, 0] > 0
