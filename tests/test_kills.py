"""kill -9 at random moments, then the same command: the same weights to the last bit, and no table ever counts a torn run."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from labkit.files import file_hash
from labkit.records import complete_runs, project_root
from labkit.tables import results_table

TRIALS = 20
SETTINGS = {
    "train_size": 8, "val_size": 4, "height": 32, "width": 64, "crop_height": 32, "crop_width": 64, "batch_size": 2,
    "train_steps": 24, "log_every_steps": 1, "checkpoint_every_steps": 3, "threads": 1, "precision": "fp32", "device": "cpu",
}  # fmt: skip


def start(runs: Path, workers: int) -> subprocess.Popen:
    command = [sys.executable, "-m", "labkit", "run", "teacher"]
    command += [part for name, value in (SETTINGS | {"runs": runs, "workers": workers}).items() for part in ("--set", f"{name}={value}")]
    return subprocess.Popen(command, cwd=project_root(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def kernel_of(process: subprocess.Popen) -> psutil.Process | None:
    try:
        children = psutil.Process(process.pid).children()
        return next((child for child in children if "ipykernel" in " ".join(child.cmdline())), None)
    except psutil.NoSuchProcess:
        return None


def counted(runs: Path, weights: str) -> int:
    """Number of runs a table is built from right now; each of them must be whole."""
    found = complete_runs(runs)
    assert all(file_hash(run.folder / "model.safetensors") == weights for run in found)
    assert results_table(found).empty == (not found)
    return len(found)


def rows_without_time(runs: Path) -> list[dict]:
    (run,) = complete_runs(runs)
    return [{name: value for name, value in row.items() if name != "seconds"} for row in run.log_rows()]


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """An uninterrupted run: its folder, its weights' hash, and how long the command took, seconds."""
    runs = tmp_path_factory.mktemp("reference")
    began = time.monotonic()
    assert start(runs, workers=0).wait() == 0
    seconds = time.monotonic() - began
    (run,) = complete_runs(runs)
    return runs, run.checkpoint_hash(), seconds


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("trial", range(TRIALS))
def test_a_kill_at_any_moment_changes_nothing(tmp_path, reference, trial):
    first, weights, seconds = reference
    moment = random.Random(trial).uniform(0, seconds)
    victim, workers = ("kernel", "labkit")[trial % 2], (0, 2)[trial // 2 % 2]
    process = start(tmp_path, workers)
    began = time.monotonic()
    while process.poll() is None and (time.monotonic() - began < moment or (victim == "kernel" and not kernel_of(process))):
        counted(tmp_path, weights)
        time.sleep(0.02)
    target = kernel_of(process) if victim == "kernel" else process
    if target:
        with contextlib.suppress(ProcessLookupError):  # it ended by itself just now
            os.kill(target.pid, signal.SIGKILL)
    code = process.wait()
    complete = counted(tmp_path, weights)
    print(f"trial {trial}: {victim} killed after {time.monotonic() - began:.1f} of {seconds:.1f} s, {workers} workers, exit {code}")
    if target and not complete:
        assert code != 0
    assert start(tmp_path, workers).wait() == 0
    assert counted(tmp_path, weights) == 1
    assert rows_without_time(tmp_path) == rows_without_time(first)
    assert list(tmp_path.rglob("*.part")) == []
