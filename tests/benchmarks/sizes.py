"""Steps of given networks, sizes and numbers of classes, on random data that are on the device.

A step is `Session.update`: noising, forward, losses, backward, checks and optimiser, in the
precision that a run would have. It stands beside the bare networks, and a public script's step.
"""

import copy
from collections.abc import Callable, Iterator
from functools import cached_property, partial
from types import SimpleNamespace
from typing import NamedTuple

import torch
from torch import Tensor, nn

from labkit.datasets.batches import Batch
from labkit.distillers import build_distiller
from labkit.method import (
    IGNORE_INDEX,
    LabelNoising,
    channel_wise_distance,
    student_step,
    teacher_step,
)
from labkit.networks import build_network
from labkit.networks.doubling import use_doubling_blocks
from labkit.settings import make_settings
from labkit.training.checkpoint import TrainedParts
from labkit.training.depthwise import use_float32_depthwise
from labkit.training.device import autocast, choose_device, choose_precision
from labkit.training.loop import Session
from tests.benchmarks.reference import reference_student_step, reference_teacher_step
from tests.benchmarks.timing import milliseconds, row


class Size(NamedTuple):
    """What is trained on what."""

    architecture: str
    encoder: str
    images: int
    height: int
    width: int
    classes: int

    def __str__(self) -> str:
        pixels = f"{self.images} x {self.height} x {self.width}"
        return f"{pixels}, {self.classes} classes, {self.architecture} {self.encoder}"


SMALL, RESNET = ("unet", "tu-mobilenetv3_small_100"), ("pspnet", "resnet18")
SIZES = (
    *(Size(*SMALL, 8, 64, 128, classes) for classes in (8, 19, 171)),
    *(Size(*SMALL, 2, 512, 1024, classes) for classes in (8, 19, 171)),
    Size(*RESNET, 8, 64, 128, 19),
    Size(*RESNET, 2, 360, 480, 11),
    Size(*RESNET, 1, 512, 1024, 19),
)


def size_rows() -> Iterator[dict]:
    """Teacher and distillation steps of every size."""
    for size in SIZES:
        yield from step_rows(size)


def step_rows(size: Size, *, repeat: int = 3) -> Iterator[dict]:
    """Both steps against their bare networks and against a public script's."""
    steps = Steps(size)
    for name, calls in (
        ("teacher", steps.teacher_calls()),
        ("distillation", steps.student_calls()),
    ):
        ours, bare, reference = milliseconds(*calls, repeat=repeat)
        text = f"{size}, {steps.precision} on {steps.device.type}"
        yield row(f"{name} step vs bare networks", text, ours, bare)
        yield row(f"{name} step vs a public script's", text, ours, reference)


class Steps:
    """Networks and a batch of random data of one size."""

    def __init__(self, size: Size) -> None:
        self.size, self.device = size, choose_device("auto")
        self.precision = choose_precision("auto", self.device)
        self.noising = LabelNoising(num_classes=size.classes)
        generator = torch.Generator().manual_seed(0)
        shape = (size.images, size.height, size.width)
        target = torch.randint(size.classes, shape, generator=generator)
        target[:, : size.height // 16] = IGNORE_INDEX
        images = torch.randn(shape[0], 3, *shape[1:], generator=generator)
        batch = Batch(images, target, torch.arange(size.images))
        self.batch = batch.to(self.device)

    def teacher_calls(self) -> list[Callable[[], object]]:
        """The step, its bare network on both paths, and a public script's step."""
        network, plain = self._network(1), self._plain(self._network(1)).train()
        options = {"consistency_weight": 0.1, "temperature": 4.0, "distance": channel_wise_distance}

        def step(batch: Batch, generator: torch.Generator) -> object:
            return teacher_step(
                network, batch.images, batch.target, self.noising, generator=generator, **options
            )

        reference = reference_teacher_step(plain, _adamw(plain), self.noising, self._generator)
        inputs = torch.randn(2 * self.size.images, 4, self.size.height, self.size.width)
        return [
            partial(self._session(step, TrainedParts(network)).update, self.batch, 1),
            partial(self._bare, copy.deepcopy(network), inputs.to(self.device)),
            partial(reference, self.batch.images, self.batch.target),
        ]

    def student_calls(self) -> list[Callable[[], object]]:
        """The step, the student's and the teacher's bare networks, and a public script's step."""
        teacher, student = self._network(1).eval().requires_grad_(False), self._network(0)
        plain, plain_teacher = self._plain(self._network(0)).train(), self._plain(teacher)
        with torch.no_grad():
            example = student(self.batch.images[:1, :, :64, :64].repeat(2, 1, 1, 1))
        parts = {"student": example, "teacher": example, "seed": 0}
        distiller = build_distiller("cwd:3", {"cwd.temperature": 1}, **parts).to(self.device)

        def step(batch: Batch, generator: torch.Generator) -> object:
            return student_step(
                student,
                teacher,
                batch.images,
                batch.target,
                self.noising,
                distiller,
                generator=generator,
            )

        reference = reference_student_step(
            plain, plain_teacher, _adamw(plain), self.noising, self._generator
        )
        bare, inputs = copy.deepcopy(student), torch.cat([self.batch.images, self._channel], 1)

        def networks() -> None:
            with torch.no_grad(), autocast(self.device, self.precision):
                teacher(inputs)
            self._bare(bare, self.batch.images)

        return [
            partial(self._session(step, TrainedParts(student, distiller)).update, self.batch, 1),
            networks,
            partial(reference, self.batch.images, self.batch.target),
        ]

    def _network(self, label_channels: int) -> nn.Module:
        size = self.size
        options = {"num_classes": size.classes, "label_channels": label_channels}
        network = build_network(size.architecture, size.encoder, **options).train()
        network = network.to(self.device, memory_format=torch.channels_last)
        if self.device.type == "cpu":
            use_float32_depthwise(network)
            use_doubling_blocks(network)
        return network

    def _session(self, step: Callable, parts: TrainedParts) -> Session:
        settings = make_settings("teacher", {"precision": self.precision})
        run = SimpleNamespace(settings=settings)
        return Session(step, parts, run, dict, self.device)

    def _bare(self, network: nn.Module, inputs: Tensor) -> None:
        network.zero_grad(set_to_none=True)  # else gradients would add up, which takes time too
        with autocast(self.device, self.precision):
            logits = network(inputs).logits
        logits.mean().backward()

    def _plain(self, network: nn.Module) -> nn.Module:
        return copy.deepcopy(network).to(memory_format=torch.contiguous_format)

    @cached_property
    def _generator(self) -> torch.Generator:
        return torch.Generator(self.device).manual_seed(0)

    @cached_property
    def _channel(self) -> Tensor:
        return self.noising(self.batch.target, generator=self._generator)


def _adamw(network: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.AdamW(network.parameters(), lr=1e-3)
