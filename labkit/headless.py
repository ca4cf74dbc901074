"""How notebooks run with nobody watching. The only door to papermill; a run counts by its manifest, not by papermill's word."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import papermill
import torch
from nbclient.exceptions import DeadKernelError
from papermill.exceptions import PapermillExecutionError
from traitlets.config import Config

from labkit.config import AnalysisSettings, NoisingSettings, Settings, SettingsError, StudentSettings, TeacherSettings, nearest_name
from labkit.datasets import dataset_info, dataset_recipe
from labkit.experiments import planned_run
from labkit.models import check_names
from labkit.records import figures_folder, project_root, runs_folder

NOTEBOOKS: dict[str, tuple[str, type[Settings]]] = {
    "noising": ("00_label_noising", NoisingSettings),
    "teacher": ("01_teacher_training", TeacherSettings),
    "student": ("02_student_distillation", StudentSettings),
    "analysis": ("03_analysis", AnalysisSettings),
}
TRAINING = ("teacher", "student")
PROGRESS_SECONDS = 20
ALL_SETS = {"method", "teacher"}  # what `labkit run all` decides itself


class HeadlessError(RuntimeError):
    """A notebook did not do what it was run for. The message names the cell, the reason and the evidence kept."""


def check_settings(name: str, values: Mapping[str, Any]) -> Settings:
    """Settings of one notebook, checked as far as can be without data: names, types, ranges, data set, recipe, teacher.

    Raises:
        SettingsError, RecordError: every fault named.
    """
    settings = NOTEBOOKS[name][1](**values)
    info = dataset_info(settings.dataset)
    if isinstance(settings, TeacherSettings | StudentSettings):
        resolved = planned_run(settings).settings
        check_names(resolved.architecture, resolved.encoder)
    elif isinstance(settings, NoisingSettings):
        dataset_recipe(settings.dataset, settings.recipe)
        if settings.weights == "fixed" and settings.label_channels > 1:
            raise SettingsError("setting label_channels: more than 1 with weights=fixed; the ramp is one code. Use weights=random.")
    elif isinstance(settings, AnalysisSettings) and settings.category not in info.class_names:
        raise SettingsError(f"setting category: got {settings.category!r}; {info.name} has {', '.join(info.class_names)}.")
    return settings


def run_notebook(name: str, settings: Settings) -> Path:
    """Execute one notebook with checked settings; a complete training run is not run again.

    Returns:
        The folder that holds the executed notebook.

    Raises:
        HeadlessError: a cell failed, or the notebook ended without what it is there for.
    """
    run = planned_run(settings) if name in TRAINING else None
    folder = run.folder if run else runs_folder(settings.runs) / f"{settings.dataset}-{name}"
    if run and run.state == "complete":
        print(f"{run.run_id}: complete, skipped")
        return folder
    began = time.time()
    executed = folder / f"{NOTEBOOKS[name][0]}.ipynb"
    parameters = settings.model_dump(include=settings.model_fields_set)
    if run and run.teacher:
        parameters["teacher"] = run.teacher.run_id
    execute(project_root() / "notebooks" / executed.name, executed, _for_any_folder(parameters))
    if run and run.state != "complete":
        raise HeadlessError(f"{executed.stem}: ended with the run {run.state}; expected complete. Evidence: {executed}.")
    if not run:
        last = "noising.png" if name == "noising" else f"contribution_{settings.category}.png"
        product = figures_folder(settings.figures, settings.runs, settings.dataset) / last
        if not (product.is_file() and product.stat().st_mtime >= began - 1):
            raise HeadlessError(f"{executed.stem}: ended without writing {product}. Evidence: {executed}.")
    return folder


def _for_any_folder(parameters: dict[str, Any]) -> dict[str, Any]:
    """Paths made absolute, because a kernel works in the notebook's folder, not in the caller's."""
    if os.environ.get("LABKIT_DATA"):
        os.environ["LABKIT_DATA"] = str(Path(os.environ["LABKIT_DATA"]).absolute())
    if parameters.get("data_root"):
        parameters["data_root"] = str(Path(parameters["data_root"]).absolute())
    return parameters


def execute(source: Path, executed: Path, parameters: dict[str, Any]) -> None:
    """One notebook through papermill, on a kernel of its own over IPC (no ports to race for).

    Raises:
        HeadlessError: a cell failed or the kernel died; `executed` keeps the evidence.
    """
    executed.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="labkit-") as private:  # IPC cross-talks unless every kernel has its own folder
        kernel = Config({"KernelManager": {"transport": "ipc", "connection_file": f"{private}/kernel.json"}})
        try:
            papermill.execute_notebook(
                source, executed, parameters=parameters, cwd=source.parent, progress_bar=False,
                stdout_file=sys.stdout, stderr_file=sys.stderr, config=kernel,
            )  # fmt: skip
        except DeadKernelError as error:
            raise HeadlessError(f"{source.stem}: its kernel died ({error}); out of memory? Evidence: {executed}.") from error
        except PapermillExecutionError as error:
            raise HeadlessError(f"{source.stem}, cell {error.cell_index}: {error.ename}: {error.evalue}\nEvidence: {executed}.") from error


@dataclass(frozen=True)
class _Job:
    """One `labkit run` of the thread; `after` names the job whose run teaches it."""

    title: str
    notebook: str
    values: dict[str, Any]
    after: str = ""


def run_all(values: Mapping[str, Any], *, seeds: list[int], jobs: int) -> list[str]:
    """The thread: plain and assisted teacher, student alone and of each teacher, noising, analysis. What is complete is skipped.

    Args:
        values: settings; `teacher.name` and `student.name` reach that role alone, any other reaches all that know it.
        seeds: the five runs are made for each.
        jobs: processes side by side; 0 = two on a CPU of two cores or more, else one.

    Returns:
        Titles of the jobs that failed, in order.
    """
    routed = {name: route(name, values) for name in NOTEBOOKS}
    jobs = jobs or (1 if torch.cuda.is_available() else min(2, os.cpu_count() or 1))
    threads = {} if torch.cuda.is_available() else {"threads": max(1, (os.cpu_count() or 1) // jobs)}
    plan: list[_Job] = []
    for seed in dict.fromkeys(seeds):
        own = threads | {"seed": seed}
        teacher, student = own | routed["teacher"], own | routed["student"]
        plan += [
            _Job(f"assisted teacher s{seed}", "teacher", teacher | {"method": "lad"}),
            _Job(f"plain teacher s{seed}", "teacher", teacher | {"method": "none"}),
            _Job(f"student alone s{seed}", "student", student),
            _Job(f"student of plain s{seed}", "student", student, after=f"plain teacher s{seed}"),
            _Job(f"student of assisted s{seed}", "student", student, after=f"assisted teacher s{seed}"),
        ]
    for job in plan:
        check_settings(job.notebook, job.values)
    last = [("noising", routed["noising"]), ("analysis", threads | routed["analysis"])]
    for name, given in last:
        check_settings(name, given)
    logs = runs_folder(str(values.get("runs", ""))) / "logs"
    failed = _run_jobs(plan, jobs, logs)
    return failed + _run_jobs([_Job(name, name, given) for name, given in last], 1, logs)


def route(name: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of `labkit run all` that one notebook takes.

    Raises:
        SettingsError: a name no notebook knows, or one that `all` sets itself.
    """
    known = {notebook: set(settings.model_fields) for notebook, (_, settings) in NOTEBOOKS.items()}
    taken = {}
    for full, value in values.items():
        role, _, plain = full.rpartition(".")
        if plain in ALL_SETS or plain == "seed":
            hint = "use --seeds" if plain == "seed" else "labkit run all sets it itself"
            raise SettingsError(f"setting {full}: not here; {hint}.")
        if role not in ("", *NOTEBOOKS) or not any(plain in known[notebook] for notebook in ([role] if role else NOTEBOOKS)):
            every = set().union(*known.values())
            raise SettingsError(f"setting {full}: no notebook has it; {nearest_name(plain, every)}")
        if role in ("", name) and plain in known[name]:
            taken[plain] = value
    return taken


