"""Redraw times of the explorers, rows with their budget beside, in milliseconds on one core."""

import itertools
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace

import torch

from labkit import explore
from labkit.datasets import Sample, dataset_info, open_split
from labkit.explore.noised_frame import Frames
from labkit.explore.pictures import SCALAR, levels, png
from labkit.method import LabelNoising, stream_generator
from labkit.settings import AttributionSettings, NoisingSettings
from labkit.training.experiment import plan_run, prepare
from labkit.training.fit import fit

REPEATS = 9
SIZE = "64 x 128 frames, pictures of 960 pixels"


class OneLarge:
    """A split of one frame of 512 x 1024 pixels, an enlarged street scene."""

    def __init__(self) -> None:
        image, target = open_split("streets", "val", root="", size=1)[0]
        image = image.repeat_interleave(8, 1).repeat_interleave(8, 2)
        self.sample = Sample(image, target.repeat_interleave(8, 0).repeat_interleave(8, 1))

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> Sample:
        return self.sample

    def frame_name(self, index: int) -> str:
        return "large"


def explorer_rows() -> list[dict]:
    """Noising, colours, encoding at 512 x 1024; a redraw of every explorer, each on a new frame."""
    rows = [_colour_row(), _large_noising_row()]
    with tempfile.TemporaryDirectory() as runs:
        values = {"train_steps": 1, "train_size": 64, "val_size": REPEATS + 1, "runs": runs}
        fit(prepare(plan_run("teacher", values)))  # size counts, not skill
        drawn = {
            "noising": (explore.noising(NoisingSettings(runs=runs)), 500),
            "teacher": (explore.teacher(AttributionSettings(runs=runs)), 500),
            "contribution": (
                explore.contribution(AttributionSettings(runs=runs, noisings=1)),
                1000,
            ),
        }
        for name, (explorer, budget) in drawn.items():
            ours = _milliseconds(lambda i, explorer=explorer: _draw_frame(explorer, i))
            rows.append(_row(f"{name} explorer, whole redraw", SIZE, ours, budget))
        explorer = drawn["contribution"][0]
        averaged = replace(explorer, state=replace(explorer.state, noisings=4))
        ours = _milliseconds(lambda i: _draw_frame(averaged, i))
        rows.append(_row("contribution explorer, 4 noisings", SIZE, ours, 1000))
    return rows


def _draw_frame(explorer: explore.Explorer, i: int) -> object:
    return explorer.draw(replace(explorer.state, frame=i % (REPEATS + 1)))


def _colour_row() -> dict:
    target = OneLarge()[0].target
    noising = LabelNoising(num_classes=dataset_info("streets").num_classes, pixel_std=0.2)

    def draw(i: int) -> bytes:
        generator = stream_generator("explore noise", i)
        channel = noising(target[None], generator=generator)[0, 0].numpy()
        return png(levels(channel, -3, 3), SCALAR)

    ours = _milliseconds(draw)
    return _row("noising, colour mapping and encoding", "512 x 1024", ours, 100)


def _large_noising_row() -> dict:
    frames = Frames(dataset_info("streets"), OneLarge())
    ours = _milliseconds(
        lambda i: explore.draw_noising(explore.NoisingState(pixel_std=0.2, seed=i), frames)
    )
    size = "512 x 1024 frame, pictures of 960 pixels"
    return _row("noising explorer, whole redraw", size, ours, 500)


def _milliseconds(call: Callable[[int], object]) -> float:
    """Median time of a call that gets its number, after one to warm up; one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        call(0)
        times = []
        for i in itertools.islice(itertools.count(1), REPEATS):
            began = time.perf_counter()
            call(i)
            times.append(time.perf_counter() - began)
    finally:
        torch.set_num_threads(threads)
    return 1000 * statistics.median(times)


def _row(name: str, size: str, ours: float, budget: float) -> dict:
    return {"name": name, "size": size, "ours": round(ours, 2), "budget": budget, "unit": "ms"}
