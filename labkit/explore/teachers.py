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
SHARED = ("dataset", "architecture", "encoder", "train_steps", "train_size", "score_split")

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


def related_runs(runs: list[Run], run: Run | None) -> list[Run]:
    """A run, the same student alone, and the run's teacher, where they are complete; else the runs
    as they come.

    Args:
        run: None: the first student with a teacher.
    """
    begun = [one for one in runs if run and one.run_id == run.run_id]
    first = next(iter([*begun, *(one for one in runs if one.teacher), *runs]))
    others = [one for one in runs if one.run_id != first.run_id]
    teacher = [one for one in others if first.teacher and one.run_id == first.teacher.run_id]
    alone = [one for one in others if one.kind == "alone" and _student(one) == _student(first)]
    alone.sort(key=lambda one: one.settings.seed != first.settings.seed)
    return [first, *(alone or ([] if teacher else others))[:1], *teacher]


def _student(run: Run) -> dict[str, Any]:
    """What a student and its baseline have in common, the seed excepted."""
    return {name: getattr(run.settings, name) for name in SHARED}


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


def folder_of(run: Run, settings: Place) -> str:
    """The setting `runs` of a run: the notebook's, or the folder of small ones."""
    folder = run.folder.parent
    return settings.runs if folder == runs_folder(settings.runs) else str(folder)


def widest_noise(runs: list[Run]) -> float:
    """The end of a slider of pixel noise: 2, or more where a teacher was trained with more."""
    return max([2, *(run.settings.pixel_std for run in runs if run.kind == "assisted")])


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
