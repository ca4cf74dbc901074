"""Cross-entropy against soft labels: smoothed by a constant, and along boundaries."""

import torch
from torch import Tensor

from labkit.method.noising import IGNORE_INDEX
from labkit.method.outputs import full_size


def soft_cross_entropy(
    logits: Tensor,
    target: Tensor,
    *,
    stride: int = 1,
    label_smoothing: float = 0.0,
    boundary_smoothing: float = 0.0,
) -> Tensor:
    """Pixel cross-entropy against soft labels, mean over labelled pixels; see `soft_labels`.

    Args:
        logits: (N, K, h, w), unnormalised.
        target: (N, H, W) int64, 255 = void, left out of sum and denominator.
        stride: input pixels per logit; logits are resized as by `full_size`, all frames at once.
        label_smoothing, boundary_smoothing: as for `soft_labels`.

    Returns:
        Scalar in nats, 0 where every pixel is void.
    """
    labels = soft_labels(
        target,
        logits.shape[1],
        label_smoothing=label_smoothing,
        boundary_smoothing=boundary_smoothing,
    )
    log_probability = full_size(logits, stride, tuple(target.shape[1:])).log_softmax(1)
    return -(labels * log_probability).sum() / (target != IGNORE_INDEX).sum().clamp(min=1)


@torch.no_grad()
def soft_labels(
    target: Tensor, num_classes: int, *, label_smoothing: float, boundary_smoothing: float
) -> Tensor:
    """Class probabilities of a label.

    Args:
        target: (N, H, W) int64, 255 = void.
        num_classes: K.
        label_smoothing: s; every pixel has (1 - s) of its own label and s / K of each class.
        boundary_smoothing: std in pixels of a Gaussian mean over the labelled pixels around, cut
            off at three of it; 0 = none. It comes first.

    Returns:
        (N, K, H, W) float32; sums to 1 over the classes, 0 at void.
    """
    classes = torch.arange(num_classes, device=target.device)
    labels = (target.unsqueeze(1) == classes[:, None, None]).float()
    labelled = labels.sum(1, keepdim=True)
    if boundary_smoothing:
        labels = _blurred(labels, boundary_smoothing)
        labels = labels / labels.sum(1, keepdim=True).clamp(min=1e-6)
    return ((1 - label_smoothing) * labels + label_smoothing / num_classes) * labelled


def _blurred(maps: Tensor, std: float) -> Tensor:
    """(N, K, H, W) maps under a Gaussian whose largest weight is 1, with zeros around."""
    with torch.autocast(maps.device.type, enabled=False):
        down, across = (_weights(size, std, maps.device) for size in maps.shape[2:])
        return down @ maps @ across


def _weights(size: int, std: float, device: torch.device) -> Tensor:
    """(size, size) weights by the distance of two pixels, 0 beyond three deviations."""
    distance = torch.arange(size, dtype=torch.float32, device=device)
    distance = (distance - distance[:, None]).abs()
    return torch.exp(-(distance**2) / (2 * std**2)) * (distance <= 3 * std)
