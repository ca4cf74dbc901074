"""A small matrix whose runs take seconds, made without a scheduler; what a scheduler would leave beside them."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from labkit import experiments
from labkit.files import write_json
from labkit.matrix import Job, done, open_jobs, plan, read_matrix, study_files, study_of
from labkit.products import MANIFEST
from tests.test_files import HOLD

SETTINGS = {
    "train_size": 4, "val_size": 2, "height": 32, "width": 64, "crop_height": 32, "crop_width": 64, "batch_size": 2, "train_steps": 1,
    "threads": 1, "precision": "fp32", "device": "cpu",
}  # fmt: skip
SMALL = {
    "title": "small",
    "seeds": [0],
    "settings": SETTINGS,
    "teachers": {"assisted": {"method": "lad"}, "plain": {"method": "none"}},
    "methods": {"alone": {}, "of assisted": {"teacher": "assisted"}, "of plain": {"teacher": "plain"}},
}
TITLES = ["teacher assisted s0", "teacher plain s0", "alone s0", "of assisted s0", "of plain s0"]


def write(path: Path, *, runs: Path, **changes: Any) -> Path:
    """The small matrix as a file, with changes; None takes a key out."""
    values = SMALL | {"runs": str(runs)} | changes
    path.write_text(yaml.safe_dump({name: value for name, value in values.items() if value is not None}, sort_keys=False))
    return path


def make(path: Path) -> None:
    """Every run that is open, in this process, in the plan's order."""
    for job in open_jobs(plan(read_matrix(path))):
        make_run(job)


def make_run(job: Job) -> None:
    experiments.fit(experiments.prepare(type(job.resolved)(**job.settings)))


def make_tables(path: Path) -> None:
    """What the study's job leaves behind, without its tables."""
    matrix = read_matrix(path)
    write_json(matrix.figures_folder / MANIFEST, {})
    write_json(study_files(matrix).receipt, {"made_from": study_of(matrix, plan(matrix))})


def jobs(path: Path) -> dict[str, Job]:
    """Jobs of a matrix file by title."""
    return {job.title: job for job in plan(read_matrix(path)).jobs}


def open_titles(path: Path) -> list[str]:
    return [job.title for job in open_jobs(plan(read_matrix(path)))]


def run_folder(path: Path, title: str) -> Path:
    """Folder of a complete run."""
    return done(jobs(path)[title]).folder


@contextmanager
def held_elsewhere(lock: Path, *, seconds: float = 60) -> Iterator[subprocess.Popen]:
    """Another process holds a lock file for a while."""
    command = [sys.executable, "-c", HOLD, str(lock), str(seconds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()
