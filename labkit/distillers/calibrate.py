"""Weights that give distillers the same share of the gradient at the student's encoder.

Customary weights belong to other networks, sizes and denominators. Here a weight is proposed such
that, averaged over a few batches, the gradient norm of each weighted term at the student's last
encoder stage is `share` times that of the cross-entropy. There is no fallback: a term without a
gradient there is refused by name.
"""

import copy
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from labkit.distillers import build_distiller, parse_distillation
from labkit.method import LabelNoising, Outputs, cross_entropy, student_step

REFERENCE = "ce"


class Calibration(NamedTuple):
    """Proposed weights, and the gradient norms they come from."""

    weights: dict[str, float]  # distiller -> weight
    norms: dict[str, float]  # term -> mean gradient norm over the batches, at weight 1


def gradient_norms(terms: Mapping[str, Tensor], shared: Tensor) -> dict[str, float]:
    """L2 norm of each term's gradient for a tensor that the terms share.

    Args:
        terms: scalars by name; their graphs are kept.
        shared: part of the graph of the terms.

    Returns:
        Norms by name; 0 for a term that does not depend on the tensor.
    """
    norms = {}
    for name, term in terms.items():
        gradient = None
        if term.requires_grad:
            (gradient,) = torch.autograd.grad(term, shared, retain_graph=True, allow_unused=True)
        norms[name] = 0.0 if gradient is None else gradient.float().norm().item()
    return norms


def calibrated_weights(
    norms: Sequence[Mapping[str, float]], *, share: float = 1.0
) -> dict[str, float]:
    """Weights from the norms of some batches, measured at weight 1.

    Args:
        norms: per batch, of "ce" and of each distiller's term.
        share: gradient norm of a weighted term over that of the cross-entropy.

    Returns:
        Distiller -> weight, 3 significant digits.

    Raises:
        ValueError: no batch, no cross-entropy, or a term whose gradient is 0 or not finite.
    """
    means = _means(norms)
    if not means.get(REFERENCE):
        raise ValueError(
            f"norms of {sorted(means)}; expected at least one batch with a positive {REFERENCE!r}."
        )
    weights = {}
    for name, norm in means.items():
        if name == REFERENCE:
            continue
        if not 0 < norm < math.inf:
            raise ValueError(
                f"{name} has gradient norm {norm} at the student's last encoder stage; expected a "
                "positive one. It may tap an earlier stage: give its weight as a number."
            )
        weights[name] = float(f"{share * means[REFERENCE] / norm:.3g}")
    return weights


def calibrate(
    student: nn.Module,
    teacher: nn.Module,
    batches: Iterable[tuple[Tensor, Tensor]],
    noising: LabelNoising | None,
    distillation: str,
    options: Mapping[str, Any],
    *,
    generator: torch.Generator,
    seed: int = 0,
    share: float = 1.0,
    segmentation_loss: Callable[..., Tensor] = cross_entropy,
) -> Calibration:
    """Proposes weights for the distillers of a text, from a few batches of `student_step`.

    Args:
        student: not changed: a copy is measured, in training mode.
        teacher: frozen and in eval mode.
        batches: (images, target) each.
        noising: of the label an assisted teacher reads; None for a plain teacher.
        distillation, options, seed: as for `build_distiller`; weights in the text do not matter.
        generator: of the noising.
        share: see `calibrated_weights`.
        segmentation_loss: (logits, target, *, stride) -> scalar, of the training.

    Returns:
        Calibration.
    """
    unit = "+".join(f"{name}:1" for name in parse_distillation(distillation))
    options = {key: value for key, value in options.items() if not key.endswith(".weight")}
    meter = _Meter(unit, options, seed, segmentation_loss)
    student = copy.deepcopy(student).train()
    for images, target in batches:
        student_step(student, teacher, images, target, noising, meter, generator=generator)
    return Calibration(calibrated_weights(meter.norms, share=share), _means(meter.norms))


class _Meter(nn.Module):
    """Stands in for a distiller in `student_step` and records gradient norms at weight 1."""

    def __init__(
        self, distillation: str, options: Mapping[str, Any], seed: int, loss: Callable[..., Tensor]
    ) -> None:
        super().__init__()
        self.loss = loss
        self.build = {"distillation": distillation, "options": options, "seed": seed}
        self.distiller: nn.Module | None = None
        self.norms: list[dict[str, float]] = []

    def forward(self, student: Outputs, teacher: Outputs, target: Tensor) -> dict[str, Tensor]:
        if self.distiller is None:
            self.distiller = build_distiller(**self.build, student=student, teacher=teacher)
        terms = {REFERENCE: self.loss(student.logits, target, stride=student.stride)}
        terms |= self.distiller(student, teacher, target)
        self.norms.append(gradient_norms(terms, student.features[-1]))
        return {}


def _means(norms: Sequence[Mapping[str, float]]) -> dict[str, float]:
    names = norms[0] if norms else {}
    return {name: sum(batch[name] for batch in norms) / len(norms) for name in names}
