"""Cross-entropy of logits against a target, in groups of frames, upsampling included."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from labkit.method.frames import frames_per_group, sum_over_frames
from labkit.method.noising import IGNORE_INDEX
from labkit.method.outputs import full_size


def cross_entropy(
    logits: Tensor, target: Tensor, *, stride: int = 1, ignore_index: int = IGNORE_INDEX
) -> Tensor:
    """Pixel cross-entropy, mean over labelled pixels.

    Args:
        logits: (N, K, h, w), unnormalised; (h, w) = (H, W) at stride 1.
        target: (N, H, W) int64; ignore_index = void, left out of sum and denominator.
        stride: input pixels per logit; logits are resized as by `full_size`, in groups of frames.

    Returns:
        Scalar, 0 with a zero gradient where every pixel is void. At stride 1, void pixels get a
        zero gradient whatever their logits are, infinities included.

    Raises:
        ValueError: shapes or types do not belong together; on the CPU also: ids outside 0..K-1.

    Differs: torch's own mean is 0/0 = NaN over a batch whose pixels are all void.
    """
    _check_target(logits, target, stride)
    options = {"stride": stride, "void": ignore_index}
    elements = logits.shape[1] * target.shape[1] * target.shape[2]
    try:
        total = sum_over_frames(_cross_entropy_sum, logits, (target,), options, elements=elements)
    except (RuntimeError, IndexError):
        _check_ids(target, logits.shape[1], ignore_index)
        raise
    return total / (target != ignore_index).sum().clamp(min=1)


def hard_pixel_cross_entropy(
    logits: Tensor,
    target: Tensor,
    *,
    stride: int = 1,
    ignore_index: int = IGNORE_INDEX,
    probability: float = 0.7,
    least_share: float = 1 / 16,
) -> Tensor:
    """Cross-entropy of the hard pixels (OHEM), mean over the pixels kept.

    Keeps labelled pixels whose true class has a probability below `probability`, and never fewer
    than the hardest N*H*W * `least_share` pixels of the batch (ties included). Void is never kept.

    Arguments, result and errors otherwise as for `cross_entropy`.

    Source: STDC-Seg, Fan et al. 2021, arXiv 2104.13188, its OHEM loss.
    Differs: void pixels are never kept; there they fill the list with loss 0.
    """
    _check_target(logits, target, stride)
    losses = _pixel_losses(logits.detach(), target, stride, ignore_index)
    losses = losses.masked_fill_(target == ignore_index, -1.0)  # below every pixel's loss
    least = min(max(1, math.ceil(least_share * target.numel())), target.numel())
    hardest = losses.flatten().topk(least).values
    enough = hardest[-1:].clamp(max=-math.log(probability))
    hard_target = target.masked_fill(losses < enough, ignore_index)
    return cross_entropy(logits, hard_target, stride=stride, ignore_index=ignore_index)


def _cross_entropy_sum(
    logits: Tensor, target: Tensor, *, stride: int, void: int, with_gradient: bool
) -> tuple[Tensor, Tensor | None]:
    """Cross-entropy summed over labelled pixels, and its gradient for the logits."""
    with torch.set_grad_enabled(with_gradient):
        logits = logits.requires_grad_(with_gradient)
        full = full_size(logits, stride, (target.shape[1], target.shape[2]))
    log_probability = full.detach().log_softmax(1)
    value = F.nll_loss(log_probability, target, ignore_index=void, reduction="sum")
    if not with_gradient:
        return value, None
    is_void = (target == void).unsqueeze(1)
    index = target.unsqueeze(1).masked_fill(is_void, 0)
    gradient = log_probability.exp_()
    gradient.scatter_add_(1, index, gradient.new_full((), -1).expand_as(index))
    gradient.masked_fill_(is_void, 0)
    return value, torch.autograd.grad(full, logits, gradient)[0]


@torch.no_grad()
def _pixel_losses(logits: Tensor, target: Tensor, stride: int, void: int) -> Tensor:
    """(N, H, W) cross-entropy of every pixel, of any value at void, without a gradient."""
    size = (target.shape[1], target.shape[2])
    frames = frames_per_group(logits.shape[1] * size[0] * size[1])
    losses = []
    try:
        for part, ids in zip(logits.split(frames), target.split(frames), strict=True):
            index = ids.unsqueeze(1).masked_fill((ids == void).unsqueeze(1), 0)
            log_probability = full_size(part, stride, size).log_softmax(1)
            losses.append(-log_probability.gather(1, index).squeeze(1))
    except RuntimeError:
        _check_ids(target, logits.shape[1], void)
        raise
    return torch.cat(losses)


def _check_target(logits: Tensor, target: Tensor, stride: int) -> None:
    """Shapes and types; sizes are exact at stride 1 and covered above (see `full_size`)."""
    size = tuple(target.shape[1:])
    if logits.ndim != 4 or target.ndim != 3 or len(logits) != len(target):
        sizes_fit = False
    elif stride == 1:
        sizes_fit = tuple(logits.shape[2:]) == size
    else:
        sizes_fit = all(stride * a >= b for a, b in zip(logits.shape[2:], size, strict=True))
    if not sizes_fit:
        raise ValueError(
            f"cross_entropy: logits {tuple(logits.shape)} at stride {stride} and target "
            f"{tuple(target.shape)}; expected (N, K, h, w) and (N, H, W) of one size at stride 1, "
            "or logits that cover the target at a coarser one."
        )
    if target.dtype != torch.int64:
        raise ValueError(f"cross_entropy: target is {target.dtype}; expected int64 class ids.")


def _check_ids(target: Tensor, num_classes: int, ignore_index: int) -> None:
    """Explains an index error of the CPU; other devices raise their own, asynchronously."""
    outside = ((target < 0) | (target >= num_classes)) & (target != ignore_index)
    if outside.any():
        raise ValueError(
            f"cross_entropy: target holds ids {target[outside].unique().tolist()[:8]}; expected "
            f"0..{num_classes - 1} or {ignore_index} for void."
        )
