"""What `labkit train` and `labkit run` do: train in this process, or execute a notebook."""

import contextlib
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from labkit.batch import status
from labkit.batch.checks import check_figures, check_view
from labkit.batch.matrix import read_matrix
from labkit.batch.notebook import execute, notebook_parameters, was_executed
from labkit.batch.receipts import JobFiles
from labkit.errors import FileError, NotebookError, TrainingError
from labkit.records.artifacts import MANIFEST
from labkit.records.files import write_bytes, write_json
from labkit.records.folders import figures_folder, runs_folder
from labkit.records.locks import is_locked
from labkit.records.run import Run, check_outputs
from labkit.records.schema import OUTPUTS
from labkit.settings.base import Settings
from labkit.settings.paths import absolute_path, project_root
from labkit.settings.views import AttributionSettings, NoisingSettings, ResultsSettings
from labkit.training.checkpoint import drop_checkpoints
from labkit.training.distributed import launch
from labkit.training.experiment import prepare
from labkit.training.fit import fit
from labkit.training.planning import plan_run

NOTEBOOKS = {
    "noising": "00_label_noising",
    "teacher": "01_teacher_training",
    "student": "02_student_distillation",
    "results": "03_results",
    "attribution": "04_attribution",
}
VIEWS: dict[str, type[Settings]] = {
    "noising": NoisingSettings,
    "results": ResultsSettings,
    "attribution": AttributionSettings,
}
PATIENCE_SECONDS = 86_400  # a notebook that only shows waits for another process that executes it


def train(
    role: str, values: Mapping[str, Any], *, devices: int = 1, receipt: JobFiles | None = None
) -> Run:
    """Train the run that a role and its settings make; a complete one is verified and left alone.

    Args:
        devices: processes of this machine that train it together.
        receipt: written last, for a scheduler.

    Raises:
        LabkitError: by kind; nothing is started where settings, teacher or data have faults.
    """
    run = plan_run(role, values)
    if run.state == "complete":
        check_outputs(run, OUTPUTS)
        drop_checkpoints(run)  # left by a kill between the manifest and their removal
        print(f"{run.run_id}: complete, nothing to do", flush=True)
    elif devices > 1:
        _train_together(run, role, values, devices)
    else:
        fit(prepare(run))
    if receipt:
        write_json(receipt.receipt, status.receipt_of(run))
    return run


def _train_together(run: Run, role: str, values: Mapping[str, Any], devices: int) -> None:
    """Train a run in several processes under torchrun.

    Raises:
        TrainingError: a process failed.
    """
    pairs = [part for name, value in values.items() for part in ("--set", f"{name}={value}")]
    code = launch(["train", role, *pairs], devices)
    if code or run.state != "complete":
        raise TrainingError(
            f"{run.run_id}: its {devices} processes ended with code {code}, the run {run.state}; "
            "their messages are above."
        )


def run_notebook(
    name: str,
    values: Mapping[str, Any],
    *,
    timeout: float = 0,
    receipt: JobFiles | None = None,
    matrix: str = "",
) -> Path:
    """Execute a notebook with its settings checked first.

    A training notebook trains its run where that is not complete and otherwise shows it; one that
    was executed for the complete run as it is now is not executed again.

    Args:
        name: of `NOTEBOOKS`.
        timeout: seconds for the whole notebook; 0 = no limit.
        receipt: written last, for a scheduler; the executed notebook is kept beside it.
        matrix: the matrix file that a view is made for, where its settings do not name it.

    Returns:
        The executed notebook.

    Raises:
        LabkitError: by kind; nothing is started where settings or data have faults.
        NotebookError: the notebook did not finish, or finished without its result.
    """
    if name in VIEWS:
        executed = _run_view(name, VIEWS[name](**values), values, timeout, receipt)
    else:
        executed = _run_training(name, values, timeout)
    if receipt:
        made = (
            _facts(plan_run(name, values))
            if name not in VIEWS
            else _receipt_of_view(matrix or values["matrix"])
        )
        write_json(receipt.receipt, made)
    return executed


