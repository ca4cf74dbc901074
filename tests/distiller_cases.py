"""A distiller with the Outputs of two networks, for tests over the folder of distillers."""

import torch

from labkit.distillers import build_distiller
from labkit.method import Outputs
from tests.tiny import block_target, random_outputs

SMALL = {"cirkd": {"pixel_queue": 40, "region_queue": 10, "pixels_drawn": 40}}


def build(name, student, teacher, **settings):
    settings = SMALL.get(name, {}) | settings
    options = {f"{name}.{setting}": value for setting, value in settings.items()}
    return build_distiller(name, options, student=student, teacher=teacher, seed=1)


def value_of(distiller, student, teacher, target):
    (value,) = distiller(student, teacher, target).values()
    return value


def target_for(outputs: Outputs, *, side: int = 4, seed: int = 0) -> torch.Tensor:
    height, width = (outputs.stride * cells for cells in outputs.logits.shape[2:])
    return block_target(len(outputs.logits), height, width, side=side, seed=seed)


def case(name, *, n=2, size=(4, 6), dtype=torch.float32, widths=(6, 8), **settings):
    """Outputs of both networks, a target, and the distiller in eval mode after one step."""
    student = random_outputs(n, size=size, widths=widths, dtype=dtype)
    teacher = random_outputs(n, size=size, widths=(6, 8), dtype=dtype, seed=1)
    target = target_for(student)
    distiller = build(name, student, teacher, **settings).to(dtype)
    value_of(distiller, student, teacher, target)  # fills queues
    return distiller.eval(), student, teacher, target


def leaves(outputs: Outputs) -> list[torch.Tensor]:
    return [outputs.logits, *outputs.features]


def with_leaves(outputs: Outputs, tensors) -> Outputs:
    return outputs._replace(logits=tensors[0], features=tuple(tensors[1:]))


def changed(outputs: Outputs, change) -> Outputs:
    """Logits and features after `change(tensor)`, without gradients."""
    return with_leaves(outputs, [change(tensor.detach()) for tensor in leaves(outputs)])
