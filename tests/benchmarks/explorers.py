"""How long the explorers make people wait: rows with their budget beside, in milliseconds on one core."""

import itertools
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace

from labkit import explorers
from labkit.config import AnalysisSettings, NoisingSettings, TeacherSettings
from labkit.datasets import dataset_info, open_split
from labkit.experiments import fit, prepare
from labkit.explorers._noising import Frames
from labkit.explorers._pictures import SCALAR, levels, png
from labkit.lnm import LabelNoising
from labkit.streams import stream_generator

REPEATS = 9


def explorer_rows() -> list[dict]:
    """Noising, colours and encoding at 512 x 1024; a whole redraw of every explorer, each on a frame not drawn before."""
    rows = [_colour_row(), _large_noising_row()]
    with tempfile.TemporaryDirectory() as runs:
        fit(prepare(TeacherSettings(train_steps=1, train_size=64, val_size=REPEATS + 1, runs=runs)))  # size counts, not skill
        drawn = {
            "noising": (explorers.noising(NoisingSettings(runs=runs)), 500),
            "teacher": (explorers.teacher(TeacherSettings(runs=runs)), 500),
            "contribution": (explorers.contribution(AnalysisSettings(runs=runs)), 1000),
        }
        for name, (explorer, budget) in drawn.items():
            found = _milliseconds(lambda i, explorer=explorer: explorer.draw(replace(explorer.state, frame=i % (REPEATS + 1))))
            rows.append(_row(f"{name} explorer, whole redraw", "64 x 128 frames, pictures of 960 pixels", found, budget))
        state = replace(drawn["contribution"][0].state, noisings=4)
        found = _milliseconds(lambda i: drawn["contribution"][0].draw(replace(state, frame=i % (REPEATS + 1))))
        rows.append(_row("contribution explorer, 4 noisings", "64 x 128 frames, pictures of 960 pixels", found, 1000))
    return rows


def _colour_row() -> dict:
    target = open_split("streets", "val", root="", size=1, height=512, width=1024)[0].target
    noising = LabelNoising(num_classes=dataset_info("streets").num_classes, pixel_std=0.2)

    def draw(i: int) -> bytes:
        channel = noising(target[None], generator=stream_generator("explore noise", i))[0, 0].numpy()
        return png(levels(channel, -3, 3), SCALAR)

    return _row("noising, colour mapping and encoding", "512 x 1024", _milliseconds(draw), 100)


def _large_noising_row() -> dict:
    frames = Frames(dataset_info("streets"), open_split("streets", "val", root="", size=1, height=512, width=1024))
    found = _milliseconds(lambda i: explorers.draw_noising(explorers.NoisingState(pixel_std=0.2, seed=i), frames))
    return _row("noising explorer, whole redraw", "512 x 1024 frame, pictures of 960 pixels", found, 500)


def _milliseconds(call: Callable[[int], object]) -> float:
    """Median time of a call that is told its number, after one to warm up."""
    call(0)
    times = []
    for i in itertools.islice(itertools.count(1), REPEATS):
        began = time.perf_counter()
        call(i)
        times.append(time.perf_counter() - began)
    return 1000 * statistics.median(times)


def _row(name: str, size: str, ours: float, budget: float) -> dict:
    return {"name": name, "size": size, "ours": round(ours, 2), "budget": budget, "unit": "ms"}
