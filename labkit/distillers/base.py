"""Distiller: a loss between two networks' Outputs, with whatever it must learn or remember."""

import inspect

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labkit.method import (
    Outputs,
    at_least_float32,
    common_grid,
    labelled_positions,
    stream_generator,
    target_on_grid,
)
from labkit.method.distances import GREATEST_TEMPERATURE, LEAST_TEMPERATURE


class Distiller(nn.Module):
    """What a student learns from a teacher's Outputs.

    A subclass lives in a file of its own, which names it. Its constructor takes example Outputs of
    both networks (any batch), `weight` and its own settings, all with defaults. Adapters are its
    parameters and queues its buffers: trained and checkpointed with the student, never exported.

    Attributes:
        name: of the term.
        weight: multiplies `loss`.
        seed: of `generator`.
        adapters: layers that bring the student's features to the teacher's width.
        kind: what it compares, "logits", "features" or both.
    """

    kind = "logits"

    def __init__(self, *, weight: float) -> None:
        super().__init__()
        if not 0 <= weight < float("inf"):
            raise ValueError(f"weight is {weight}; expected a finite number of at least 0.")
        self.name = type(self).__module__.rpartition(".")[2]
        self.weight = weight
        self.seed = 0
        self.draws = 0
        self.adapters = nn.ModuleDict()
        self._notes: list[str] = []

    def forward(self, student: Outputs, teacher: Outputs, target: Tensor) -> dict[str, Tensor]:
        """Weighted terms by name. Computed in float32 (float64 stays), whatever autocast says.

        Args:
            student: receives the gradient.
            teacher: detached here.
            target: (N, H, W) int64, 255 = void, at the size of the networks' input.
        """
        teacher = _detached(teacher)
        with torch.autocast(student.logits.device.type, enabled=False):
            return {self.name: self.weight * self.loss(student, teacher, target)}

    def loss(self, student: Outputs, teacher: Outputs, target: Tensor) -> Tensor:
        """The unweighted term, a scalar; the formula is in the class's docstring."""
        raise NotImplementedError

    def describe(self) -> list[str]:
        """One line per layer and resizing that was added to match the networks."""
        return [f"{self.name}: {note}" for note in self._notes]

    def generator(self, device: torch.device) -> torch.Generator:
        """A new stream for each call in training; the count of calls is checkpointed."""
        stream = stream_generator(f"distiller {self.name}", self.seed, self.draws, device=device)
        self.draws += self.training
        return stream

    def get_extra_state(self) -> Tensor:
        return torch.tensor([self.draws, self.weight], dtype=torch.float64)

    def set_extra_state(self, state: Tensor) -> None:
        """Count of draws and weight: a calibrated weight is restored, not measured again."""
        draws, self.weight = state.tolist()
        self.draws = int(draws)

    def note(self, text: str) -> None:
        """Adds a line to `describe`."""
        self._notes.append(text)


class FeatureDistiller(Distiller):
    """A distiller of one encoder stage: adapter and resizing are added where they are needed.

    Attributes:
        stage: index into Outputs.features, finest first; -1 is the last.
    """

    kind = "features"

    def __init__(
        self,
        student: Outputs,
        teacher: Outputs,
        *,
        weight: float,
        stage: int,
        same_width: bool,
    ) -> None:
        """`same_width`: whether the loss needs features of equal width (a 1x1 adapter if not)."""
        super().__init__(weight=weight)
        self.stage = stage
        f, g = (stage_of(outputs, stage, whose) for outputs, whose in _named(student, teacher))
        if same_width:
            self.add_adapter("features", f.shape[1], g.shape[1])
        if f.shape[2:] != g.shape[2:]:
            coarser = "teacher" if f[0, 0].numel() > g[0, 0].numel() else "student"
            self.note(f"features of stage {stage} are resized bilinearly to the {coarser}'s grid")

    def add_adapter(self, key: str, student_width: int, teacher_width: int) -> None:
        """A 1x1 convolution without bias, where the widths differ."""
        if student_width != teacher_width:
            self.adapters[key] = nn.Conv2d(student_width, teacher_width, 1, bias=False)
            self.note(f"{key}: 1x1 convolution from {student_width} to {teacher_width} channels")

    def feature_pair(self, student: Outputs, teacher: Outputs) -> tuple[Tensor, Tensor]:
        """Features of both at the smaller of their grids: (N, C, h, w) at least float32."""
        f, g = (
            at_least_float32(stage_of(outputs, self.stage, whose))
            for outputs, whose in _named(student, teacher)
        )
        if "features" in self.adapters:
            f = self.adapters["features"](f)
        return same_size(f, g)


