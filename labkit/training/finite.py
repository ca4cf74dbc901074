"""Finiteness of the loss, accumulated on the device and read at log points."""

import torch
from torch import Tensor

from labkit.errors import TrainingError
from labkit.method import StepOutput


class FiniteCheck:
    """Remembers the first step whose loss is not finite, without reading from the device.

    Args:
        device: where the losses are.
    """

    def __init__(self, device: torch.device) -> None:
        self._first = torch.full((), -1, dtype=torch.int64, device=device)
        self._values: Tensor | None = None  # terms at the first bad step
        self._names: tuple[str, ...] = ()

    def add(self, output: StepOutput, step: int) -> None:
        """Take in the loss and terms of a step, counted from 1."""
        self._names = tuple(output.terms)
        values = torch.stack([value.detach().float() for value in output.terms.values()])
        bad = (self._first < 0) & ~output.loss.detach().isfinite()
        self._first = torch.where(bad, step, self._first)
        self._values = values if self._values is None else torch.where(bad, values, self._values)

    def read(self) -> None:
        """Raise where a loss was not finite.

        Raises:
            TrainingError: with the first such step and its terms.
        """
        step = int(self._first)
        if step < 0:
            return
        values = zip(self._names, self._values.tolist(), strict=True)
        terms = ", ".join(f"{name} {value:.4g}" for name, value in values)
        raise TrainingError(
            f"step {step}: the loss is not finite ({terms}). "
            "Lower learning_rate, or use precision=fp32."
        )
