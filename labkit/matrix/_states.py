"""How far a matrix is, read from run folders, receipts and locks: never from a clock, and never from what a scheduler remembers."""

from pathlib import Path
from typing import Any

from labkit.files import FileError, read_json, write_json
from labkit.matrix._file import MatrixFile
from labkit.matrix._jobs import Job, Plan
from labkit.products import MANIFEST
from labkit.receipts import JobFiles
from labkit.recipes import settings_hash
from labkit.records import RecordError, Run, check_outputs, receipt_of


def files_of(matrix: MatrixFile, job: Job) -> JobFiles:
    """What a job and the scheduler tell each other by; shared by every matrix over the same runs."""
    return JobFiles(matrix.book / f"{job.key}.json")


def study_files(matrix: MatrixFile) -> JobFiles:
    """The same of the last job, which makes the tables."""
    return JobFiles(matrix.book / f"study-{matrix.path.stem}.json")


def done(job: Job) -> Run | None:
    """The job's run where it is complete with every output as its manifest recorded, taught by the teacher as it is now."""
    if job.teacher and done(job.teacher) is None:
        return None
    if (run := job.run()) is None or run.state != "complete":
        return None
    try:
        check_outputs(run.folder, run.manifest(), ("config.json", "log.jsonl", "metrics.json", "model.safetensors"))
    except RecordError:
        return None
    return run


def study_of(matrix: MatrixFile, plan: Plan) -> str:
    """Hash over what the tables are made of: the file's own words and every run's checkpoint; "" while a run is missing."""
    runs = [done(job) for job in plan.jobs]
    if not all(runs):
        return ""
    said = matrix.model_dump(mode="json", exclude={"path"})
    return settings_hash({"matrix": said, "checkpoints": {run.run_id: run.checkpoint_hash() for run in runs}})


def open_jobs(plan: Plan) -> list[Job]:
    """Jobs that are still to be done, in the plan's order; a student follows a teacher that is to be trained again."""
    return [job for job in plan.jobs if done(job) is None]


def states(matrix: MatrixFile, plan: Plan, *, checked: bool = True) -> dict[str, str]:
    """done, running, failed, stopped (its process is gone without a word), outdated or waiting, by job's key.

    Outdated is a run that was done and does not hold any more: an output is gone or altered, or its teacher's is.

    Args:
        checked: done means that the run is complete and every output as recorded; False: that there is a receipt, which is quicker.
    """
    files = {job.key: (files_of(matrix, job), job) for job in plan.jobs}
    return {key: _state(found, bool(done(job)) if checked else found.receipt.is_file()) for key, (found, job) in files.items()}


def study_state(matrix: MatrixFile, plan: Plan) -> str:
    """The same of the job that makes the tables."""
    return _state(study_files(matrix), study_is_done(matrix, plan))


def _state(files: JobFiles, is_done: bool) -> str:
    if files.running:
        return "running"
    if is_done:
        return "done"
    if files.receipt.is_file():
        return "outdated"
    if files.failure.is_file():
        return "failed"
    return "stopped" if files.log.is_file() else "waiting"


def bring_up_to_date(matrix: MatrixFile, plan: Plan) -> None:
    """Make receipts agree with the runs: one for every run that is complete, none for a run that does not hold any more."""
    for job in plan.jobs:
        files, run = files_of(matrix, job), done(job)
        if run is None:
            files.receipt.unlink(missing_ok=True)
        elif _read(files.receipt) != receipt_of(run):
            write_json(files.receipt, receipt_of(run))
    if not study_is_done(matrix, plan):
        study_files(matrix).receipt.unlink(missing_ok=True)


def study_is_done(matrix: MatrixFile, plan: Plan) -> bool:
    """Whether the tables are there, and were made from the runs as they are now, by the file as it is now."""
    made_from = study_of(matrix, plan)
    there = (matrix.figures_folder / MANIFEST).is_file()
    return there and bool(made_from) and _read(study_files(matrix).receipt).get("made_from") == made_from


def still_running(matrix: MatrixFile, plan: Plan) -> list[Job]:
    """Jobs whose process lives, whoever started it."""
    return [job for job in plan.jobs if files_of(matrix, job).running]


def progress_of(job: Job) -> float:
    """Fraction of a job's steps that its log holds, 0 to 1."""
    run = job.run()
    steps = [row["step"] for row in run.log_rows()] if run else []
    return min(1.0, max(steps, default=0) / job.resolved.train_steps)


def _read(path: Path) -> dict[str, Any]:
    try:
        return read_json(path)
    except FileError:
        return {}