def logit_pair(
    student: Outputs, teacher: Outputs, target: Tensor, *, stride: int, void: bool
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Logits of both at one stride, and the positions that take part.

    Args:
        stride: finer logits are average-pooled to it, pixels.
        void: True = every position takes part.

    Returns:
        Two (N, K, h, w) at least float32, and None or (N, h, w) bool.
    """
    s, t, stride = common_grid(student, teacher, stride=stride)
    return s, t, None if void else labelled_positions(target, stride, _size(s))


def check_classes(student: Outputs, teacher: Outputs, *, least: int = 1) -> None:
    """Both networks must have the same number of classes, at least `least`.

    Raises:
        ValueError: they do not.
    """
    classes = [outputs.logits.shape[1] for outputs in (student, teacher)]
    if classes[0] != classes[1] or classes[0] < least:
        raise ValueError(
            f"student and teacher have {classes} classes; "
            f"expected equal numbers of at least {least}."
        )


def check_logit_settings(temperature: float, stride: int) -> None:
    """The settings that distillers of logits share.

    Raises:
        ValueError: one is out of range; the message names it.
    """
    if not LEAST_TEMPERATURE <= temperature <= GREATEST_TEMPERATURE:
        raise ValueError(
            f"temperature is {temperature}; expected {LEAST_TEMPERATURE} to {GREATEST_TEMPERATURE}."
        )
    check_at_least(1, stride=stride)


def stage_of(outputs: Outputs, stage: int, whose: str) -> Tensor:
    """Features of an encoder stage.

    Raises:
        ValueError: the network has no such stage.
    """
    count = len(outputs.features)
    if not -count <= stage < count:
        raise ValueError(
            f"stage is {stage}, the {whose} has {count} encoder stages; "
            f"expected {-count} to {count - 1}."
        )
    return outputs.features[stage]


def same_size(f: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
    """Two maps at the smaller of their grids; the larger is resized bilinearly."""
    if f.shape[2:] == g.shape[2:]:
        return f, g
    if f.shape[2] * f.shape[3] > g.shape[2] * g.shape[3]:
        return F.interpolate(f, _size(g), mode="bilinear", align_corners=False), g
    return f, F.interpolate(g, _size(f), mode="bilinear", align_corners=False)


def unit_vectors(values: Tensor, dim: int, *, least: float = 0.0) -> Tensor:
    """Values over their L2 norm along a dimension, or over `least` where the norm is smaller.

    A zero vector stays 0 and has a finite gradient.
    """
    length = torch.linalg.vector_norm(values, dim=dim, keepdim=True)
    if least:
        return values / length.clamp(min=least)
    return values / length.masked_fill(length == 0, 1)


def target_at_size(target: Tensor, size: tuple[int, int]) -> Tensor:
    """(N, h, w) ids on a feature grid, whose stride is the least power of two that covers."""
    stride = 1
    while stride * size[0] < target.shape[1] or stride * size[1] < target.shape[2]:
        stride *= 2
    return target_on_grid(target, stride, size)


def class_membership(ids: Tensor, num_classes: int, dtype: torch.dtype) -> Tensor:
    """(N, h, w) ids -> (N, K, h*w), 1 where the position is of the class; void is of none."""
    classes = torch.arange(num_classes, device=ids.device)
    return (ids.flatten(1).unsqueeze(1) == classes[:, None]).to(dtype)


def pooling_for(size: tuple[int, int], *, least: int, most_nodes: int) -> int:
    """The least pooling factor from `least` on that leaves at most `most_nodes` positions."""
    factor = least
    while -(-size[0] // factor) * -(-size[1] // factor) > most_nodes:
        factor += 1
    return factor


def mean_of_kept(values: Tensor, keep: Tensor | None) -> Tensor:
    """Mean of (N, h, w) values over the positions kept; 0 where none is."""
    if keep is None:
        return values.mean()
    return values.masked_fill(~keep, 0).sum() / keep.sum().clamp(min=1)


def check_at_least(least: float, **settings: float) -> None:
    """Settings by name must be finite numbers of at least `least`.

    Raises:
        ValueError: one is not; the message names it.
    """
    for name, value in settings.items():
        if not least <= value < float("inf"):
            raise ValueError(f"{name} is {value}; expected a finite number of at least {least}.")


def settings_of(distiller: type[Distiller]) -> dict[str, object]:
    """Names and defaults of a distiller's settings, from its constructor."""
    parameters = inspect.signature(distiller).parameters.values()
    return {
        parameter.name: parameter.default
        for parameter in parameters
        if parameter.kind is parameter.KEYWORD_ONLY
    }


def _size(values: Tensor) -> tuple[int, int]:
    return values.shape[2], values.shape[3]


def _named(student: Outputs, teacher: Outputs) -> tuple[tuple[Outputs, str], ...]:
    return (student, "student"), (teacher, "teacher")


def _detached(outputs: Outputs) -> Outputs:
    return Outputs(
        outputs.logits.detach(),
        outputs.stride,
        {name: logits.detach() for name, logits in outputs.auxiliary.items()},
        tuple(feature.detach() for feature in outputs.features),
    )
