"""The whole thread: teachers, students, noising and analysis, as processes side by side."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from labkit.config import Settings, SettingsError, TeacherSettings, nearest_name
from labkit.headless._notebook import LINES_SHOWN, stoppable
from labkit.headless._runs import NOTEBOOKS, THREAD, TRAINING, check_settings
from labkit.planning import look_through, planned_run, refuse_strange_weights
from labkit.recipes import idle_settings
from labkit.records import runs_folder

PROGRESS_SECONDS = 20
ALL_SETS = {"method", "teacher"}  # what `labkit run all` decides itself
PARENT = "LABKIT_PARENT"  # environment variable that tells a job whose end is its own


@dataclass(frozen=True)
class _Job:
    """One `labkit run` of the thread; `after` names the job whose run teaches it, `taught_by` that run's method."""

    title: str
    notebook: str
    values: dict[str, Any]
    after: str = ""
    taught_by: str | None = None


def run_all(values: Mapping[str, Any], *, seeds: list[int], jobs: int, timeout: float = 0) -> list[str]:
    """The thread: plain and assisted teacher, student alone and of each teacher, noising, analysis. What is complete is skipped.

    Args:
        values: settings; `teacher.name` and `student.name` reach that role alone, any other reaches all whom it concerns.
        seeds: the five runs are made for each.
        jobs: processes side by side; 0 = two on a CPU of two cores or more, else one.
        timeout: seconds for each notebook; 0 = no limit.

    Returns:
        Titles of the jobs that failed, in order.

    Raises:
        SettingsError, DataError: every fault; nothing is started.
    """
    routed = {name: route(name, values) for name in THREAD}
    checked = _checked(routed)
    for split in ("train", "val"):
        look_through(checked["teacher"], split)
    jobs = jobs or (1 if torch.cuda.is_available() else min(2, os.cpu_count() or 1))
    threads = {} if torch.cuda.is_available() else {"threads": max(1, (os.cpu_count() or 1) // jobs)}
    plan: list[_Job] = []
    for seed in dict.fromkeys(seeds):
        own = threads | {"seed": seed}
        teacher, student = own | routed["teacher"], own | routed["student"]
        plan += [
            _concerning(_Job(f"assisted teacher s{seed}", "teacher", teacher | {"method": "lad"})),
            _concerning(_Job(f"plain teacher s{seed}", "teacher", teacher | {"method": "none"})),
            _concerning(_Job(f"student alone s{seed}", "student", student)),
            _concerning(_Job(f"student of plain s{seed}", "student", student, f"plain teacher s{seed}", "none")),
            _concerning(_Job(f"student of assisted s{seed}", "student", student, f"assisted teacher s{seed}", "lad")),
        ]
    logs = runs_folder(str(values.get("runs", ""))) / "logs"
    with stoppable():
        failed = _run_jobs(plan, jobs, logs, timeout)
        last = [_Job("noising", "noising", routed["noising"]), _Job("analysis", "analysis", threads | routed["analysis"])]
        return failed + _run_jobs(last, 1, logs, timeout)


def _checked(routed: Mapping[str, dict[str, Any]]) -> dict[str, Settings]:
    """Settings of every notebook; the faults of all in one message."""
    found, faults = {}, []
    for name, given in routed.items():
        try:
            found[name] = check_settings(name, given, taught_by="lad" if name == "student" else None)
        except SettingsError as error:
            faults += str(error).splitlines()
    if {"teacher", "student"} <= found.keys():
        try:
            refuse_strange_weights(found["student"], found["teacher"])
        except SettingsError as error:
            faults.append(str(error))
    if faults:
        raise SettingsError("\n".join(dict.fromkeys(faults)))
    return found


def _concerning(job: _Job) -> _Job:
    """The job without settings that mean nothing for its run: a plain teacher has no label scale."""
    idle = idle_settings(NOTEBOOKS[job.notebook][1](**job.values), taught_by=job.taught_by)
    return replace(job, values={name: value for name, value in job.values.items() if name not in idle})


def route(name: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of `labkit run all` that one notebook takes.

    Raises:
        SettingsError: a name no notebook knows, or one that `all` sets itself.
    """
    known = {notebook: set(NOTEBOOKS[notebook][1].model_fields) for notebook in THREAD}
    taken = {}
    for full, value in values.items():
        role, _, plain = full.rpartition(".")
        if plain in ALL_SETS or plain == "seed":
            hint = "use --seeds" if plain == "seed" else "labkit run all sets it itself"
            raise SettingsError(f"setting {full}: not here; {hint}.")
        if role not in ("", *THREAD) or not any(plain in known[notebook] for notebook in ([role] if role else THREAD)):
            every = set().union(*known.values())
            raise SettingsError(f"setting {full}: no notebook has it; {nearest_name(plain, every)}")
        if role in ("", name) and plain in known[name]:
            taken[plain] = value
    return taken


def _run_jobs(plan: list[_Job], jobs: int, logs: Path, timeout: float) -> list[str]:
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
        return _run_job(job, values, logs, running, timeout)

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


def _run_job(job: _Job, values: dict[str, Any], logs: Path, running: set[subprocess.Popen], timeout: float) -> bool:
    """One `labkit run` in a process of its own; prints how it goes, returns whether it failed."""
    logs.mkdir(parents=True, exist_ok=True)
    log = logs / f"{job.title.replace(' ', '_')}.log"
    command = [sys.executable, "-m", "labkit", "run", job.notebook]
    command += [part for name, value in values.items() for part in ("--set", f"{name}={value}")]
    command += ["--timeout", str(timeout)]
    began = time.monotonic()
    with log.open("w", encoding="utf-8") as file:
        process = subprocess.Popen(  # a session of its own, so that Ctrl-C reaches it once, from here
            command, stdout=file, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True,
            env=os.environ | {PARENT: str(os.getpid())},
        )  # fmt: skip
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
    seconds = f"after {time.monotonic() - began:.0f} s"
    _say(job, f"FAILED {seconds}, log in {log}\n{report(log)}" if failed else f"done {seconds}. {_last_line(log)}")
    return failed


def _say(job: _Job, text: str) -> None:
    """One whole line, even when several jobs speak at once."""
    print(f"{job.title:>24}: {text}\n", end="", flush=True)


def _last_line(log: Path) -> str:
    """What a job said last, progress bars included."""
    lines = [line.strip() for line in log.read_text(errors="replace").replace("\r", "\n").split("\n") if line.strip()]
    return lines[-1][:110] if lines else "starting"


def report(log: Path, lines: int = LINES_SHOWN) -> str:
    """What a job that failed said of it: its closing message, or where it was killed its last lines; "" where it said nothing."""
    if not log.is_file():
        return ""
    text = log.read_bytes().decode(errors="replace")  # read_text would turn the \r of a progress bar into a line
    _, found, message = text.rpartition("\nlabkit: ")
    said = message.splitlines() if found else [line.rpartition("\r")[2] for line in text.rstrip().split("\n")]
    return "\n".join(f"    {line}" for line in said[-lines:])