def _run_jobs(plan: list[_Job], jobs: int, logs: Path) -> list[str]:
    """Independent jobs side by side; a student waits for its teacher and is left out where that failed."""
    done: dict[str, Future[bool]] = {}
    running: set[subprocess.Popen] = set()

    def work(job: _Job) -> bool:
        values = dict(job.values)
        if job.after:
            if done[job.after].result():
                _say(job, "left out, its teacher failed")
                return True
            teacher = next(one for one in plan if one.title == job.after)
            values["teacher"] = planned_run(TeacherSettings(**teacher.values)).run_id
        if job.notebook in TRAINING and planned_run(NOTEBOOKS[job.notebook][1](**values)).state == "complete":
            _say(job, "complete, skipped")
            return False
        return _run_job(job, values, logs, running)

    pool = ThreadPoolExecutor(jobs)
    try:
        for job in plan:  # teachers stand before their students, so waiting cannot lock up
            done[job.title] = pool.submit(work, job)
        return [title for title, failed in done.items() if failed.result()]
    except BaseException:  # Ctrl-C: nothing new starts, and what runs is interrupted like a notebook
        pool.shutdown(wait=False, cancel_futures=True)
        for process in list(running):
            process.send_signal(signal.SIGINT)
        raise
    finally:
        pool.shutdown()


def _run_job(job: _Job, values: dict[str, Any], logs: Path, running: set[subprocess.Popen]) -> bool:
    """One `labkit run` in a process of its own; prints how it goes, returns whether it failed."""
    logs.mkdir(parents=True, exist_ok=True)
    log = logs / f"{job.title.replace(' ', '_')}.log"
    command = [sys.executable, "-m", "labkit", "run", job.notebook]
    command += [part for name, value in values.items() for part in ("--set", f"{name}={value}")]
    began = time.monotonic()
    with log.open("w", encoding="utf-8") as file:
        process = subprocess.Popen(  # a session of its own, so that Ctrl-C reaches it once, from here
            command, stdout=file, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True
        )
        running.add(process)
        try:
            while True:
                try:
                    failed = process.wait(PROGRESS_SECONDS) != 0
                    break
                except subprocess.TimeoutExpired:
                    _say(job, _last_line(log))
        finally:
            running.discard(process)
    word = f"FAILED, see {log}" if failed else "done"
    _say(job, f"{word} after {time.monotonic() - began:.0f} s. {_last_line(log)}")
    return failed


def _say(job: _Job, text: str) -> None:
    """One whole line, even when several jobs speak at once."""
    print(f"{job.title:>24}: {text}\n", end="", flush=True)


def _last_line(log: Path) -> str:
    """What a job said last, progress bars included."""
    lines = [line.strip() for line in log.read_text(errors="replace").replace("\r", "\n").split("\n") if line.strip()]
    return lines[-1][:110] if lines else "starting"
