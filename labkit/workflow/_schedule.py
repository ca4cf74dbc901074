"""`labkit matrix`: a matrix of runs through Snakemake, with a view of how far it is. Snakemake's only door."""

import importlib.util
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from labkit.config import SettingsError
from labkit.files import held
from labkit.headless import PARENT, HeadlessError, Stopped, report, stoppable
from labkit.matrix import (
    Job,
    MatrixFile,
    Plan,
    bring_up_to_date,
    done,
    files_of,
    open_jobs,
    plan,
    read_matrix,
    states,
    still_running,
    study_files,
    study_is_done,
    study_state,
)  # fmt: skip
from labkit.planning import look_through
from labkit.workflow._slurm import submission
from labkit.workflow._view import View

HERE = Path(__file__).parent
LOOK_SECONDS = 1
PATIENCE_SECONDS = 30  # for jobs that were asked to end
INSTALL = (
    "labkit matrix: Snakemake is not installed; expected the extra batch. Install it: pip install 'labkit[batch]' (here: .venv/bin/pip "
    "install -e '.[batch]'), or take the plain commands of: labkit matrix {file} --dry-run"
)


def dry_run(file: str, *, profile: str = "local") -> Iterator[str]:
    """Lines that say what `run_matrix` would start, and the same as plain commands; nothing is written or started."""
    matrix = read_matrix(file)
    planned = plan(matrix)
    to_do = open_jobs(planned)
    tables = not study_is_done(matrix, planned)
    yield _summary(matrix, planned, len(to_do), tables)
    yield from (f"  {job.title}" for job in to_do)
    if tables:
        yield "  tables and figures"
        yield "\nthe same without Snakemake, in order:"
        yield from (job.command for job in to_do)
        yield f"labkit run study --set {shlex.quote(f'matrix={file}')}"
    if tables and profile != "local":
        yield "\nas the cluster is asked:"
        rules = dict.fromkeys([*(job.role for job in to_do), "analysis"])
        yield from (submission(rule, _profile(profile)) for rule in rules)


def run_matrix(file: str, *, jobs: int = 0, keep_going: bool = False, profile: str = "local") -> list[str]:
    """Make every run of a matrix that is not there yet, then its tables; what is complete is not started.

    Args:
        jobs: runs side by side; 0 = two on a CPU of two cores or more, one on a GPU, as the profile says on a cluster.
        keep_going: after a failure, start what does not depend on it too.
        profile: local, slurm, or a folder with a Snakemake profile.

    Returns:
        Titles of what was not made, in order.

    Raises:
        SettingsError, DataError: every fault of the file, its settings or data; nothing is started.
        HeadlessError: the scheduler itself failed.
    """
    matrix = read_matrix(file)
    planned = plan(matrix)
    if importlib.util.find_spec("snakemake") is None:
        raise SettingsError(INSTALL.format(file=shlex.quote(file)))
    arguments = _arguments(matrix, jobs, keep_going, profile)
    _look_through(planned)
    with held(matrix.book / ".lock"), stoppable():
        _wait_for_orphans(matrix, planned)
        bring_up_to_date(matrix, planned)
        to_do, tables = open_jobs(planned), not study_is_done(matrix, planned)
        print(_summary(matrix, planned, len(to_do), tables), flush=True)
        if not to_do and not tables:
            print(f"nothing to start; tables and figures: {matrix.figures_folder}")
            return []
        code, seconds = _scheduled(matrix, planned, to_do, arguments)
        _wait_for_orphans(matrix, planned)
        return _outcome(matrix, planned, to_do, code, seconds)


def status(file: str) -> Iterator[str]:
    """Lines that say how far a matrix is, job by job."""
    matrix = read_matrix(file)
    planned = plan(matrix)
    found = states(matrix, planned)
    for job in planned.jobs:
        state, files, run = found[job.key], files_of(matrix, job), done(job)
        said = report(files.log, 1).strip() if state in ("running", "stopped") else files.reason
        told = f"{run.manifest()['seconds']:.0f} s" if run else said
        yield f"{state:>8}  {job.title}  {told}".rstrip()
    tables = study_state(matrix, planned)
    told = str(matrix.figures_folder) if tables == "done" else study_files(matrix).reason
    yield f"{tables:>8}  tables and figures  {told}".rstrip()
    yield View(planned).line(found)


def _summary(matrix: MatrixFile, planned: Plan, to_do: int, tables: bool) -> str:
    last = ", then the tables" if tables else ""
    return f"{matrix.title}: {len(planned.jobs)} runs, {len(planned.jobs) - to_do} done, {to_do} to do{last}"


