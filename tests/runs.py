"""Small runs on disk, made without training, for tests of records and everything above them."""

from pathlib import Path
from typing import Any

import numpy as np

from labkit.records import Run, describe_run, start_run, write_bytes, write_json, write_text
from labkit.records.artifacts import npz_bytes
from labkit.settings import TrainSettings
from labkit.settings.fields import (
    AssistedStudentSettings,
    DistilledStudentSettings,
    PlainTeacherSettings,
    StudentSettings,
    TeacherSettings,
)

IDENTITY = {"data": "d" * 64, "weights": ""}
CLASSES = ("road", "sky", "car")


def settings_for(role: str = "teacher", *, teacher: Run | None = None, **values: Any):
    """Settings of a role without a recipe: precision fp32, `assisted` as in make_settings."""
    kinds: dict[str, type[TrainSettings]] = {
        "assisted": AssistedStudentSettings,
        "plain": DistilledStudentSettings,
    }
    values = {"precision": "fp32"} | values
    if role == "teacher":
        kind = TeacherSettings if values.pop("assisted", True) else PlainTeacherSettings
        return kind(**values)
    if teacher is None:
        return StudentSettings(**values)
    return kinds[teacher.kind](teacher=teacher.run_id, **values)


def planned(runs: Path, role: str = "teacher", *, teacher: Run | None = None, **values: Any) -> Run:
    """A run of which nothing is written."""
    settings = settings_for(role, teacher=teacher, runs=str(runs), **values)
    return describe_run(settings, IDENTITY, teacher)


def finish(run: Run, *, miou: float = 50.0, frames: int = 4) -> Run:
    """Give a planned run every output, as training leaves it."""
    start_run(run)
    write_text(run.folder / "log.jsonl", '{"step": 1, "loss": 2.0}\n{"step": 2, "loss": 1.0}\n')
    write_bytes(run.folder / "model.safetensors", f"weights of {run.run_id}".encode())
    readings = (
        ("true_label", "foreign_label", "zero_label") if run.kind == "assisted" else ("image",)
    )
    reading = {
        "miou": miou,
        "pixel_accuracy": 80.0,
        "iou": dict.fromkeys(CLASSES, miou),
        "absent": [],
    }
    metrics = {
        "split": "val",
        "protocol": "native",
        "steps": 2,
        "parameters": 100,
        "readings": dict.fromkeys(readings, reading),
    }
    write_json(run.folder / "metrics.json", metrics)
    write_bytes(run.folder / "frames.npz", npz_bytes(counts(readings, frames, miou)))
    run.complete(steps=2, seconds=1.5)
    return run


def counts(readings: tuple[str, ...], frames: int, miou: float) -> dict[str, np.ndarray]:
    """Arrays of frames.npz in which every class of every frame has about this IoU, percent."""
    arrays: dict[str, np.ndarray] = {"frames": np.array([f"frame{i}" for i in range(frames)])}
    full = np.full((frames, len(CLASSES)), 1000, dtype=np.int64)
    for reading in readings:
        for region in ("whole", "boundary", "interior"):
            hits = np.full_like(full, round(2000 * miou / (100 + miou)))
            arrays |= {
                f"{reading}.{region}.hits": hits,
                f"{reading}.{region}.labelled": full,
                f"{reading}.{region}.predicted": full,
            }
    return arrays


def made(runs: Path, role: str = "teacher", *, teacher: Run | None = None, **values: Any) -> Run:
    """A complete run."""
    miou = values.pop("miou", 50.0)
    return finish(planned(runs, role, teacher=teacher, **values), miou=miou)
