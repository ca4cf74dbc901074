"""Invariances and cost of a distiller."""

import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from labkit.distillers.base import Distiller
from labkit.method import IGNORE_INDEX, Outputs, stream_generator

Triple = tuple[Outputs, Outputs, Tensor]  # student, teacher, target
Change = Callable[[Outputs, Outputs, Tensor], Triple]


class Cost(NamedTuple):
    """Cost of one forward and backward pass of a distiller."""

    milliseconds: float  # of processors, all threads together; the fastest of the passes
    megabytes: float  # kept for the backward pass, without the two networks' Outputs


def value_of(distiller: Distiller, student: Outputs, teacher: Outputs, target: Tensor) -> Tensor:
    """Sum of a distiller's weighted terms, a scalar."""
    return sum(distiller(student, teacher, target).values())


@torch.no_grad()
def relative_changes(
    distiller: Distiller, student: Outputs, teacher: Outputs, target: Tensor
) -> dict[str, float]:
    """How much each of `CHANGES` moves a distiller's value, relative to the value itself.

    Args:
        distiller: in eval mode, so that queues and draws stay as they are.
        student, teacher: at stride 1, so that a position has one label.

    Returns:
        |after - before| / |before| by the change's name; 0 = the distiller does not see it.
    """
    before = value_of(distiller, student, teacher, target).item()
    return {
        name: abs(value_of(distiller, *change(student, teacher, target)).item() - before)
        / max(abs(before), 1e-12)
        for name, change in CHANGES.items()
    }


def cost(
    distiller: Distiller, student: Outputs, teacher: Outputs, target: Tensor, *, passes: int = 3
) -> Cost:
    """Processor time and memory of a forward and backward pass, on the CPU.

    Args:
        student: of leaves that want a gradient.
    """
    given = {tensor.untyped_storage().data_ptr() for tensor in _tensors(student, teacher)}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in given:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        value = value_of(distiller, student, teacher, target)
    megabytes = sum(kept.values()) / 1e6
    value.backward()
    seconds = []
    for _ in range(passes):
        began = time.process_time()
        value_of(distiller, student, teacher, target).backward()
        seconds.append(time.process_time() - began)
    return Cost(1e3 * min(seconds), megabytes)


def random_outputs(
    size: tuple[int, int],
    *,
    images: int,
    classes: int,
    widths: tuple[int, ...],
    seed: int,
    coarser: int = 2,
) -> Outputs:
    """Outputs of random leaves that want a gradient, for a measurement of cost.

    Args:
        size: of the logits, at stride 4, and of the first stage's features.
        widths: channels of the encoder's stages.
        coarser: how many times each stage is coarser than the one before; 1 = dilated.
    """
    generator = torch.Generator().manual_seed(seed)

    def leaf(channels: int, scale: int) -> Tensor:
        shape = (images, channels, size[0] // scale, size[1] // scale)
        return torch.randn(shape, generator=generator).requires_grad_()

    features = tuple(leaf(width, coarser**i) for i, width in enumerate(widths))
    return Outputs(leaf(classes, 1), 4, {}, features)


def _tensors(*outputs: Outputs) -> list[Tensor]:
    return [tensor for one in outputs for tensor in (one.logits, *one.features)]


def _apply(outputs: Outputs, change: Callable[[Tensor], Tensor]) -> Outputs:
    features = tuple(change(feature) for feature in outputs.features)
    return outputs._replace(logits=change(outputs.logits), features=features)


def _factors(values: Tensor, *dims: int) -> Tensor:
    """Random numbers from 0.5 to 2 that vary along the dimensions named alone."""
    shape = [size if dim in dims else 1 for dim, size in enumerate(values.shape)]
    generator = stream_generator("probe", *dims)
    return (0.5 + 1.5 * torch.rand(shape, generator=generator)).to(values)


def _rotation(values: Tensor) -> Tensor:
    """(N, C, h, w) with its channels rotated at random, the same way at every position."""
    size = values.shape[1]
    noise = torch.randn(size, size, generator=stream_generator("probe rotation", size))
    return torch.einsum("dc,nchw->ndhw", torch.linalg.qr(noise)[0].to(values), values)


def _of_student(change: Callable[[Tensor], Tensor]) -> Change:
    return lambda student, teacher, target: (_apply(student, change), teacher, target)


def _of_teacher(change: Callable[[Tensor], Tensor]) -> Change:
    return lambda student, teacher, target: (student, _apply(teacher, change), target)


def _of_both(change: Callable[[Tensor], Tensor]) -> Change:
    """The same change of both networks and of the label's positions."""
    return lambda student, teacher, target: (
        _apply(student, change),
        _apply(teacher, change),
        change(target[:, None])[:, 0],
    )


def _shuffle_positions(values: Tensor) -> Tensor:
    height, width = values.shape[2:]
    order = torch.randperm(height * width, generator=stream_generator("probe order", height, width))
    return values.flatten(2)[..., order.to(values.device)].view_as(values)


def _shuffle_classes(student: Outputs, teacher: Outputs, target: Tensor) -> Triple:
    """Classes in another order, in the logits of both and in the label; features stay."""
    classes = student.logits.shape[1]
    order = torch.arange(classes - 1, -1, -1, device=target.device)
    ids = torch.where(target == IGNORE_INDEX, target, classes - 1 - target)
    both = (one._replace(logits=one.logits[:, order]) for one in (student, teacher))
    return *both, ids


CHANGES: Mapping[str, Change] = {
    "student: plus a number per position": _of_student(lambda x: x + _factors(x, 0, 2, 3)),
    "student: plus a number per channel": _of_student(lambda x: x + _factors(x, 1)),
    "student: doubled": _of_student(lambda x: 2 * x),
    "student: times a number per position": _of_student(lambda x: x * _factors(x, 0, 2, 3)),
    "student: times a number per channel": _of_student(lambda x: x * _factors(x, 1)),
    "student: channels rotated": _of_student(_rotation),
    "teacher: doubled": _of_teacher(lambda x: 2 * x),
    "both: positions shuffled": _of_both(_shuffle_positions),
    "both: classes in another order": _shuffle_classes,
    "both: each position four times": _of_both(
        lambda x: x.repeat_interleave(2, 2).repeat_interleave(2, 3)
    ),
}
