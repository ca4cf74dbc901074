"""Time to look at many runs: status of 200 complete ones, and a dry run of 10,000 planned ones."""

import shutil
import tempfile
import time
from pathlib import Path

from labkit.batch import schedule
from labkit.records import start_run
from tests import matrices
from tests.runs import finish

COMPLETE = {"seeds": list(range(100)), "methods": None}  # two teachers each
PLANNED = {  # 10 seeds x 100 noises x (assisted teacher + 9 students), and 10 x (plain + alone)
    "seeds": list(range(10)),
    "noise": {
        "class_std": [0.1 * i for i in range(1, 11)],
        "pixel_std": [0.01 * i for i in range(1, 11)],
    },
    "methods": {
        "alone": {},
        **{f"kd {i}": {"teacher": "assisted", "distillation": f"kd:{i}"} for i in range(1, 10)},
    },
}


def plan_rows() -> list[dict]:
    """Seconds of `labkit matrix status` and `labkit matrix --dry-run`, beside their budgets.

    Torch is imported before; each size is timed once.
    """
    with tempfile.TemporaryDirectory(prefix="labkit-bench-") as folder:
        complete = write_complete(Path(folder))
        planned = matrices.write(Path(folder) / "planned.yaml", runs=Path(folder) / "b", **PLANNED)
        lines, status_seconds = _timed(lambda: list(schedule.status(str(complete))))
        assert sum(line.startswith("    done") for line in lines) == 200
        lines, dry_seconds = _timed(lambda: list(schedule.dry_run(str(planned))))
        assert "10020 runs, 0 done, 10020 to do" in lines[0]
    return [
        _row("matrix status", "200 complete runs", status_seconds, 3),
        _row("matrix dry run", "10,020 planned runs", dry_seconds, 30),
    ]


def write_complete(folder: Path) -> Path:
    """A matrix file of 200 teachers, all complete, without training."""
    file = matrices.write(folder / "complete.yaml", runs=folder / "a", **COMPLETE)
    inspection = matrices.look(file)
    first = None
    for job in inspection.plan.jobs:
        run = inspection.run(job)
        if first is None:
            first = finish(run, frames=100)
            continue
        start_run(run)
        for name in ("log.jsonl", "model.safetensors", "metrics.json", "frames.npz"):
            shutil.copy(first.folder / name, run.folder / name)
        run.complete(seconds=1.0)
    return file


def _timed(call) -> tuple[list[str], float]:
    began = time.perf_counter()
    lines = call()
    return lines, time.perf_counter() - began


def _row(name: str, size: str, seconds: float, budget: float) -> dict:
    return {"name": name, "size": size, "ours": round(seconds, 2), "budget": budget, "unit": "s"}


if __name__ == "__main__":
    for row in plan_rows():
        print("  ".join(f"{name}={value}" for name, value in row.items()))
