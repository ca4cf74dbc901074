"""`make bench`: rows name, size, ours, reference, ratio, unit (or a budget instead of a reference); printed, and kept in runs/bench.json.

Ratios are taken within one run on one machine; milliseconds of two machines say nothing about each other.
"""

import statistics
import timeit
from collections.abc import Callable

import torch
from torch import Tensor

from labkit.files import write_json
from labkit.lnm import IGNORE_INDEX, LabelNoising
from labkit.records import project_root
from tests.benchmarks.explorers import explorer_rows


def milliseconds(call: Callable[[], object]) -> float:
    """Median time of a call, after one to warm up."""
    call()
    return 1000 * statistics.median(timeit.repeat(call, number=1, repeat=9))


def masked_loop(target: Tensor, noising: LabelNoising, generator: torch.Generator) -> Tensor:
    """The reference: one mask per image and class."""
    weights = noising.draw_weights(len(target), generator=generator)
    channel = torch.zeros(len(target), 1, *target.shape[1:])
    for image, one in enumerate(target):
        for category in range(noising.num_classes):
            channel[image, 0][one == category] = weights[image, 0, category]
        channel[image, 0][one == IGNORE_INDEX] = weights[image, 0, -1]
    noise = torch.randn(channel.shape, generator=generator)
    return noising.label_scale * (channel + noising.pixel_std * noise)


def noising_row() -> dict:
    """Label noising by gather against the masked loop, the same numbers out."""
    generator = torch.Generator().manual_seed(0)
    target = torch.randint(0, 22, (8, 512, 512), generator=generator)
    target[target == 21] = IGNORE_INDEX
    noising = LabelNoising(num_classes=21)
    ours = noising(target, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(ours, masked_loop(target, noising, torch.Generator().manual_seed(1)))
    return row(
        "label noising vs masked loop over images and classes",
        "8 x 512 x 512, 21 classes + void",
        milliseconds(lambda: noising(target, generator=generator)),
        milliseconds(lambda: masked_loop(target, noising, generator)),
    )


def row(name: str, size: str, ours: float, reference: float) -> dict:
    """One measurement, with the ratio reference / ours."""
    ratio = round(reference / ours, 2)
    return {"name": name, "size": size, "ours": round(ours, 2), "reference": round(reference, 2), "ratio": ratio, "unit": "ms"}


def main() -> None:
    """Print and keep every row."""
    torch.set_num_threads(1)
    rows = [noising_row(), *explorer_rows()]
    for found in rows:
        print("  ".join(f"{name}={value}" for name, value in found.items()))
    write_json(project_root() / "runs" / "bench.json", rows)


if __name__ == "__main__":
    main()
