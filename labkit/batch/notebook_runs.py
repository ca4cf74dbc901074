"""Execute the notebooks of `labkit run`, with their parameters checked first."""

import contextlib
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from labkit.batch import status
from labkit.batch.checks import check_figures, check_view
from labkit.batch.commands import facts_of
from labkit.batch.executed import NOTEBOOKS
from labkit.batch.matrix import read_matrix
from labkit.batch.notebook import execute, notebook_parameters
from labkit.batch.receipts import JobFiles
from labkit.errors import FileError, NotebookError
from labkit.records.artifacts import MANIFEST
from labkit.records.files import write_bytes
from labkit.records.folders import figures_folder, runs_folder
from labkit.records.locks import NOTEBOOK_LOCK, is_locked
from labkit.records.run import Run
from labkit.settings.base import Settings
from labkit.settings.paths import absolute_path, project_root
from labkit.settings.views import ResultsSettings

PATIENCE_SECONDS = 86_400  # a notebook that only shows waits for another process that executes it


def execute_training(
    role: str, run: Run, executed: Path, values: Mapping[str, Any], timeout: float
) -> None:
    """Execute the notebook of a run, which trains it where it is not complete.

    Raises:
        NotebookError: the notebook did not finish, or ended without a complete run.
    """
    given = dict(values) | ({"teacher": run.teacher.run_id} if run.teacher else {})
    try:
        execute(
            *_paths(role, executed),
            _parameters(role, given),
            timeout=timeout,
            facts=lambda: facts_of(run),
        )
    except NotebookError as error:
        _mark_failed(run, str(error).partition("\n")[0])
        raise
    if run.state != "complete":
        raise NotebookError(
            f"{executed.stem}: ended with the run {run.state}; expected complete. "
            f"Evidence: {executed}."
        )


def execute_view(
    name: str,
    settings: Settings,
    values: Mapping[str, Any],
    timeout: float,
    receipt: JobFiles | None,
) -> Path:
    """Execute a notebook that trains nothing.

    Returns:
        The executed notebook.

    Raises:
        NotebookError: it did not finish, or ended without its figures.
    """
    folder, figures = _view_folders(name, settings)
    check_figures(figures)
    check_view(settings)
    executed = folder / f"{NOTEBOOKS[name]}.ipynb"
    if is_locked(folder / NOTEBOOK_LOCK):
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
            f"{executed.stem}: ended without writing to {manifest}; the output of its cells may "
            f"give the reason. Evidence: {executed}."
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


def receipt_of_view(name: str, matrix: str) -> dict[str, Any]:
    """The receipt of the job of a matrix that executes a notebook: results or attribution."""
    what = status.ATTRIBUTION if name == "attribution" else status.TABLES
    return status.inspect(read_matrix(matrix)).last_receipt(what)


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


def _mark_failed(run: Run, reason: str) -> None:
    """Record in the manifest what a kernel that was killed could not record itself."""
    with contextlib.suppress(FileError), run.lock():
        if run.state == "running":
            run.mark("failed", error=reason)
