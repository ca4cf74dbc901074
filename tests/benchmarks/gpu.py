"""What a CUDA device does: steps at 512 x 1024 beside bare networks and public scripts; loading.

`make bench-gpu` runs it; without a CUDA device it says so.
"""

import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch

from labkit.training.experiment import plan_run, prepare
from labkit.training.fit import fit
from tests.benchmarks.camvid_files import write_camvid
from tests.benchmarks.sizes import Size, step_rows
from tests.benchmarks.timing import budget_row, quiet

SIZE = Size("deeplabv3", "resnet18", 16, 512, 1024, 19)
FRAMES, STEPS = 367, 200  # frames of CamVid's training split


def gpu_rows() -> Iterator[dict]:
    """Rows of the CUDA device; none without one."""
    if not torch.cuda.is_available():
        print("gpu: torch finds no CUDA device here, so that there is nothing to measure.")
        return
    torch.cuda.reset_peak_memory_stats()
    yield from step_rows(SIZE, repeat=9)
    gigabytes = torch.cuda.max_memory_allocated() / 1e9
    yield budget_row(
        "peak memory of all steps and references", str(SIZE), gigabytes, "-", unit="GB"
    )
    yield from _waiting_rows()


def _waiting_rows() -> Iterator[dict]:
    """Share of a training's time that it waits for batches, of files and of resident frames."""
    with tempfile.TemporaryDirectory(prefix="labkit-bench-") as folder:
        write_camvid(Path(folder), train=FRAMES, val=2)
        values = {
            "dataset": "camvid",
            "data_root": folder,
            "runs": f"{folder}/runs",
            "val_size": 2,
            "train_steps": STEPS,
            "batch_size": 16,
            "resize": "native",
            "crop_height": 360,
            "crop_width": 480,
            "architecture": "deeplabv3",
            "encoder": "resnet18",
            "log_every_steps": 20,
            "seed": 0,
        }
        for name, loading in (("8 workers", {"workers": 8}), ("resident", {"resident": True})):
            experiment = prepare(plan_run("teacher", values | loading | {"seed": len(name)}))
            with quiet():
                fit(experiment)
            shares = [row["waiting"] for row in experiment.run.log_rows() if "waiting" in row]
            size = f"16 x 360 x 480, {FRAMES} frames, DeepLabV3-ResNet-18, {name}"
            yield budget_row(
                "waiting for data", size, 100 * statistics.median(shares), 5, unit="percent"
            )
