"""Losses of a prediction against a target."""

import torch
import torch.nn.functional as F
from torch import Tensor

from labkit.lnm import IGNORE_INDEX


def cross_entropy(logits: Tensor, target: Tensor, *, ignore_index: int = IGNORE_INDEX) -> Tensor:
    """Pixel cross-entropy, mean over labelled pixels.

    Args:
        logits: (N, K, H, W), unnormalised.
        target: (N, H, W) int64; ignore_index = void, left out of sum and denominator.

    Returns:
        Scalar in nats, float32; 0 with a zero gradient where every pixel is void.

    Raises:
        ValueError: the shapes do not belong together, or the target holds other ids or is of another type.

    Differs: torch's own mean is 0/0 = NaN over a batch whose pixels are all void.
    """
    if logits.ndim != 4 or target.shape != (logits.shape[0], *logits.shape[2:]):
        raise ValueError(
            f"cross_entropy: logits {tuple(logits.shape)} and target {tuple(target.shape)}; "
            "expected (N, K, H, W) and (N, H, W). Resize the logits to the target first."
        )
    if target.dtype != torch.int64:
        raise ValueError(f"cross_entropy: target is {target.dtype}; expected int64 class ids.")
    outside = (target != ignore_index) & ((target < 0) | (target >= logits.shape[1]))
    if outside.any():
        raise ValueError(
            f"cross_entropy: target holds ids {target[outside].unique().tolist()[:8]}; expected 0..{logits.shape[1] - 1} "
            f"or {ignore_index} for void."
        )
    logits = logits.float().masked_fill((target == ignore_index).unsqueeze(1), 0)  # what stands at void has no gradient, infinities neither
    total = F.cross_entropy(logits, target, ignore_index=ignore_index, reduction="sum")
    return total / (target != ignore_index).sum().clamp(min=1)