def _arguments(matrix: MatrixFile, jobs: int, keep_going: bool, profile: str) -> list[str]:
    """What Snakemake is called with."""
    arguments = ["--snakefile", str(HERE / "Snakefile"), "--directory", str(matrix.book), "--profile", str(_profile(profile))]
    arguments += ["--workflow-profile", "none"] + (["--keep-going"] if keep_going else [])
    given = [f"matrix={matrix.path}", f"folder={Path.cwd()}"]
    if profile != "local":
        return [*arguments, *(["--jobs", str(jobs)] if jobs else []), "--config", *given]
    cores = os.cpu_count() or 1
    side_by_side = jobs or (1 if torch.cuda.is_available() else min(2, cores))
    threads = max(1, cores // side_by_side)
    return [*arguments, "--cores", str(side_by_side * threads), "--config", *given, f"threads={threads}"]


def _profile(name: str) -> Path:
    """Folder of a profile: one of ours by name, or a path.

    Raises:
        SettingsError: there is none.
    """
    found = next((folder for folder in (HERE / "profiles" / name, Path(name)) if (folder / "config.yaml").is_file()), None)
    if found is None:
        ours = ", ".join(sorted(folder.name for folder in (HERE / "profiles").iterdir()))
        raise SettingsError(f"--profile {name}: no such profile; expected {ours}, or a folder that holds a config.yaml.")
    return found.resolve()


def _look_through(planned: Plan) -> None:
    """Every file of every data set, before anything starts."""
    for settings in {job.resolved.dataset: job.resolved for job in planned.jobs}.values():
        for split in ("train", "val"):
            look_through(settings, split)


def _wait_for_orphans(matrix: MatrixFile, planned: Plan) -> None:
    """Jobs whose scheduler was killed end by themselves within a second or two; nothing is started or told beside them."""
    said: set[str] = set()
    while living := still_running(matrix, planned):
        for job in living:
            if job.key not in said:
                said.add(job.key)
                print(f"{job.title}: still running, and its scheduler is gone; waiting for it to end", flush=True)
        time.sleep(LOOK_SECONDS)


def _scheduled(matrix: MatrixFile, planned: Plan, to_do: list[Job], arguments: list[str]) -> tuple[int, float]:
    """Snakemake to its end, telling how far it is; its exit code and seconds."""
    view, began = View(planned), time.monotonic()
    for files in [*(files_of(matrix, job) for job in to_do), study_files(matrix)]:
        files.forget()
    with _snakemake(matrix, arguments) as process:
        while process.poll() is None:
            view.tell(states(matrix, planned, checked=False))
            time.sleep(LOOK_SECONDS)
        view.tell(states(matrix, planned, checked=False))
    return process.returncode, time.monotonic() - began


@contextmanager
def _snakemake(matrix: MatrixFile, arguments: list[str]) -> Iterator[subprocess.Popen]:
    """Snakemake and its jobs in a session of their own; whatever ends this process ends them, in order where that is possible."""
    log = matrix.book / "logs" / "snakemake.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "labkit.workflow", *arguments]
    with log.open("w", encoding="utf-8") as file:
        process = subprocess.Popen(
            command, stdout=file, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True,
            env=os.environ | {PARENT: str(os.getpid())},
        )  # fmt: skip
        try:
            yield process
        except Stopped:
            os.killpg(process.pid, signal.SIGINT)
            try:
                process.wait(PATIENCE_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
            raise


def _outcome(matrix: MatrixFile, planned: Plan, to_do: list[Job], code: int, seconds: float) -> list[str]:
    """Tell how it ended; titles of what was not made.

    Raises:
        HeadlessError: Snakemake failed though no job did.
    """
    ended, tables, log = states(matrix, planned), study_files(matrix), matrix.book / "logs" / "snakemake.log"
    missing = [job for job in to_do if ended[job.key] != "done"]
    complete = not missing and study_is_done(matrix, planned)
    began = tables.log.is_file() or any(ended[job.key] != "waiting" for job in missing)
    if code and (complete or not began):
        raise HeadlessError(f"Snakemake ended with code {code}, and no job failed; its log: {log}\n{report(log)}")
    for job in missing:
        if ended[job.key] == "waiting":
            print(f"{job.title}: not started, because of another's failure", flush=True)
        else:
            files = files_of(matrix, job)
            print(f"{job.title}: {ended[job.key].upper()}, log in {files.log}\n{report(files.log)}", flush=True)
    titles = [job.title for job in missing]
    if not missing and not complete:
        print(f"tables and figures: FAILED, log in {tables.log}\n{report(tables.log)}", flush=True)
        titles = ["tables and figures"]
    if to_do:
        print(f"{len(to_do) - len(missing)} of {len(to_do)} runs made in {seconds / 60:.1f} minutes", flush=True)
    if missing:
        print(f"tables with dashes for what is missing: labkit run study --set matrix={matrix.path}")
    elif not titles:
        print(f"tables and figures: {matrix.figures_folder}")
    return titles
