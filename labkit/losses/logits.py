"""Distances between two maps of logits, as distillation uses them. Computed in log space and float32."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

Distance = Callable[..., Tensor]
LEAST_TEMPERATURE, GREATEST_TEMPERATURE = 1e-3, 1e3  # beyond them float32 has no use for logits


def channel_wise_distance(student_logits: Tensor, teacher_logits: Tensor, *, temperature: float, keep: Tensor | None = None) -> Tensor:
    """Channel-wise distillation: does each class put its mass in the same places?

    Args:
        student_logits: (N, K, h, w), unnormalised; receives the gradient.
        teacher_logits: (N, K, h, w), same stride; detached here.
        temperature: divides the logits, 0.001 to 1000.
        keep: (N, h, w) bool, positions that take part; None = all. An image without any gives 0.

    Returns:
        Scalar in nats: KL(teacher || student) over positions, averaged over the N*K maps, times temperature squared.

    Raises:
        ValueError: the shapes differ or hold nothing, or the temperature is out of range.

    Source: Shu et al. 2021, arXiv 2011.13256.  Differs: log-space instead of softmax().log().
    """
    student, teacher = _checked(student_logits, teacher_logits, temperature, keep)
    student, teacher = student.flatten(2), teacher.flatten(2)  # (N, K, h*w)
    if keep is not None:
        # exp(-1e9) is exactly 0, and two rows filled alike have no distance: no infinities to subtract.
        left_out = ~keep.flatten(1).unsqueeze(1)
        student, teacher = student.masked_fill(left_out, -1e9), teacher.masked_fill(left_out, -1e9)
    divergence = F.kl_div(student.log_softmax(2), teacher.log_softmax(2), reduction="sum", log_target=True)
    return temperature**2 * divergence / (student.shape[0] * student.shape[1])


def pixel_wise_kd(student_logits: Tensor, teacher_logits: Tensor, *, temperature: float, keep: Tensor | None = None) -> Tensor:
    """Hinton's distillation at every pixel: does each place prefer the same classes?

    Args:
        student_logits: (N, K, h, w), unnormalised; receives the gradient.
        teacher_logits: (N, K, h, w), same stride; detached here.
        temperature: divides the logits, 0.001 to 1000.
        keep: (N, h, w) bool, pixels that take part; None = all.

    Returns:
        Scalar in nats: KL(teacher || student) over classes, averaged over the pixels kept, times temperature squared.

    Raises:
        ValueError: the shapes differ or hold nothing, or the temperature is out of range.

    Source: Hinton et al. 2015, arXiv 1503.02531.
    """
    student, teacher = _checked(student_logits, teacher_logits, temperature, keep)
    divergence = F.kl_div(student.log_softmax(1), teacher.log_softmax(1), reduction="none", log_target=True).sum(1)
    if keep is None:
        return temperature**2 * divergence.mean()
    return temperature**2 * (divergence * keep).sum() / keep.sum().clamp(min=1)


DISTANCES: dict[str, Distance] = {"cwd": channel_wise_distance, "kd": pixel_wise_kd}


def dual_path_consistency(
    logits_a: Tensor, logits_b: Tensor, *, distance: Distance, temperature: float, keep: Tensor | None = None
) -> Tensor:
    """Two noisings of one label should give one answer: D(a, stop b) + D(b, stop a).

    Args:
        logits_a, logits_b: (N, K, h, w), unnormalised; both receive a gradient, each from its own term.
        distance: one of `DISTANCES`.
        temperature, keep: as the distance takes them.

    Returns:
        Scalar in nats, symmetric in a and b.

    Source: Label Assisted Distillation, arXiv 2407.13254.
    """
    forth = distance(logits_a, logits_b, temperature=temperature, keep=keep)
    return forth + distance(logits_b, logits_a, temperature=temperature, keep=keep)


def _checked(student_logits: Tensor, teacher_logits: Tensor, temperature: float, keep: Tensor | None) -> tuple[Tensor, Tensor]:
    """Both maps in float32 over the temperature, the teacher's without gradient."""
    if student_logits.shape != teacher_logits.shape or student_logits.ndim != 4:
        raise ValueError(
            f"distance: student logits {tuple(student_logits.shape)}, teacher logits {tuple(teacher_logits.shape)}; "
            "expected two equal (N, K, h, w). Bring both to one stride first."
        )
    if student_logits.numel() == 0:
        raise ValueError(f"distance: logits are {tuple(student_logits.shape)}; expected at least one frame, class and position.")
    if not LEAST_TEMPERATURE <= temperature <= GREATEST_TEMPERATURE:
        raise ValueError(f"distance: temperature is {temperature}; expected {LEAST_TEMPERATURE} to {GREATEST_TEMPERATURE}.")
    if keep is not None and (keep.dtype != torch.bool or keep.shape != (len(student_logits), *student_logits.shape[2:])):
        raise ValueError(f"distance: keep is {tuple(keep.shape)} {keep.dtype}; expected (N, h, w) bool at the logits' stride.")
    return student_logits.float() / temperature, teacher_logits.detach().float() / temperature
