"""Time and memory of every distiller, beside plain pixel-wise distillation."""

from collections.abc import Callable, Iterator

import torch

from labkit.distillers import available, build_distiller
from labkit.method import Outputs
from tests.benchmarks.timing import milliseconds, peak_megabytes, row

IMAGES, CLASSES, HEIGHT, WIDTH = 4, 19, 64, 128  # of the logits
STRIDE, WIDTHS = 4, (16, 32, 64, 128)  # features at strides 4, 8, 16 and 32


def distiller_rows() -> Iterator[dict]:
    """Forward and backward of each distiller after its queues are filled; kd is the reference."""
    calls = {name: distillation(name) for name in available()}
    size = f"{IMAGES} x {CLASSES} classes, logits of {HEIGHT} x {WIDTH}, features at 4 strides"
    memory = {"kd": peak_megabytes(calls["kd"])}
    for name, call in calls.items():
        kd, own = milliseconds(calls["kd"], call, repeat=3)
        yield row(f"distiller {name}, time beside kd", size, own, kd)
        memory[name] = peak_megabytes(call)
        yield row(
            f"distiller {name}, peak memory beside kd", size, memory[name], memory["kd"], unit="MB"
        )


def distillation(name: str) -> Callable[[], None]:
    """Forward and backward of one distiller on random Outputs."""
    student, teacher = random_outputs(0), random_outputs(1)
    target = torch.randint(
        CLASSES, (IMAGES, HEIGHT // 2, WIDTH // 2), generator=torch.Generator().manual_seed(2)
    )
    side = 2 * STRIDE
    target = target.repeat_interleave(side, 1).repeat_interleave(side, 2)
    distiller = build_distiller(name, {}, student=student, teacher=teacher, seed=0)

    def call() -> None:
        sum(distiller(student, teacher, target).values()).backward()

    call()  # fills queues
    return call


def random_outputs(seed: int) -> Outputs:
    """Outputs of random leaves that want a gradient; feature i is 2^i times coarser."""
    generator = torch.Generator().manual_seed(seed)

    def leaf(channels: int, scale: int) -> torch.Tensor:
        size = (IMAGES, channels, HEIGHT // scale, WIDTH // scale)
        return torch.randn(size, generator=generator).requires_grad_()

    features = tuple(leaf(channels, 2**i) for i, channels in enumerate(WIDTHS))
    return Outputs(leaf(CLASSES, 1), STRIDE, {}, features)
