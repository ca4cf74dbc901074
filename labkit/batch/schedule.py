"""`labkit matrix`: make a matrix of runs through Snakemake, and print how far it is."""

import shlex
import time
from collections.abc import Iterator, Mapping
from typing import Any

from labkit.batch.checks import check_figures
from labkit.batch.jobs import Job
from labkit.batch.matrix import MatrixFile, read_matrix
from labkit.batch.plan import first_assisted
from labkit.batch.receipts import last_lines
from labkit.batch.run_lists import seconds_of
from labkit.batch.scheduler import LOCAL, running_snakemake, snakemake_arguments, snakemake_dry_run
from labkit.batch.signals import stoppable
from labkit.batch.status import (
    Inspection,
    describe_last,
    files_of,
    inspect,
    notebook_title,
    state_of,
)
from labkit.batch.view import View
from labkit.batch.workflow import attribution_settings, tables_settings, teacher_id
from labkit.errors import NotebookError
from labkit.records.locks import lock
from labkit.records.text import terminal_text
from labkit.training.device import choose_device

POLL_SECONDS = 1
MOST_NAMED = 5  # runs named in one message


def dry_run(
    file: str, *, jobs: int = 0, keep_going: bool = False, profile: str = LOCAL
) -> Iterator[str]:
    """Lines that say what `run_matrix` would start; nothing is started, and no receipt is written.

    On this machine: the open runs, and the same as plain commands. With another profile:
    Snakemake's own dry run, with the resources that every job asks for.
    """
    matrix = read_matrix(file)
    inspection = _inspect(matrix)
    to_do, last = inspection.open_jobs(), inspection.open_last()
    yield _summary(inspection, to_do, last)
    yield from _warnings(inspection)
    yield from (f"  {title}" for title in (*(job.title for job in to_do), *last))
    yield f"tables and figures: {matrix.figures_folder}"
    if profile != LOCAL and (to_do or last):
        yield from snakemake_dry_run(
            inspection, snakemake_arguments(matrix, jobs, keep_going, profile)
        )
    elif to_do or last:
        yield "\nthe same without Snakemake, in order:"
        yield from (job.command(teacher_id(inspection, job)) for job in to_do)
        yield from _last_commands(inspection, file, last)


def run_matrix(
    file: str, *, jobs: int = 0, keep_going: bool = False, profile: str = LOCAL
) -> list[str]:
    """Make every run of a matrix that is not complete, then its tables.

    Args:
        jobs: runs side by side; 0 = two on a CPU of two cores or more, one on a GPU, as the profile
            says on a cluster.
        keep_going: after a failure, start what does not depend on it too.
        profile: local, slurm, or a folder with a Snakemake profile.

    Returns:
        Titles of what was not made, in order.

    Raises:
        SettingsError, DataError, RecordError: faults of file, settings, data or figures; nothing is
            started.
        NotebookError: the scheduler itself failed.
    """
    matrix = read_matrix(file)
    inspection = _inspect(matrix, local=profile == LOCAL)
    arguments = snakemake_arguments(matrix, jobs, keep_going, profile)
    with lock(matrix.state_folder / ".lock"), stoppable():
        if _wait_for_orphans(inspection):
            inspection = _inspect(matrix)
        inspection.sync_receipts()
        to_do, last = inspection.open_jobs(), inspection.open_last()
        print(_summary(inspection, to_do, last), flush=True)
        for line in _warnings(inspection):
            print(line, flush=True)
        if not to_do and not last:
            print(f"nothing to start; tables and figures: {matrix.figures_folder}")
            return []
        code, seconds = _schedule(inspection, to_do, arguments)
        _wait_for_orphans(inspection)
        return _report(inspect(matrix), to_do, last, code, seconds)


def status(file: str) -> Iterator[str]:
    """Lines that say how far a matrix is, job by job; small outputs verified, weights not."""
    inspection = inspect(read_matrix(file), verify_weights=False)
    matrix = inspection.matrix
    states = {job.key: inspection.state(job) for job in inspection.plan.jobs}
    view = View(inspection)
    for job in inspection.plan.jobs:
        state, files, run = states[job.key], files_of(matrix, job.key), inspection.done(job)
        text = files.reason
        if run:
            seconds = seconds_of(run)
            text = "" if seconds is None else f"{seconds:.0f} s"
        elif state == "running":
            text = view.logs.describe(job)
        elif state == "stopped":
            text = last_lines(files.log, 1).strip()
        text = inspection.faults.get(job.key, text)
        yield f"{state:>8}  {job.title}  {text}".rstrip()
    last = _last_states(inspection)
    for title, files in inspection.last_jobs().items():
        text = str(matrix.figures_folder) if last[title] == "done" else files.reason
        yield f"{last[title]:>8}  {title}  {text}".rstrip()
    yield view.lines(states, last)[0]
    yield f"tables and figures: {matrix.figures_folder}"