def _run_training(role: str, values: Mapping[str, Any], timeout: float) -> Path:
    run = plan_run(role, values)
    executed = run.folder / f"{NOTEBOOKS[role]}.ipynb"
    complete = run.state == "complete"
    if complete:
        check_outputs(run, OUTPUTS)
    if complete and was_executed(executed, {"checkpoint": run.checkpoint_hash()}):
        print(f"{run.run_id}: complete, and its notebook was executed", flush=True)
        return executed
    given = dict(values) | ({"teacher": run.teacher.run_id} if run.teacher else {})
    try:
        execute(
            *_paths(role, executed),
            _parameters(role, given),
            timeout=timeout,
            facts=lambda: _facts(run),
        )
    except NotebookError as error:
        _mark_failed(run, str(error).partition("\n")[0])
        raise
    if run.state != "complete":
        raise NotebookError(
            f"{executed.stem}: ended with the run {run.state}; expected complete. "
            f"Evidence: {executed}."
        )
    return executed


def _run_view(
    name: str,
    settings: Settings,
    values: Mapping[str, Any],
    timeout: float,
    receipt: JobFiles | None,
) -> Path:
    folder, figures = _view_folders(name, settings)
    check_figures(figures)
    check_view(settings)
    executed = folder / f"{NOTEBOOKS[name]}.ipynb"
    if is_locked(folder / ".notebook.lock"):
        print(f"{executed}: another process executes it; waiting", flush=True)
    began = time.time()
    try:
        execute(
            *_paths(name, executed),
            _parameters(name, values),
            timeout=timeout,
            patience=PATIENCE_SECONDS,
        )
    finally:
        if receipt and executed.is_file():
            write_bytes(receipt.notebook, executed.read_bytes())
    manifest = figures / MANIFEST
    if not (manifest.is_file() and manifest.stat().st_mtime >= began - 1):
        raise NotebookError(
            f"{executed.stem}: ended without writing to {manifest}. Evidence: {executed}."
        )
    print(f"tables and figures: {figures}", flush=True)
    return executed


def _view_folders(name: str, settings: Any) -> tuple[Path, Path]:
    """Folder of the executed notebook, and folder of what it makes."""
    if isinstance(settings, ResultsSettings):
        matrix = read_matrix(settings.matrix)
        figures = absolute_path(settings.figures) if settings.figures else matrix.figures_folder
        return matrix.state_folder / status.key_of_last(matrix, status.TABLES), figures
    folder = runs_folder(settings.runs) / "notebooks" / f"{settings.dataset}-{name}"
    return folder, figures_folder(settings.figures, settings.runs, settings.dataset)


def _receipt_of_view(matrix: str) -> dict[str, Any]:
    return status.inspect(read_matrix(matrix)).last_receipt()


def _paths(name: str, executed: Path) -> tuple[Path, Path]:
    return project_root() / "notebooks" / executed.name, executed


def _parameters(name: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Values as the notebook takes them: its own parameters by name, all others as `overrides`."""
    known = notebook_parameters(project_root() / "notebooks" / f"{NOTEBOOKS[name]}.ipynb")
    values = _for_any_folder(values)
    parameters = {key: value for key, value in values.items() if key in known}
    others = {key: value for key, value in values.items() if key not in known}
    if others:
        parameters["overrides"] = ", ".join(f"{key}={value}" for key, value in others.items())
    return parameters


def _for_any_folder(values: Mapping[str, Any]) -> dict[str, Any]:
    """Paths made absolute, because a kernel works in the notebook's folder, not in the caller's."""
    values = dict(values)
    if os.environ.get("LABKIT_DATA"):
        os.environ["LABKIT_DATA"] = str(Path(os.environ["LABKIT_DATA"]).expanduser().absolute())
    if values.get("data_root"):
        values["data_root"] = str(Path(values["data_root"]).expanduser().absolute())
    if values.get("matrix"):
        values["matrix"] = str(read_matrix(values["matrix"]).path)
    return values


def _facts(run: Run) -> dict[str, Any]:
    return {"checkpoint": run.checkpoint_hash()} if run.state == "complete" else {}


def _mark_failed(run: Run, reason: str) -> None:
    """Record in the manifest what a kernel that was killed could not record itself."""
    with contextlib.suppress(FileError), run.lock():
        if run.state == "running":
            run.mark("failed", error=reason)
