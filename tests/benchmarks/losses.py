"""Cross-entropy and distances of many classes: time and peak memory against plain ones."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from labkit.method import IGNORE_INDEX, channel_wise_distance, cross_entropy
from tests.benchmarks.reference import plain_cross_entropy, plain_distance
from tests.benchmarks.timing import milliseconds, peak_megabytes, row

STRIDE = 4
SIZES = ((4, 171, 512, 512), (2, 19, 512, 1024), (8, 8, 64, 128))


def loss_rows() -> Iterator[dict]:
    """Forward and backward from logits at stride 4, time and memory, and their gradients equal."""
    for images, classes, height, width in SIZES:
        logits, target = case(images, classes, height, width)
        other = logits.detach().roll(1, 0)
        pairs = {
            "cross-entropy": (
                lambda logits, target=target: cross_entropy(logits, target, stride=STRIDE),
                lambda logits, target=target: plain_cross_entropy(logits, target),
            ),
            "channel-wise distance": (
                lambda logits, other=other: channel_wise_distance(logits, other, temperature=4.0),
                lambda logits, other=other: plain_distance(logits, other, 4.0),
            ),
        }
        size = f"{images} x {height} x {width}, {classes} classes, logits at stride {STRIDE}"
        for name, losses in pairs.items():
            ours, plain = (gradient_of(loss, logits) for loss in losses)
            if name == "cross-entropy":
                torch.testing.assert_close(ours(), plain(), rtol=1e-4, atol=1e-8)
            yield row(f"{name} vs plain, time", size, *milliseconds(ours, plain, repeat=3))
            if height < 512:
                continue  # too small to see
            memory = [peak_megabytes(call) for call in (ours, plain)]
            yield row(f"{name} vs plain, peak memory", size, *memory, unit="MB")


def case(images: int, classes: int, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Random logits that want a gradient, and a target with void."""
    generator = torch.Generator().manual_seed(0)
    grid = (images, classes, height // STRIDE, width // STRIDE)
    target = torch.randint(classes, (images, height, width), generator=generator)
    target[:, :8] = IGNORE_INDEX
    return torch.randn(grid, generator=generator).requires_grad_(), target


def gradient_of(loss: Callable[[Tensor], Tensor], logits: Tensor) -> Callable[[], Tensor]:
    """A call of forward and backward that returns the logits' gradient."""

    def call() -> Tensor:
        (gradient,) = torch.autograd.grad(loss(logits), logits)
        return gradient

    return call
