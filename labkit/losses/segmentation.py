"""Losses of a prediction against a target."""

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
        ValueError: the shapes do not belong together.

    Differs: torch's own mean is 0/0 = NaN over a batch whose pixels are all void.
    """
    if logits.ndim != 4 or target.shape != (logits.shape[0], *logits.shape[2:]):
        raise ValueError(
            f"cross_entropy: logits {tuple(logits.shape)} and target {tuple(target.shape)}; "
            "expected (N, K, H, W) and (N, H, W). Resize the logits to the target first."
        )
    total = F.cross_entropy(logits.float(), target, ignore_index=ignore_index, reduction="sum")
    return total / (target != ignore_index).sum().clamp(min=1)
