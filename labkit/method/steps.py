"""The paper in two functions: one batch of teacher training, one batch of distillation."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from labkit.method.distances import Distance, dual_path_consistency
from labkit.method.losses import cross_entropy
from labkit.method.noising import LabelNoising
from labkit.method.outputs import (
    Outputs,
    class_planes,
    common_grid,
    labelled_positions,
    split_outputs,
)


class StepOutput(NamedTuple):
    """A step's loss and its weighted terms by name; the terms sum to the loss."""

    loss: Tensor
    terms: dict[str, Tensor]


def teacher_step(
    teacher: nn.Module,
    images: Tensor,
    target: Tensor,
    noising: LabelNoising,
    *,
    generator: torch.Generator,
    consistency_weight: float,
    distance: Distance,
    temperature: float,
    distance_stride: int = 4,
    void_in_distance: bool = True,
    segmentation_loss: Callable[..., Tensor] = cross_entropy,
    separate_paths: bool = False,
) -> StepOutput:
    """Dual-path consistency: two noisings of one batch are both supervised and kept consistent.

    Args:
        teacher: reads image and label channel, returns Outputs, has `auxiliary_terms`.
        images: (N, 3, H, W).
        target: (N, H, W) int64, 255 = void.
        noising: the label noising module; called twice.
        generator: on the batch's device; both noisings are drawn from it.
        consistency_weight: of D(a, stop_gradient(b)) + D(b, stop_gradient(a)); 0: no such term.
        distance, temperature: D, and what divides its logits.
        distance_stride: logits finer than this are average-pooled to it, pixels.
        void_in_distance: False leaves void positions out of D.
        segmentation_loss: (logits, target, *, stride) -> scalar; of the auxiliary heads, too.
        separate_paths: two forward passes, as in the official code; BatchNorm then sees the paths
            one after the other.

    Returns:
        Terms ce_a, ce_b, the auxiliary terms of each path (name_a, name_b) and consistency.

    Source: arXiv 2407.13254.
    Differs: by default both paths go through the network as one batch and share BatchNorm
    statistics.
    """
    inputs = [assisted_input(images, noising(target, generator=generator)) for _ in range(2)]
    if separate_paths:
        paths = [class_planes(teacher(one_path)) for one_path in inputs]
    else:
        paths = split_outputs(class_planes(teacher(torch.cat(inputs))), 2)
    terms = {}
    for path, outputs in zip("ab", paths, strict=True):
        supervised = _supervised_terms(teacher, outputs, target, segmentation_loss)
        terms |= {f"{name}_{path}": term for name, term in supervised.items()}
    if consistency_weight:
        a, b, stride = common_grid(*paths, stride=distance_stride)
        keep = None if void_in_distance else labelled_positions(target, stride, a.shape[2:])
        consistency = dual_path_consistency(
            a, b, distance=distance, temperature=temperature, keep=keep
        )
        terms["consistency"] = consistency_weight * consistency
    return StepOutput(sum(terms.values()), terms)


def student_step(
    student: nn.Module,
    teacher: nn.Module | None,
    images: Tensor,
    target: Tensor,
    noising: LabelNoising | None,
    distiller: nn.Module | None,
    *,
    generator: torch.Generator,
    segmentation_loss: Callable[..., Tensor] = cross_entropy,
) -> StepOutput:
    """Distillation: the student reads the image alone, its teacher may also read the noised label.

    Args:
        student: reads the image alone, returns Outputs, has `auxiliary_terms`.
        teacher: frozen and in eval mode; None = the network learns alone (plain teachers too).
        images: (N, 3, H, W).
        target: (N, H, W) int64, 255 = void.
        noising: noises the label that an assisted teacher reads; None for a plain teacher.
        distiller: (student Outputs, teacher Outputs, target) -> weighted terms by name; None
            where there is no teacher.
        generator: on the batch's device; the noising is drawn from it.
        segmentation_loss: (logits, target, *, stride) -> scalar; of the auxiliary heads, too.

    Returns:
        Terms ce, the student's auxiliary terms, and the distiller's.

    Source: arXiv 2407.13254.
    """
    outputs = class_planes(student(images))
    terms = _supervised_terms(student, outputs, target, segmentation_loss)
    if teacher is not None:
        with torch.no_grad():
            inputs = images
            if noising is not None:
                inputs = assisted_input(images, noising(target, generator=generator))
            teacher_outputs = class_planes(teacher(inputs))
        terms |= distiller(outputs, teacher_outputs, target)
    return StepOutput(sum(terms.values()), terms)


def assisted_input(images: Tensor, label_channel: Tensor) -> Tensor:
    """Image and label channel side by side: (N, 3, H, W) + (N, C, H, W) -> (N, 3 + C, H, W)."""
    return torch.cat([images, label_channel.to(images.dtype)], dim=1)


def _supervised_terms(
    network: nn.Module, outputs: Outputs, target: Tensor, segmentation_loss: Callable[..., Tensor]
) -> dict[str, Tensor]:
    """Cross-entropy of the logits and the network's own auxiliary terms."""
    loss = segmentation_loss(outputs.logits, target, stride=outputs.stride)
    return {"ce": loss} | network.auxiliary_terms(outputs, target, segmentation_loss)
