"""A small matrix whose runs take seconds, made without a scheduler."""

from pathlib import Path
from typing import Any

import yaml

from labkit.batch.jobs import Job
from labkit.batch.matrix import read_matrix
from labkit.batch.status import Inspection, inspect
from labkit.batch.workflow import teacher_id
from labkit.records.artifacts import record_artifact
from labkit.records.files import write_json, write_text
from labkit.training.fit import train_run

SETTINGS = {
    "train_size": 4, "val_size": 2, "crop_height": 32, "crop_width": 64, "batch_size": 2,
    "train_steps": 1, "threads": 1, "precision": "fp32", "device": "cpu",
}  # fmt: skip
SMALL = {
    "title": "small",
    "seeds": [0],
    "settings": SETTINGS,
    "teachers": {"assisted": {}, "plain": {"assisted": False}},
    "methods": {
        "alone": {},
        "of assisted": {"teacher": "assisted"},
        "of plain": {"teacher": "plain"},
    },
}
TITLES = [
    "teacher assisted s0", "teacher plain s0", "alone s0", "of assisted s0", "of plain s0",
]  # fmt: skip


def write(path: Path, *, runs: Path, **changes: Any) -> Path:
    """The small matrix as a file, with changes; None takes a key out."""
    values = SMALL | {"runs": str(runs)} | changes
    given = {name: value for name, value in values.items() if value is not None}
    path.write_text(yaml.safe_dump(given, sort_keys=False), encoding="utf-8")
    return path


def look(path: Path) -> Inspection:
    """The matrix as it is on disk now."""
    return inspect(read_matrix(path))


def make(path: Path) -> None:
    """Every run that is open, in this process, in the plan's order."""
    for job in look(path).plan.jobs:
        if look(path).done(job) is None:
            make_run(path, job)


def make_run(path: Path, job: Job) -> None:
    train_run(job.role, job.settings(teacher_id(look(path), job)))


def make_tables(path: Path) -> None:
    """What the job of the tables leaves behind: one table, in the manifest, and its receipt."""
    inspection = look(path)
    table = inspection.matrix.figures_folder / "students.md"
    write_text(table, "| method |\n")
    record_artifact(table, caption="students", runs=[], parameters={})
    files = inspection.last_jobs()["tables and figures"]
    write_json(files.receipt, look(path).last_receipt())


def jobs(path: Path) -> dict[str, Job]:
    """Jobs of a matrix file by title."""
    return {job.title: job for job in look(path).plan.jobs}


def open_titles(path: Path) -> list[str]:
    return [job.title for job in look(path).open_jobs()]


def run_folder(path: Path, title: str) -> Path:
    """Folder of a complete run."""
    return look(path).done(jobs(path)[title]).folder
