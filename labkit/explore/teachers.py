"""Finished teachers to explore, and how to train a small one."""

import shlex
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

from labkit.errors import TrainingError
from labkit.explore.view import Explorer, Missing, Place
from labkit.records import Run, runs_folder, scan_runs
from labkit.settings import LOCAL_FIELDS, make_settings
from labkit.training.experiment import Experiment, load_experiment, plan_run

SMALL = "small"  # folder within the runs folder: teachers trained from an explorer are in no table

# Large enough to use its label, small enough to wait for; on streets, whatever the data set.
SMALL_TEACHER = {
    "dataset": "streets", "train_size": 100, "val_size": 20, "resize": "32x64",
    "score_size": "32x64", "crop_height": 32, "crop_width": 64, "train_steps": 400,
    "consistency_weight": 0, "label_scale": 4, "log_every_steps": 5, "evaluate_every_steps": 400,
}  # fmt: skip


class Teachers:
    """Finished teachers by run id, each loaded at first use and kept."""

    def __init__(self, runs: list[Run], *, data_root: str) -> None:
        self.runs = {run.run_id: run for run in runs}
        self._changes = {"data_root": data_root} if data_root else {}
        self._loaded: dict[str, Experiment] = {}
        self._lock = threading.Lock()

    def experiment(self, run_id: str) -> Experiment:
        """On the CPU: an explorer needs one frame at a time. Safe to call from several threads."""
        with self._lock:
            if run_id not in self._loaded:
                run, changes = self.runs[run_id], self._changes
                self._loaded[run_id] = load_experiment(run, device="cpu", threads=0, **changes)
            return self._loaded[run_id]


def find_runs(settings: Place) -> list[Run]:
    """Complete runs of the notebook's data set and runs folder; damaged ones are left out."""
    folder = runs_folder(settings.runs)
    return [
        run
        for one in (folder, folder / SMALL)
        for run in scan_runs(one, dataset=settings.dataset).runs
    ]


def find_teachers(settings: Place, *, assisted: bool) -> list[Run]:
    """Teachers among `find_runs`, assisted ones first.

    Args:
        assisted: only assisted ones.
    """
    runs = find_runs(settings)
    teachers = [
        run for run in runs if run.role == "teacher" and (run.kind == "assisted" or not assisted)
    ]
    return sorted(teachers, key=lambda run: (run.kind != "assisted", run.run_id))


def missing(name: str, settings: Place, then: Callable[[], Explorer | Missing]) -> Missing:
    """There is no teacher: a sentence, and the offer to train a small one."""
    small = SMALL_TEACHER | {"runs": str(runs_folder(settings.runs) / SMALL)}
    run = plan_run("teacher", small)
    other = settings.dataset != small["dataset"]
    hint = " A small one can be trained on streets only: set dataset=streets." if other else ""
    return Missing(
        name=name,
        sentence=f"There is no complete assisted teacher of {settings.dataset} in "
        f"{settings.runs}.{hint}",
        offer="" if other else f"Train a small one ({small['train_steps']} steps)",
        train=lambda: _train(small),
        progress=lambda: (
            max([row["step"] for row in run.log_rows()], default=0) / small["train_steps"]
        ),
        then=then,
    )


def _train(values: dict[str, Any]) -> None:
    """Train in a process of its own, so that the notebook stays free and nothing is printed into
    its cells.

    Raises:
        TrainingError: it failed; the message ends in its last lines.
    """
    pairs = [part for name, value in values.items() for part in ("--set", f"{name}={value}")]
    command = [sys.executable, "-m", "labkit", "train", "teacher", *pairs]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        lines = (done.stdout + done.stderr).splitlines()
        raise TrainingError("training stopped: " + " ".join(lines[-3:]))


def run_name(run: Run) -> str:
    """A short name of a run for lists: what tells it from others comes first."""
    settings = run.settings
    network = f"{settings.architecture}/{settings.encoder}"
    return f"{run.kind} s{settings.seed} {run.run_id[-8:]} {run.role} {network}"


def training_line(run: Run, changes: dict[str, Any]) -> str:
    """A command that trains such a teacher with some settings changed."""
    settings = run.settings
    base = {"dataset": settings.dataset, "recipe": settings.recipe, "data_root": settings.data_root}
    kind = {} if run.kind == "assisted" else {"assisted": False}
    usual = make_settings("teacher", base | kind).model_dump()
    own = {**settings.model_dump(exclude=set(LOCAL_FIELDS)), **changes}
    values = {
        name: value for name, value in own.items() if name in base or value != usual.get(name)
    }
    values.pop("data_root", None)
    pairs = [
        part for name, value in (kind | values).items() for part in ("--set", f"{name}={value}")
    ]
    return shlex.join(["labkit", "train", "teacher", *pairs])
