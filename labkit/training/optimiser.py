"""Optimiser and learning rate of a run."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn


def make_optimiser(
    parameters: Iterable[nn.Parameter],
    *,
    optimiser: str,
    learning_rate: float,
    weight_decay: float,
    momentum: float = 0.0,
) -> torch.optim.Optimizer:
    """SGD with momentum or AdamW; biases and normalisation parameters do not decay.

    Args:
        parameters: those of one dimension (biases, BatchNorm) form a group without decay.
        optimiser: "sgd" or "adamw".
    """
    parameters = list(parameters)
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    options: dict[str, Any] = {"lr": learning_rate, "fused": True}
    if optimiser == "sgd":
        return torch.optim.SGD(groups, momentum=momentum, **options)
    return torch.optim.AdamW(groups, **options)


def learning_rate_at(
    step: int, *, peak: float, steps: int, warmup_steps: int, poly_power: float
) -> float:
    """Linear warm-up times poly decay: peak * min(1, (step+1)/warmup) * (1 - step/steps)^power."""
    warm = min(1.0, (step + 1) / warmup_steps) if warmup_steps else 1.0
    return peak * warm * (1 - step / steps) ** poly_power
