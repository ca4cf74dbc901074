"""Distances between two maps of logits, for consistency and distillation.

Computed in log space, in nats and at least float32, in groups of frames.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from labkit.method.frames import sum_over_frames
from labkit.method.outputs import at_least_float32

Distance = Callable[..., Tensor]
LEAST_TEMPERATURE, GREATEST_TEMPERATURE = 1e-3, 1e3  # float32 has no use for logits beyond them


def channel_wise_distance(
    student_logits: Tensor,
    teacher_logits: Tensor,
    *,
    temperature: float,
    keep: Tensor | None = None,
) -> Tensor:
    """Channel-wise distillation: does each class put its mass in the same places?

    Args:
        student_logits: (N, K, h, w), unnormalised; receives the gradient.
        teacher_logits: (N, K, h, w), same stride; detached here.
        temperature: divides the logits, 0.001 to 1000.
        keep: (N, h, w) bool, positions that take part; None = all. An image without any gives 0.

    Returns:
        Scalar: KL(teacher || student) over positions, averaged over the N*K maps, times
        temperature squared.

    Raises:
        ValueError: the shapes differ or hold nothing, or the temperature is out of range.

    Source: Shu et al. 2021, arXiv 2011.13256.  Differs: log-space instead of softmax().log().
    """
    _check_pair(student_logits, teacher_logits, temperature, keep)
    total = _divergence(student_logits, teacher_logits, keep, temperature, over_positions=True)
    return temperature**2 * total / (student_logits.shape[0] * student_logits.shape[1])


def pixel_wise_kd(
    student_logits: Tensor,
    teacher_logits: Tensor,
    *,
    temperature: float,
    keep: Tensor | None = None,
) -> Tensor:
    """Hinton's distillation at every pixel: does each pixel prefer the same classes?

    Args:
        student_logits: (N, K, h, w), unnormalised; receives the gradient.
        teacher_logits: (N, K, h, w), same stride; detached here.
        temperature: divides the logits, 0.001 to 1000.
        keep: (N, h, w) bool, pixels that take part; None = all. Without any the value is 0.

    Returns:
        Scalar: KL(teacher || student) over classes, averaged over the pixels kept, times
        temperature squared.

    Raises:
        ValueError: the shapes differ or hold nothing, or the temperature is out of range.

    Source: Hinton et al. 2015, arXiv 1503.02531.
    """
    _check_pair(student_logits, teacher_logits, temperature, keep)
    total = _divergence(student_logits, teacher_logits, keep, temperature, over_positions=False)
    if keep is None:
        return temperature**2 * total / student_logits[:, 0].numel()
    return temperature**2 * total / keep.sum().clamp(min=1)


DISTANCES: dict[str, Distance] = {"cwd": channel_wise_distance, "kd": pixel_wise_kd}


def dual_path_consistency(
    logits_a: Tensor,
    logits_b: Tensor,
    *,
    distance: Distance,
    temperature: float,
    keep: Tensor | None = None,
) -> Tensor:
    """Consistency of the predictions under two noisings: D(a, stop b) + D(b, stop a).

    Args:
        logits_a, logits_b: (N, K, h, w); both receive a gradient, each from its own term.
        distance: one of `DISTANCES`.
        temperature, keep: as the distance takes them.

    Returns:
        Scalar, symmetric in a and b.

    Source: Label Assisted Distillation, arXiv 2407.13254.
    """
    forth = distance(logits_a, logits_b, temperature=temperature, keep=keep)
    return forth + distance(logits_b, logits_a, temperature=temperature, keep=keep)


def _divergence(
    student: Tensor,
    teacher: Tensor,
    keep: Tensor | None,
    temperature: float,
    *,
    over_positions: bool,
) -> Tensor:
    """KL(teacher || student) of softmaxes over positions or over classes, summed over the rest."""
    options = {"temperature": temperature, "over_positions": over_positions}
    others = (teacher.detach(), keep)
    return sum_over_frames(_divergence_sum, student, others, options, elements=student[:1].numel())


def _divergence_sum(
    student: Tensor,
    teacher: Tensor,
    keep: Tensor | None,
    *,
    temperature: float,
    over_positions: bool,
    with_gradient: bool,
) -> tuple[Tensor, Tensor | None]:
    log_student, log_teacher = (
        _log_softmax(logits, keep, temperature, over_positions) for logits in (student, teacher)
    )
    probability = log_teacher.exp()
    value = log_teacher.sub_(log_student).mul_(probability).sum()
    if not with_gradient:
        return value, None
    gradient = log_student.exp_().sub_(probability).div_(temperature)
    return value, gradient.view(student.shape).to(student.dtype)


def _log_softmax(
    logits: Tensor, keep: Tensor | None, temperature: float, over_positions: bool
) -> Tensor:
    """(N, K, h*w) logarithm of the softmax over positions or over classes."""
    logits = at_least_float32(logits).flatten(2) / temperature
    if keep is not None:
        # Over positions exp(-1e9) is exactly 0; over classes equal logits have no divergence.
        left_out = ~keep.flatten(1).unsqueeze(1)
        logits = logits.masked_fill_(left_out, -1e9 if over_positions else 0.0)
    return logits.log_softmax(2 if over_positions else 1)


def _check_pair(student: Tensor, teacher: Tensor, temperature: float, keep: Tensor | None) -> None:
    if student.shape != teacher.shape or student.ndim != 4:
        raise ValueError(
            f"distance: student logits {tuple(student.shape)}, teacher logits "
            f"{tuple(teacher.shape)}; expected two equal (N, K, h, w). "
            "Bring both to one grid first."
        )
    if student.numel() == 0:
        raise ValueError(
            f"distance: logits are {tuple(student.shape)}; "
            "expected at least one frame, class and position."
        )
    if not LEAST_TEMPERATURE <= temperature <= GREATEST_TEMPERATURE:
        raise ValueError(
            f"distance: temperature is {temperature}; "
            f"expected {LEAST_TEMPERATURE} to {GREATEST_TEMPERATURE}."
        )
    positions = (len(student), *student.shape[2:])
    if keep is not None and (keep.dtype != torch.bool or keep.shape != positions):
        raise ValueError(
            f"distance: keep is {tuple(keep.shape)} {keep.dtype}; "
            f"expected {positions} bool at the logits' stride."
        )
