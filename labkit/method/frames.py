"""Sums over a batch in groups of frames, so that large maps exist for one group only."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

GROUP_ELEMENTS = 2**25  # elements of a group's largest map: 128 MiB of float32


def sum_over_frames(
    function: Callable[..., tuple[Tensor, Tensor | None]],
    logits: Tensor,
    others: tuple[Tensor | None, ...],
    options: Mapping[str, Any],
    *,
    elements: int,
) -> Tensor:
    """Sum of a function's values over groups of frames; the gradient reaches the logits alone.

    Args:
        function: (logits, *others, **options, with_gradient) of a group -> its value and, where
            with_gradient is True, the value's gradient for the logits.
        logits: (N, ...).
        others: tensors of N frames each, or None.
        elements: of the largest map of one frame; a group holds `GROUP_ELEMENTS`, or one frame.

    Returns:
        Scalar. Second derivatives are not available; nothing is computed twice.
    """
    return _SumOverFrames.apply(logits, function, frames_per_group(elements), others, options)


def frames_per_group(elements: int) -> int:
    """Frames in a group, if one frame's largest map has that many elements."""
    return max(1, GROUP_ELEMENTS // max(1, elements))


class _SumOverFrames(torch.autograd.Function):
    @staticmethod
    def forward(ctx, logits, function, frames, others, options):
        wants_gradient = ctx.needs_input_grad[0]
        total, gradients = 0, []
        for start in range(0, max(1, len(logits)), frames):
            group = slice(start, start + frames)
            parts = [None if other is None else other[group] for other in others]
            value, gradient = function(
                logits.detach()[group], *parts, **options, with_gradient=wants_gradient
            )
            total = total + value
            gradients.append(gradient)
        if wants_gradient:
            joined = gradients[0] if len(gradients) == 1 else torch.cat(gradients)
            ctx.save_for_backward(joined)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        (gradient,) = ctx.saved_tensors
        return gradient * grad.to(gradient.dtype), None, None, None, None
