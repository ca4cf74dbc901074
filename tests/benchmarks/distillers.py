"""Time and memory of every distiller, beside plain pixel-wise distillation."""

from collections.abc import Callable, Iterator

import torch

from labkit.distillers import available, build_distiller
from labkit.distillers.probe import random_outputs
from tests.benchmarks.timing import milliseconds, peak_megabytes, row

IMAGES, CLASSES, HEIGHT, WIDTH = 2, 19, 64, 128  # of the logits and of every feature map
STRIDE, WIDTHS = 4, (64, 128)  # channels of the features, as of a dilated encoder's last stages


def distiller_rows() -> Iterator[dict]:
    """Forward and backward of each distiller after its queues are filled; kd is the reference."""
    calls = {name: distillation(name) for name in available()}
    size = f"{IMAGES} x {CLASSES} classes, logits and features of {HEIGHT} x {WIDTH}"
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
    sizes = {"images": IMAGES, "classes": CLASSES, "widths": WIDTHS, "coarser": 1}
    student, teacher = (random_outputs((HEIGHT, WIDTH), seed=seed, **sizes) for seed in (0, 1))
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
