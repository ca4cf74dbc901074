"""Which finished teachers there are to look into, and how to come by one."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from torch import Tensor

from labkit import experiments
from labkit.config import Settings, TeacherSettings
from labkit.datasets import Batch, Split, frames_batch
from labkit.engine import TrainingError
from labkit.experiments import Experiment
from labkit.explorers._view import Explorer, Missing, batch_lines
from labkit.planning import planned_run
from labkit.records import LOCAL_SETTINGS, RecordError, Run, complete_runs, runs_folder

DEMO = "runs/demo"  # where `make demo` puts its runs
SMALL = "small"  # folder within the notebook's runs: teachers trained from an explorer are in nobody's table

# Large enough to lean on its label, small enough to wait for; on streets, whatever the notebook's data set.
SMALL_TEACHER = {
    "dataset": "streets", "train_size": 100, "val_size": 20, "height": 32, "width": 64, "crop_height": 32, "crop_width": 64,
    "train_steps": 400, "consistency_weight": 0, "label_scale": 4, "log_every_steps": 5, "evaluate_every_steps": 400,
}  # fmt: skip


class Teachers:
    """Finished teachers by run id, each loaded when first looked at and kept."""

    def __init__(self, runs: list[Run], *, data_root: str) -> None:
        self.runs = {run.run_id: run for run in runs}
        self._data_root = data_root
        self._loaded: dict[str, Experiment] = {}

    def experiment(self, run_id: str) -> Experiment:
        """On the CPU: an explorer asks for one frame at a time."""
        if run_id not in self._loaded:
            self._loaded[run_id] = experiments.load_experiment(self.runs[run_id], data_root=self._data_root, device="cpu", threads=0)
        return self._loaded[run_id]


def find_teachers(settings: Settings, *, assisted: bool) -> list[Run]:
    """Complete teachers of the notebook's data set: of its runs folder (and of `make demo`, where it names none), assisted ones first.

    A folder whose records do not hold is passed over; the tables of `03_analysis` refuse it in words.
    """
    folders = [runs_folder(settings.runs), runs_folder(settings.runs) / SMALL]
    folders += [] if settings.runs else [runs_folder(DEMO)]
    found: dict[str, Run] = {}
    for folder in folders:
        for run in _complete(folder, settings.dataset):
            if run.role == "teacher" and (run.method == "lad" or not assisted):
                found.setdefault(run.run_id, run)
    return sorted(found.values(), key=lambda run: run.method != "lad")


def missing(name: str, settings: Settings, then: Callable[[], Explorer | Missing]) -> Missing:
    """No teacher: say so, and offer a small one."""
    small = TeacherSettings(**SMALL_TEACHER, runs=str(runs_folder(settings.runs) / SMALL))
    run = planned_run(small)
    other = "" if settings.dataset == small.dataset else f" A small one can be trained on {small.dataset} alone: set dataset=streets."
    where = "" if settings.runs else f" or {DEMO} (make demo)"
    return Missing(
        name=name,
        sentence=f"There is no finished assisted teacher of {settings.dataset} in {settings.runs or 'runs'}{where} to look into.{other}",
        offer="" if other else f"Train a small one ({small.train_steps} steps)",
        train=lambda: _train_apart(small),
        progress=lambda: max([row["step"] for row in run.log_rows()], default=0) / small.train_steps,
        then=then,
    )


def _train_apart(settings: TeacherSettings) -> None:
    """Train it in a process of its own: the notebook stays free, and nothing is printed into its cells.

    Raises:
        TrainingError: it failed; the message ends in its last lines.
    """
    command = [sys.executable, "-m", "labkit.explorers", settings.model_dump_json()]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        raise TrainingError("training stopped: " + " ".join((done.stdout + done.stderr).splitlines()[-3:]))


def one_frame(experiment: Experiment, frame: int) -> tuple[Tensor, Batch]:
    """(3, H, W) uint8 and a batch of one frame of the validation split; a number too high takes the last."""
    split: Split = experiment.val_split
    frame = min(frame, len(split) - 1)
    return split[frame].image, frames_batch(split, experiment.info, [frame])


def teacher_lines(run: Run, changes: dict[str, object]) -> dict[str, str]:
    """Lines that train this teacher anew with some settings changed."""
    settings = run.settings
    base = {"dataset": settings.dataset, "recipe": settings.recipe, "method": run.method}
    usual = planned_run(TeacherSettings(**base)).settings.model_dump()
    own = settings.model_dump(exclude={*LOCAL_SETTINGS, "device", "threads", "workers"}) | changes
    own = {name: value for name, value in own.items() if name not in run.idle_settings}
    plain = TeacherSettings().model_dump()
    values = {name: value for name, value in own.items() if (value != plain[name] if name in base else value != usual[name])}
    return batch_lines("teacher", "01_teacher_training", values)


def _complete(folder: Path, dataset: str) -> list[Run]:
    try:
        return complete_runs(folder, dataset)
    except RecordError:
        return []
