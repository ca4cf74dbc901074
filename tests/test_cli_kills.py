"""`labkit train` killed or interrupted at any moment, then called again: the same weights."""

import contextlib
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from labkit.records.files import file_hash
from labkit.records.scan import scan_runs
from labkit.settings.paths import project_root
from labkit.training.fit import train_run
from tests.processes import processes_naming, wait_for

TRIALS = 20
SETTINGS = {
    "train_size": 8, "val_size": 4, "crop_height": 32, "crop_width": 64, "batch_size": 2,
    "train_steps": 24, "log_every_steps": 1, "checkpoint_every_steps": 3, "threads": 1,
    "precision": "fp32", "device": "cpu",
}  # fmt: skip
SMALL_FILE = 3_000_000  # bytes; a checkpoint is larger
INTERRUPTS = {
    "SIGHUP": (129, "stopped by SIGHUP (the terminal was closed)."),
    "SIGTERM": (143, "stopped by SIGTERM."),
    "SIGINT": (130, "interrupted (Ctrl-C)."),
    "SIGQUIT": (131, "stopped by SIGQUIT."),
}


def start(runs: Path, *, workers: int = 0, **options) -> subprocess.Popen:
    values = SETTINGS | {"runs": runs, "workers": workers}
    pairs = [part for name, value in values.items() for part in ("--set", f"{name}={value}")]
    command = [sys.executable, "-m", "labkit", "train", "teacher", *pairs]
    pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True} | options
    return subprocess.Popen(command, cwd=project_root(), **pipes)


def finish(runs: Path, *, workers: int = 0) -> None:
    process = start(runs, workers=workers)
    text = process.communicate()[1]
    assert process.returncode == 0, text


def check(runs: Path, reference: Path) -> None:
    """The one run is complete and equal to the reference: weights, and rows but for their times."""
    found = []
    for folder in (runs, reference):
        (run,) = scan_runs(folder).runs
        timed = ("seconds", "waiting", "images_per_second")
        rows = [{k: v for k, v in row.items() if k not in timed} for row in run.log_rows()]
        found.append((run.run_id, file_hash(run.folder / "model.safetensors"), rows))
    assert found[0] == found[1]
    assert list(runs.rglob("*.part")) == []
    assert list(runs.rglob("*previous.safetensors")) == []
    assert processes_naming(str(runs)) == []


def is_training(runs: Path) -> bool:
    return bool(list(runs.glob("*/previous.safetensors")))


@pytest.fixture(scope="module")
def reference(tmp_path_factory) -> Path:
    """The runs folder of an uninterrupted training."""
    runs = tmp_path_factory.mktemp("reference")
    train_run("teacher", SETTINGS | {"runs": str(runs)})
    return runs


def test_a_kill_during_training_changes_nothing(tmp_path, reference):
    process = start(tmp_path)
    wait_for(lambda: is_training(tmp_path) or process.poll() is not None, 300)
    process.kill()
    process.communicate()
    assert scan_runs(tmp_path).runs == []
    finish(tmp_path)
    check(tmp_path, reference)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("trial", range(TRIALS))
def test_a_kill_at_any_moment_changes_nothing(tmp_path, reference, trial):
    workers = (0, 2)[trial % 2]
    began = time.monotonic()
    finish(tmp_path / "whole", workers=workers)
    seconds = time.monotonic() - began
    moment, runs = random.Random(trial).uniform(0, seconds), tmp_path / "killed"
    process = start(runs, workers=workers)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(moment)
    process.kill()
    process.communicate()
    wait_for(lambda: not processes_naming(str(runs)))
    for run in scan_runs(runs).runs:  # counted only where it is whole
        assert file_hash(run.folder / "model.safetensors") == run.checkpoint_hash()
    finish(runs, workers=workers)
    check(runs, reference)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", INTERRUPTS)
@pytest.mark.parametrize("workers", [0, 2])
def test_a_signal_ends_with_a_message_and_the_same_command_goes_on(
    tmp_path, reference, name, workers
):
    process = start(tmp_path, workers=workers)
    wait_for(lambda: is_training(tmp_path) or process.poll() is not None, 300)
    process.send_signal(signal.Signals[name])
    text = process.communicate()[1]
    code, words = INTERRUPTS[name]
    assert process.returncode == code, text
    assert f"labkit: {words}\nGo on with: labkit train teacher --set train_size=8" in text
    assert "Traceback" not in text
    assert scan_runs(tmp_path).unfinished[0].state in ("stopped", "failed")
    wait_for(lambda: not processes_naming(str(tmp_path)))
    finish(tmp_path, workers=workers)
    check(tmp_path, reference)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_reader_that_leaves_does_not_stop_the_training(tmp_path, reference):
    process = start(tmp_path, stdout=subprocess.PIPE, bufsize=0)
    process.stdout.read(20)
    process.stdout.close()
    process.stdout = None
    text = process.communicate()[1]
    assert process.returncode == 0, text
    check(tmp_path, reference)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_full_disk_is_reported_and_nothing_half_written_counts(tmp_path, reference):
    """Stand-in for a full disk: no file may pass 3 MB, and a checkpoint is larger."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (SMALL_FILE, SMALL_FILE))

    process = start(tmp_path, preexec_fn=limit)
    text = process.communicate()[1]
    assert process.returncode == 1
    assert "last.safetensors: cannot be written, the file is larger than allowed." in text
    assert "Traceback" not in text
    assert list(tmp_path.rglob("*.part")) == []
    assert list(tmp_path.rglob("*.safetensors")) == []
    assert scan_runs(tmp_path).runs == []
    finish(tmp_path)
    check(tmp_path, reference)
