"""Complete runs with given scores and counts, written without training, for tests of tables."""

import json
from pathlib import Path

import numpy as np

from labkit.records import Run, start_run, write_bytes, write_json, write_text
from labkit.records.artifacts import npz_bytes
from tests.runs import planned

CLASSES = ("road", "sky", "car")  # sky is absent everywhere
PROTOCOL = "2 frames of val, whole, native size, single scale, void excluded"
FRAMES = 2


def scored(
    runs: Path,
    role: str = "teacher",
    *,
    miou: dict[str, float],
    teacher: Run | None = None,
    evaluations: tuple[float, ...] = (10.0,),
    protocol: str = PROTOCOL,
    near: int = 5,
    inside: int = 8,
    labelled: int = 10,
    **settings,
) -> Run:
    """A complete run.

    Args:
        miou: recorded score by reading.
        evaluations: mIoU of the log before the end, under every reading.
        near, inside: of 10 labelled pixels per class and frame, those right near boundaries and
            inside; the others are taken for the other class.
        labelled: pixels per class, frame and region.
    """
    run = planned(runs, role, teacher=teacher, **settings)
    if (run.folder / "manifest.json").is_file():
        return run
    start_run(run)
    steps = run.settings.train_steps
    rows = [
        {"step": 100 * (i + 1), "seconds": 1.0, "miou": dict.fromkeys(miou, value)}
        for i, value in enumerate(evaluations)
    ]
    rows.append({"step": steps, "seconds": 100.0, "miou": miou})
    write_text(run.folder / "log.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    write_bytes(run.folder / "model.safetensors", f"weights of {run.run_id}".encode())
    readings = {
        name: {
            "miou": value,
            "pixel_accuracy": 80.0,
            "iou": {"road": value, "sky": None, "car": value},
            "absent": ["sky"],
        }
        for name, value in miou.items()
    }
    metrics = {"split": "val", "protocol": protocol, "steps": steps, "readings": readings}
    write_json(run.folder / "metrics.json", metrics)
    arrays = {"frames": np.array([f"frame{i}" for i in range(FRAMES)])}
    for reading in miou:
        arrays |= _counts(reading, near, inside, labelled)
    write_bytes(run.folder / "frames.npz", npz_bytes(arrays))
    run.complete(seconds=100.0 + 10 * run.seed, images_seen=800, device="cpu")
    return run


def _counts(reading: str, near: int, inside: int, labelled: int) -> dict[str, np.ndarray]:
    """Road and car, confused with each other alone: as many predicted as labelled."""
    arrays = {}
    hits = {"boundary": near, "interior": inside, "whole": near + inside}
    for region, right in hits.items():
        pixels = labelled * (2 if region == "whole" else 1)
        row = {"hits": right, "labelled": pixels, "predicted": pixels}
        for name, value in row.items():
            arrays[f"{reading}.{region}.{name}"] = np.array([[value, 0, value]] * FRAMES)
    return arrays
