"""Snakemake as a process: its arguments, its run and its dry run."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from labkit.batch.matrix import MatrixFile
from labkit.batch.signals import PARENT
from labkit.batch.status import Inspection
from labkit.batch.workflow import Workflow
from labkit.errors import NotebookError, SettingsError, Stopped
from labkit.training.device import choose_device

FOLDER = Path(__file__).parent
LOCAL = "local"
PATIENCE_SECONDS = 30  # for jobs that were asked to end


def snakemake_arguments(matrix: MatrixFile, jobs: int, keep_going: bool, profile: str) -> list[str]:
    """What Snakemake is called with."""
    arguments = ["--snakefile", str(FOLDER / "Snakefile"), "--directory", str(matrix.state_folder)]
    arguments += ["--profile", str(_profile(profile)), "--workflow-profile", "none"]
    arguments += ["--keep-going"] if keep_going else []
    threads = 8  # of a cluster's job, as many as its profile asks CPUs for
    if profile == LOCAL:
        cores = _usable_cores()
        side_by_side = jobs or (1 if choose_device("auto").type == "cuda" else min(2, cores))
        threads = max(1, cores // side_by_side)
        arguments += ["--cores", str(side_by_side * threads)]
    elif jobs:
        arguments += ["--jobs", str(jobs)]
    word = Workflow.to_config(matrix=str(matrix.path), folder=str(Path.cwd()), threads=threads)
    return [*arguments, "--config", f"labkit={word}"]


def _usable_cores() -> int:
    """Number of cores that this process may use, which a container or taskset can limit."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _profile(name: str) -> Path:
    """Folder of a profile: one of ours by name, or a path.

    Raises:
        SettingsError: there is none.
    """
    ours = FOLDER / "profiles"
    for folder in (ours / name, Path(name).expanduser()):
        if (folder / "config.yaml").is_file():
            return folder.resolve()
    names = ", ".join(sorted(folder.name for folder in ours.iterdir()))
    raise SettingsError(
        f"--profile {name[:100]}: no such profile; expected {names}, or a folder that holds a "
        "config.yaml."
    )


def _environment() -> dict[str, str]:
    return os.environ | {PARENT: str(os.getpid())}


def _command(arguments: list[str]) -> list[str]:
    return [sys.executable, "-m", "labkit.batch", *arguments]


def snakemake_dry_run(inspection: Inspection, arguments: list[str]) -> Iterator[str]:
    """Snakemake's own dry run in a temporary folder with a receipt of everything that is done.

    Raises:
        NotebookError: Snakemake failed.
    """
    done = [job.key for job in inspection.plan.jobs if inspection.done(job)]
    done += [
        f.receipt.stem for t, f in inspection.last_jobs().items() if inspection.last_is_done(t)
    ]
    with tempfile.TemporaryDirectory(prefix="labkit-dry-run-") as folder:
        for key in done:
            Path(folder, f"{key}.json").touch()
        directory = arguments.index("--directory") + 1
        arguments = [*arguments[:directory], folder, *arguments[directory + 1 :]]
        ended = subprocess.run(
            _command([*arguments, "--dry-run"]),
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            env=_environment(),
            check=False,
        )
    text = (ended.stdout + ended.stderr).splitlines()
    if ended.returncode:
        raise NotebookError(
            "\n".join([f"Snakemake ended with code {ended.returncode}:", *text[-20:]])
        )
    yield "\nSnakemake's dry run:"
    yield from text


@contextmanager
def running_snakemake(matrix: MatrixFile, arguments: list[str]) -> Iterator[subprocess.Popen]:
    """Snakemake and its jobs in a session of their own, which ends with this process."""
    log = matrix.state_folder / "logs" / "snakemake.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.unlink(missing_ok=True)  # a symbolic link is not followed
    with log.open("w", encoding="utf-8") as file:
        process = subprocess.Popen(
            _command(arguments),
            stdout=file,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            env=_environment(),
        )
        try:
            yield process
        except Stopped:
            os.killpg(process.pid, signal.SIGINT)
            try:
                process.wait(PATIENCE_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
            raise
