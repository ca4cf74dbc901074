"""Which notebooks there are, and what counts as having run one: a complete manifest, or the product it is there for."""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from labkit.config import AnalysisSettings, NoisingSettings, Settings, StudentSettings, TeacherSettings
from labkit.files import FileError
from labkit.headless._notebook import HeadlessError, execute
from labkit.planning import checked, look_through, planned_run
from labkit.records import Run, figures_folder, project_root, runs_folder

NOTEBOOKS: dict[str, tuple[str, type[Settings]]] = {
    "noising": ("00_label_noising", NoisingSettings),
    "teacher": ("01_teacher_training", TeacherSettings),
    "student": ("02_student_distillation", StudentSettings),
    "analysis": ("03_analysis", AnalysisSettings),
}
TRAINING = ("teacher", "student")


def check_settings(name: str, values: Mapping[str, Any], *, taught_by: str | None = None) -> Settings:
    """Settings of one notebook by its short name, checked; see `planning.checked`."""
    return checked(NOTEBOOKS[name][1], values, taught_by=taught_by)


def run_notebook(name: str, settings: Settings, *, timeout: float = 0) -> Path:
    """Execute one notebook with checked settings; a complete training run is not run again.

    Args:
        timeout: seconds; 0 = no limit.

    Returns:
        The folder that holds the executed notebook.

    Raises:
        DataError: a file of the data set cannot be used; nothing is started.
        HeadlessError: the notebook did not end, or ended without what it is there for.
    """
    run = planned_run(settings) if name in TRAINING else None
    folder = run.folder if run else runs_folder(settings.runs) / f"{settings.dataset}-{name}"
    if run and run.state == "complete":
        print(f"{run.run_id}: complete, skipped")
        return folder
    for split in ("train", "val") if run else ("val",):
        look_through(settings, split)
    began = time.time()
    executed = folder / f"{NOTEBOOKS[name][0]}.ipynb"
    parameters = settings.model_dump(include=settings.model_fields_set)
    if run and run.teacher:
        parameters["teacher"] = run.teacher.run_id
    try:
        execute(project_root() / "notebooks" / executed.name, executed, _for_any_folder(parameters), timeout=timeout)
    except HeadlessError as error:
        if run:
            _mark_failed(run, str(error).partition("\n")[0])
        raise
    if run and run.state != "complete":
        raise HeadlessError(f"{executed.stem}: ended with the run {run.state}; expected complete. Evidence: {executed}.")
    if not run:
        last = "noising.png" if name == "noising" else f"contribution_{settings.category}.png"
        product = figures_folder(settings.figures, settings.runs, settings.dataset) / last
        if not (product.is_file() and product.stat().st_mtime >= began - 1):
            raise HeadlessError(f"{executed.stem}: ended without writing {product}. Evidence: {executed}.")
    return folder


def _mark_failed(run: Run, reason: str) -> None:
    """What a kernel that was killed could not write into its manifest itself."""
    with contextlib.suppress(FileError), run.held():
        if run.state == "running":
            run.mark("failed", error=reason)


def end_with(parent: int) -> None:
    """End this process in order when its parent is gone, so that a killed `labkit run all` leaves nothing training."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


def _for_any_folder(parameters: dict[str, Any]) -> dict[str, Any]:
    """Paths made absolute, because a kernel works in the notebook's folder, not in the caller's."""
    if os.environ.get("LABKIT_DATA"):
        os.environ["LABKIT_DATA"] = str(Path(os.environ["LABKIT_DATA"]).absolute())
    if parameters.get("data_root"):
        parameters["data_root"] = str(Path(parameters["data_root"]).absolute())
    return parameters
