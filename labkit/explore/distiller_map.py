"""A toy map of two networks for any distiller, edited by sliders, and the gradient on it.

In float64, so that what a distiller does not see is distinct from what it sees a little.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from labkit.distillers import build_distiller, distiller_settings
from labkit.distillers.base import Distiller
from labkit.distillers.probe import relative_changes, value_of
from labkit.method import IGNORE_INDEX, Outputs, stream_generator

NAMES = ("road", "sky", "pole")
PALETTE = ((128, 64, 128), (70, 130, 180), (250, 200, 30))
LABEL = torch.tensor(
    [
        [1, 1, 1, 2, 1, 1, 1, 1],
        [1, 1, 1, 2, 1, 1, 1, 1],
        [1, 1, 1, 2, 1, 1, 0, 0],
        [0, 0, 0, 2, 0, 0, 0, 0],
        [0, 0, 0, 2, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 0, 0, 255],
    ]
)
ROWS, COLUMNS = LABEL.shape
WIDTH = 4  # channels of the features, a fixed linear map of the logits


@dataclass(frozen=True, kw_only=True)
class DistillerState:
    """What the sliders set.

    Attributes:
        distiller: a name of `available()`, at weight 1.
        temperature: of a distiller that has one.
        teacher_scale, student_scale: of the logits of a position's class, over those of the others.
        shift: columns by which the student sees the pole too far to the right.
        noise: std of the student's noise.
        row, column: a cell.
        bump: added to the student's logit of `bump_class` in that cell.
        offset: added to the student's logits of `bump_class` everywhere.
        seed: of the noise.
    """

    distiller: str = "cwd"
    temperature: float = 1.0
    teacher_scale: float = 4.0
    student_scale: float = 2.0
    shift: int = 1
    noise: float = 0.5
    row: int = 2
    column: int = 6
    bump: float = 0.0
    bump_class: str = "pole"
    offset: float = 0.0
    seed: int = 0


class Field(NamedTuple):
    """A distiller's value on the toy map, and its gradient."""

    value: float
    push: Tensor  # (3, 6, 8), minus the gradient: where gradient descent moves the student's logits
    student: Tensor  # (3, 6, 8) logits
    teacher: Tensor  # (3, 6, 8) logits


def gradient_field(state: DistillerState) -> Field:
    """The value and the push of a state's distiller; adapters are untrained, queues hold the
    teacher's vectors of this map.
    """
    logits, teacher = _student_logits(state).requires_grad_(), toy_teacher(state)
    student = toy_outputs(logits)
    value = value_of(toy_distiller(state), student, teacher, LABEL[None])
    (gradient,) = torch.autograd.grad(value, logits)
    return Field(value.item(), -gradient[0], logits.detach()[0], teacher.logits[0])


def toy_changes(state: DistillerState) -> dict[str, float]:
    """How much each change of `probe.CHANGES` moves the value on the toy map, relative to it."""
    student = toy_outputs(_student_logits(state))
    return relative_changes(toy_distiller(state), student, toy_teacher(state), LABEL[None])


def toy_distiller(state: DistillerState) -> Distiller:
    """The state's distiller in eval mode; its queues, where it has any, are filled."""
    options: dict[str, Any] = {"weight": 1.0}
    if has_temperature(state.distiller):
        options["temperature"] = state.temperature
    return _distiller(state.distiller, tuple(options.items()), state)


def toy_teacher(state: DistillerState) -> Outputs:
    """The teacher's Outputs: the label's classes, and a little of its own."""
    own = 0.3 * torch.randn(1, len(NAMES), ROWS, COLUMNS, generator=stream_generator("toy", 0))
    return toy_outputs(state.teacher_scale * _regions(0) + own)


def has_temperature(name: str) -> bool:
    """Whether a distiller has a setting `temperature`."""
    return "temperature" in distiller_settings(name)


@lru_cache(maxsize=64)
def _distiller(name: str, options: tuple[tuple[str, Any], ...], state: DistillerState) -> Distiller:
    settings: Mapping[str, Any] = {f"{name}.{key}": value for key, value in options}
    student, teacher = toy_outputs(_student_logits(state)), toy_teacher(state)
    built = build_distiller(name, settings, student=student, teacher=teacher, seed=0).double()
    with torch.no_grad():
        built(student, teacher, LABEL[None])  # fills queues
    return built.eval()


def _student_logits(state: DistillerState) -> Tensor:
    """(1, 3, 6, 8)."""
    generator = stream_generator("toy student", state.seed)
    logits = state.student_scale * _regions(state.shift)
    logits = logits + state.noise * torch.randn(logits.shape, generator=generator)
    category = NAMES.index(state.bump_class)
    logits[0, category] += state.offset
    logits[0, category, state.row, state.column] += state.bump
    return logits


def _regions(shift: int) -> Tensor:
    """(1, 3, 6, 8): 1 where a position is of the class, the pole moved right; void is road."""
    ids = LABEL.masked_fill(LABEL == IGNORE_INDEX, 0)
    pole = ids == NAMES.index("pole")
    without = torch.where(pole, torch.where(torch.arange(ROWS)[:, None] < 3, 1, 0), ids)
    moved = torch.zeros_like(pole)
    moved[:, shift:] = pole[:, : COLUMNS - shift]
    ids = torch.where(moved, NAMES.index("pole"), without)
    return torch.stack([ids == category for category in range(len(NAMES))])[None].double()


def toy_outputs(logits: Tensor) -> Outputs:
    """Logits at stride 1 and, as features of two stages, fixed linear maps of them."""
    generator = stream_generator("toy features", 0)
    maps = torch.randn(2, WIDTH, len(NAMES), generator=generator).double()
    features = tuple(torch.einsum("dc,nchw->ndhw", one, logits) for one in maps)
    return Outputs(logits, 1, {}, features)
