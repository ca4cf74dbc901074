"""Label noising by gather against one mask per image and class."""

from collections.abc import Iterator
from functools import partial

import torch

from labkit.method import IGNORE_INDEX, LabelNoising
from tests.benchmarks.reference import masked_loop
from tests.benchmarks.timing import milliseconds, row

SIZES = ((8, 512, 512, 22), (8, 64, 128, 8), (2, 512, 1024, 19), (2, 512, 512, 171))


def noising_rows() -> Iterator[dict]:
    """Rows at several sizes and numbers of classes; both give the same numbers."""
    for images, height, width, classes in SIZES:
        generator = torch.Generator().manual_seed(0)
        ids = torch.randint(0, classes + 1, (images, height // 8, width // 8), generator=generator)
        ids[ids == classes] = IGNORE_INDEX
        target = ids.repeat_interleave(8, 1).repeat_interleave(8, 2)
        noising = LabelNoising(num_classes=classes)
        ours = noising(target, generator=torch.Generator().manual_seed(1))
        reference = masked_loop(target, noising, torch.Generator().manual_seed(1))
        torch.testing.assert_close(ours, reference)
        ours_call = partial(noising, target, generator=generator)
        reference_call = partial(masked_loop, target, noising, generator)
        times = milliseconds(ours_call, reference_call)
        size = f"{images} x {height} x {width}, {classes} classes and void"
        yield row("label noising vs a mask per image and class", size, *times)
