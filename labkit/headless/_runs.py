"""Which notebooks there are, and what counts as having run one: a complete manifest, or the product it is there for."""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from labkit.config import AnalysisSettings, NoisingSettings, Settings, StudentSettings, StudySettings, TeacherSettings
from labkit.files import FileError, write_bytes, write_json
from labkit.headless._notebook import HeadlessError, execute
from labkit.matrix import plan, read_matrix, study_files, study_of
from labkit.planning import checked, look_through, planned_run
from labkit.products import MANIFEST
from labkit.receipts import JobFiles
from labkit.records import OUTPUTS, Run, check_outputs, figures_folder, project_root, receipt_of, runs_folder

NOTEBOOKS: dict[str, tuple[str, type[Settings]]] = {
    "noising": ("00_label_noising", NoisingSettings),
    "teacher": ("01_teacher_training", TeacherSettings),
    "student": ("02_student_distillation", StudentSettings),
    "analysis": ("03_analysis", AnalysisSettings),
    "study": ("04_study", StudySettings),
}
TRAINING = ("teacher", "student")
THREAD = ("noising", *TRAINING, "analysis")  # what `labkit run all` runs


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
        RecordError: the run is complete, but an output is not what its manifest recorded; nothing is started.
        HeadlessError: the notebook did not end, or ended without what it is there for.
    """
    run = planned_run(settings) if name in TRAINING else None
    folder = _folder(name, settings)
    if run and run.state == "complete":
        check_outputs(run.folder, run.manifest(), OUTPUTS)
        print(f"{run.run_id}: complete, skipped")
        return folder
    for split in ("train", "val") if run else ("val",) if name != "study" else ():
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
        product = _product(name, settings)
        if not (product.is_file() and product.stat().st_mtime >= began - 1):
            raise HeadlessError(f"{executed.stem}: ended without writing {product}. Evidence: {executed}.")
    return folder


def _folder(name: str, settings: Settings) -> Path:
    """Where the executed notebook goes."""
    if name in TRAINING:
        return planned_run(settings).folder
    if isinstance(settings, StudySettings):
        return study_files(read_matrix(settings.matrix)).receipt.with_suffix("")
    return runs_folder(settings.runs) / f"{settings.dataset}-{name}"


def _product(name: str, settings: Settings) -> Path:
    """The last file a notebook that trains nothing writes."""
    if isinstance(settings, StudySettings):
        folder = project_root() / settings.figures if settings.figures else read_matrix(settings.matrix).figures_folder
        return folder / MANIFEST
    last = "noising.png" if name == "noising" else f"contribution_{settings.category}.png"
    return figures_folder(settings.figures, settings.runs, settings.dataset) / last


def run_job(name: str, settings: Settings, files: JobFiles, *, timeout: float = 0) -> Path:
    """The same as a scheduler's job: the executed notebook is kept beside the receipt, which is written last.

    Raises:
        as `run_notebook`; there is no receipt then.
    """
    executed = _folder(name, settings) / f"{NOTEBOOKS[name][0]}.ipynb"
    try:
        folder = run_notebook(name, settings, timeout=timeout)
    finally:
        if executed.is_file():
            write_bytes(files.notebook, executed.read_bytes())
    write_json(files.receipt, receipt_of(planned_run(settings)) if name in TRAINING else _study_receipt(settings))
    return folder


def _study_receipt(settings: Settings) -> dict[str, str]:
    matrix = read_matrix(settings.matrix)
    return {"made_from": study_of(matrix, plan(matrix))}


def _mark_failed(run: Run, reason: str) -> None:
    """What a kernel that was killed could not write into its manifest itself."""
    with contextlib.suppress(FileError), run.held():
        if run.state == "running":
            run.mark("failed", error=reason)


def _terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def end_with(parent: int, end: Callable[[], None] = _terminate) -> None:
    """End this process in order when its parent is gone, so that a killed `labkit run all` leaves nothing training.

    Args:
        end: what ends it; called once, in a thread.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        end()

    threading.Thread(target=watch, daemon=True).start()


def _for_any_folder(parameters: dict[str, Any]) -> dict[str, Any]:
    """Paths made absolute, because a kernel works in the notebook's folder, not in the caller's."""
    if os.environ.get("LABKIT_DATA"):
        os.environ["LABKIT_DATA"] = str(Path(os.environ["LABKIT_DATA"]).absolute())
    if parameters.get("data_root"):
        parameters["data_root"] = str(Path(parameters["data_root"]).absolute())
    if parameters.get("matrix"):
        parameters["matrix"] = str(read_matrix(parameters["matrix"]).path)
    return parameters