def _inspect(matrix: MatrixFile, *, local: bool = False) -> Inspection:
    """A planned matrix whose data files, devices and attribution were checked.

    Raises:
        LabkitError: with what is wrong; nothing was started.
    """
    inspection = inspect(matrix)
    planned = inspection.plan
    check_figures(matrix.figures_folder)
    if matrix.attribution:
        first_assisted(planned, matrix)
    for job in planned.jobs:
        inspection.data(job)
    if local:
        for device in {job.resolved.device for job in planned.jobs}:
            choose_device(device)
    return inspection


def _summary(inspection: Inspection, to_do: list[Job], last: list[str]) -> str:
    number = len(inspection.plan.jobs)
    then = f", then {describe_last(last)}" if last else ""
    title = inspection.matrix.title
    return f"{title}: {number} runs, {number - len(to_do)} done, {len(to_do)} to do{then}"


def _warnings(inspection: Inspection) -> Iterator[str]:
    """A line for every damaged run; its job fails with the same message until it is removed."""
    return (f"warning: {terminal_text(fault)}" for fault in inspection.faults.values())


def _last_commands(inspection: Inspection, file: str, last: list[str]) -> Iterator[str]:
    if "tables and figures" in last:
        yield _run_command("results", tables_settings(inspection, file))
    if "attribution" in last:
        yield _run_command("attribution", attribution_settings(inspection))
    for job in inspection.plan.jobs:
        if notebook_title(job) in last:
            yield _run_command(job.role, job.settings(teacher_id(inspection, job)))


def _run_command(notebook: str, settings: Mapping[str, Any]) -> str:
    pairs = (f"--set {shlex.quote(f'{name}={value}')}" for name, value in settings.items())
    return " ".join(["labkit run", notebook, *pairs])


def _wait_for_orphans(inspection: Inspection) -> bool:
    """Wait for jobs whose scheduler was killed, which end in seconds; whether there were any."""
    reported: set[str] = set()
    while living := inspection.still_running():
        for job in living:
            if job.key not in reported:
                reported.add(job.key)
                print(
                    f"{job.title}: still running, and its scheduler is gone; waiting for it to end",
                    flush=True,
                )
        time.sleep(POLL_SECONDS)
    return bool(reported)


def _schedule(inspection: Inspection, to_do: list[Job], arguments: list[str]) -> tuple[int, float]:
    """Run Snakemake to its end and print how far it is; its exit code and seconds."""
    view, began, matrix = View(inspection), time.monotonic(), inspection.matrix
    for files in [*(files_of(matrix, job.key) for job in to_do), *inspection.last_jobs().values()]:
        files.clear()
    with running_snakemake(matrix, arguments) as process:
        ended, states = False, dict[str, str]()
        while not ended:
            ended = process.poll() is not None
            for job in inspection.plan.jobs:
                if states.get(job.key) != "done":
                    files = files_of(matrix, job.key)
                    states[job.key] = state_of(files, files.receipt.is_file)
            last = {
                title: state_of(f, f.receipt.is_file) for title, f in inspection.last_jobs().items()
            }
            view.update(states, last)
            time.sleep(0 if ended else POLL_SECONDS)
    return process.returncode, time.monotonic() - began


def _last_states(inspection: Inspection) -> dict[str, str]:
    files = inspection.last_jobs()
    return {
        title: state_of(f, lambda t=title: inspection.last_is_done(t)) for title, f in files.items()
    }


def _report(
    inspection: Inspection, to_do: list[Job], last: list[str], code: int, seconds: float
) -> list[str]:
    """Print how it ended; titles of what was not made.

    Raises:
        NotebookError: Snakemake failed though no job did.
    """
    matrix = inspection.matrix
    states = {job.key: inspection.state(job) for job in to_do}
    missing = {
        job.title: (states[job.key], files_of(matrix, job.key))
        for job in to_do
        if states[job.key] != "done"
    }
    runs_missing = bool(missing)
    ended = _last_states(inspection)
    for title in last:
        if ended[title] != "done" and (not runs_missing or ended[title] == "failed"):
            missing[title] = (ended[title], inspection.last_jobs()[title])
    log = matrix.state_folder / "logs" / "snakemake.log"
    started = any(state != "waiting" for state, _ in missing.values())
    if code and not started:
        raise NotebookError(
            f"Snakemake ended with code {code}, and no job failed; its log: {log}\n"
            f"{last_lines(log)}"
        )
    if waiting := [title for title, (state, _) in missing.items() if state == "waiting"]:
        print(f"not started, because of another's failure: {first_names(waiting)}", flush=True)
    for title, (state, files) in missing.items():
        if state != "waiting":
            print(
                f"{title}: {state.upper()}, log in {files.log}\n{last_lines(files.log)}", flush=True
            )
    made = sum(state == "done" for state in states.values())
    if to_do:
        print(f"{made} of {len(to_do)} runs made in {seconds / 60:.1f} minutes", flush=True)
    if runs_missing:
        command = _run_command("results", tables_settings(inspection, matrix.path))
        print(f"tables with dashes for what is missing: {command}")
    elif not missing:
        print(f"tables and figures: {matrix.figures_folder}")
    return list(missing)


def first_names(names: list[str]) -> str:
    """The first names of a list, with the number of the others."""
    rest = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return f"{', '.join(names[:MOST_NAMED])}{rest}"
