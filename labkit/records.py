"""Run folders and their manifests. A result counts only through a manifest whose state is complete, written last.

runs/<id>/ holds config.json, log.jsonl, last.safetensors and previous.safetensors (checkpoints, while it trains),
model.safetensors, metrics.json, manifest.json, the executed notebook and what it printed.
"""

import json
import os
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import labkit
from labkit.config import StudentSettings, TeacherSettings, TrainSettings
from labkit.files import file_hash, held, read_json, remove_parts, write_json
from labkit.recipes import idle_settings, settings_hash

OUTPUTS = ("config.json", "log.jsonl", "model.safetensors", "metrics.json")


class RecordError(ValueError):
    """A run that is missing, unfinished or not what its manifest says."""


@dataclass(frozen=True)
class Run:
    """One run folder. `teacher` is the run that taught a student."""

    folder: Path
    run_id: str
    role: str  # teacher or student
    method: str  # none, kd or lad
    settings: TrainSettings  # resolved
    teacher: "Run | None" = None

    @property
    def seed(self) -> int:
        return self.settings.seed

    @property
    def state(self) -> str:
        """running, failed, complete, lost (complete, but its weights are gone since), or absent."""
        state = self.manifest().get("state", "absent")
        return "lost" if state == "complete" and not (self.folder / "model.safetensors").is_file() else state

    def manifest(self) -> dict[str, Any]:
        path = self.folder / "manifest.json"
        return read_json(path) if path.is_file() else {}

    def metrics(self) -> dict[str, Any]:
        return read_json(self.folder / "metrics.json")

    def held(self) -> AbstractContextManager[None]:
        """Keep every other process out of the folder while this one trains."""
        return held(self.folder / ".lock")

    def log_rows(self) -> list[dict[str, Any]]:
        """Rows of log.jsonl in order; a torn last line is left out."""
        path = self.folder / "log.jsonl"
        lines = path.read_text().split("\n") if path.is_file() else []
        return [json.loads(line) for line in lines[:-1]]

    def checkpoint_hash(self) -> str:
        """SHA-256 of the weights, as the manifest holds it."""
        return self.manifest()["outputs"]["model.safetensors"]

    @property
    def recipe_hash(self) -> str:
        """What was computed apart from the seed: equal for the runs of one table row. Settings that mean nothing are left out."""
        settings = self.settings.model_dump() | {"teacher": self.teacher.recipe_hash if self.teacher else ""}
        return settings_hash(settings, leave_out=self.idle_settings | {"seed"})

    @property
    def idle_settings(self) -> frozenset[str]:
        """Names of settings that mean nothing for this run."""
        return idle_settings(self.settings, taught_by=self.teacher.method if self.teacher else None)

    def mark(self, state: str, **facts: Any) -> None:
        """Write the manifest with a new state, atomically."""
        write_json(self.folder / "manifest.json", self.manifest() | {"state": state} | facts)

    def complete(self, **facts: Any) -> None:
        """The last thing a run does: hash the outputs, then say complete."""
        outputs = {name: file_hash(self.folder / name) for name in OUTPUTS}
        self.mark("complete", finished=now(), outputs=outputs, **facts)


def receipt_of(run: Run) -> dict[str, str]:
    """What a scheduler is told of a complete run: which it is, its weights, and those of its teacher."""
    return {"run_id": run.run_id, "checkpoint": run.checkpoint_hash(), "teacher": run.teacher.checkpoint_hash() if run.teacher else ""}


def project_root() -> Path:
    """Nearest folder above this package that holds pyproject.toml, never the working directory."""
    here = Path(__file__).resolve()
    return next((parent for parent in here.parents if (parent / "pyproject.toml").is_file()), here.parents[1])


def runs_folder(runs: str) -> Path:
    """The folder of run folders: as given (relative to the project's root), or runs/."""
    return project_root() / (runs or "runs")


def figures_folder(figures: str, runs: str, dataset: str) -> Path:
    """Where figures go: as given (relative to the project's root), or figures/<dataset> beside the run folders."""
    return project_root() / figures if figures else runs_folder(runs) / "figures" / dataset


