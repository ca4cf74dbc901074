"""How long a redraw of every explorer takes, beside its budget."""

import itertools
import tempfile
from collections.abc import Iterator
from dataclasses import replace

import torch

from labkit import explore
from labkit.datasets import dataset_info
from labkit.datasets.streets import Streets
from labkit.explore.noised_frame import Frames
from labkit.explore.pictures import SCALAR, levels, png
from labkit.method import LabelNoising, stream_generator
from labkit.settings import AttributionSettings, NoisingSettings
from labkit.training.experiment import plan_run, prepare
from labkit.training.fit import fit
from tests.benchmarks.timing import budget_row, milliseconds, quiet

FRAMES = 10
PICTURES = "64 x 128 frames, pictures of 960 pixels"


def explorer_rows() -> Iterator[dict]:
    """Noising at 512 x 1024, and a whole redraw of every explorer, each of another frame."""
    large = Streets("val", 1, 512, 1024)
    target, noising = large[0].target[None], LabelNoising(num_classes=8, pixel_std=0.2)
    numbers = itertools.count()

    def colour() -> bytes:
        generator = stream_generator("explore noise", next(numbers))
        return png(levels(noising(target, generator=generator)[0, 0].numpy(), -3, 3), SCALAR)

    (taken,) = milliseconds(colour)
    yield budget_row("noising, colour mapping and encoding", "512 x 1024", taken, 100)
    frames = Frames(dataset_info("streets"), large)
    state = explore.NoisingState(pixel_std=0.2)
    (taken,) = milliseconds(
        lambda: explore.draw_noising(replace(state, seed=next(numbers)), frames)
    )
    yield budget_row("noising explorer, redraw", "512 x 1024 frame", taken, 500)
    with tempfile.TemporaryDirectory(prefix="labkit-bench-") as runs:
        yield from _redraw_rows(runs)


def _redraw_rows(runs: str) -> Iterator[dict]:
    values = {"runs": runs, "train_steps": 1, "train_size": 64, "val_size": FRAMES}
    run = plan_run("teacher", values | {"threads": torch.get_num_threads()})
    with quiet():
        fit(prepare(run))  # the time of a redraw does not depend on how well it is trained
    contribution = explore.contribution(AttributionSettings(runs=runs, noisings=1))
    noisings = {"noisings": 4}
    for name, explorer, changes, budget in (
        ("noising explorer", explore.noising(NoisingSettings(runs=runs)), {}, 500),
        ("teacher explorer", explore.teacher(run.settings), {}, 500),
        ("compare explorer", explore.compare(run.settings), {}, 500),
        ("contribution explorer", contribution, {}, 1000),
        ("contribution explorer, 4 noisings", contribution, noisings, 1000),
    ):
        numbers, state = itertools.count(), replace(explorer.state, **changes)

        def redraw(explorer=explorer, state=state, numbers=numbers) -> None:
            explorer.draw(replace(state, frame=next(numbers) % FRAMES))

        (taken,) = milliseconds(redraw)
        yield budget_row(f"{name}, redraw", PICTURES, taken, budget)