def describe_run(settings: TrainSettings, teacher: Run | None = None) -> Run:
    """The run that resolved settings (and a complete teacher) make; nothing is written.

    The id is {dataset}-{role}-{method}-{architecture}-{encoder}-s{seed}-{hash8}. The hash covers the resolved settings
    and the teacher's checkpoint, not device, folders or workers.
    """
    if isinstance(settings, TeacherSettings):
        role, method = "teacher", settings.method
    else:
        role, method = "student", {None: "none", "none": "kd", "lad": "lad"}[teacher.method if teacher else None]
    hashed = settings.model_dump() | {"role": role, "teacher": teacher.checkpoint_hash() if teacher else ""}
    parts = [settings.dataset, role, method, settings.architecture, settings.encoder.replace("/", "_"), f"s{settings.seed}"]
    run_id = "-".join([*parts, settings_hash(hashed)])
    return Run(runs_folder(settings.runs) / run_id, run_id, role, method, settings, teacher)


def start_run(run: Run) -> None:
    """Make the folder, its config.json and a manifest that says running; its lock is held."""
    remove_parts(run.folder)
    write_json(run.folder / "config.json", run.settings.model_dump())
    teacher = {"run_id": run.teacher.run_id, "checkpoint": run.teacher.checkpoint_hash()} if run.teacher else None
    facts = {
        "run_id": run.run_id, "role": run.role, "method": run.method, "dataset": run.settings.dataset, "seed": run.seed,
        "recipe_hash": run.recipe_hash, "teacher": teacher, "settings": run.settings.model_dump(exclude=set(LOCAL_SETTINGS)),
        "labkit": labkit.__version__, "torch": torch.__version__,
        "started": run.manifest().get("started", now()),
    }  # fmt: skip
    write_json(run.folder / "manifest.json", facts | {"state": "running"})  # anew: nothing of a failed try stays


LOCAL_SETTINGS = ("data_root", "runs", "teacher")  # paths of one machine: never in a record that may be published


def find_run(run: str, runs: str = "") -> Run:
    """A complete run by id or folder.

    Raises:
        RecordError: no such run, or it is not complete; the message lists complete ones.
    """
    folder = next((path for path in (Path(run), runs_folder(runs) / run) if os.path.isfile(path / "manifest.json")), None)
    if folder is None:
        known = ", ".join(found.run_id for found in complete_runs(runs_folder(runs))) or "none"
        raise RecordError(f"run {run!r}: not found in {runs_folder(runs)}; complete runs there: {known}.")
    found = load_run(folder)
    if found.state != "complete":
        raise RecordError(f"run {found.run_id}: its state is {found.state}; expected complete. Run the same command again to finish it.")
    return found


def load_run(folder: Path) -> Run:
    """A run from its folder, with its teacher."""
    manifest = read_json(folder / "manifest.json")
    values = read_json(folder / "config.json")
    settings = (TeacherSettings if manifest["role"] == "teacher" else StudentSettings)(**values)
    taught_by = manifest["teacher"]
    if taught_by and not (folder.parent / taught_by["run_id"] / "manifest.json").is_file():
        raise RecordError(f"run {manifest['run_id']}: its teacher {taught_by['run_id']} is gone. Train it again, or delete this run too.")
    teacher = load_run(folder.parent / taught_by["run_id"]) if taught_by else None
    return Run(folder.resolve(), manifest["run_id"], manifest["role"], manifest["method"], settings, teacher)


def complete_runs(runs: Path, dataset: str = "") -> list[Run]:
    """Every complete run of a folder, by id, whose small outputs are still what the manifest says.

    Raises:
        RecordError: a complete run's output was changed or is gone.
    """
    found = []
    for path in sorted(runs.glob("*/manifest.json")):
        manifest = read_json(path)
        if manifest.get("state") != "complete" or (dataset and manifest["dataset"] != dataset):
            continue
        check_outputs(path.parent, manifest, ("config.json", "metrics.json", "log.jsonl"))
        found.append(load_run(path.parent))
    return found


def check_outputs(folder: Path, manifest: dict[str, Any], names: tuple[str, ...]) -> None:
    """Refuse a complete run whose outputs are not those it was completed with."""
    for name in names:
        path = folder / name
        if not path.is_file() or file_hash(path) != manifest["outputs"][name]:
            raise RecordError(
                f"run {manifest['run_id']}: {name} is not what its manifest recorded. Delete the run folder and run it again."
            )


def now() -> str:
    """UTC to the second, ISO 8601."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
