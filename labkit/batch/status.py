"""How far a matrix is, read from run folders, receipts and locks."""

import hashlib
import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from labkit.batch.jobs import Job, Line, Plan
from labkit.batch.matrix import MatrixFile
from labkit.batch.plan import plan
from labkit.batch.receipts import JobFiles
from labkit.errors import FileError, LabkitError
from labkit.networks import encoder_weights_fingerprint
from labkit.records.artifacts import figures_manifest
from labkit.records.files import file_hash, read_json, write_json
from labkit.records.run import Run, check_outputs, describe_run
from labkit.records.schema import OUTPUTS, SMALL_OUTPUTS
from labkit.records.text import terminal_text
from labkit.study.rows import Row, Study
from labkit.training.checkpoint import drop_checkpoints
from labkit.training.preflight import data_fingerprint

NOTEBOOK_OF = "notebook of "  # begins the titles of the notebooks of runs
TABLES, ATTRIBUTION, REPORT = (
    "tables",
    "attribution",
    "report",
)  # begin the keys of the jobs after the runs


def receipt_of(run: Run) -> dict[str, str]:
    """The receipt of a complete run: its id, and the hashes of its weights and its teacher's."""
    return {
        "run_id": run.run_id,
        "checkpoint": run.checkpoint_hash(),
        "teacher": run.teacher.checkpoint_hash() if run.teacher else "",
    }


def files_of(matrix: MatrixFile, key: str) -> JobFiles:
    """Files of a job by its key; shared by every matrix over the same runs."""
    return JobFiles(matrix.state_folder / f"{key}.json")


def key_of_last(matrix: MatrixFile, what: str) -> str:
    """Key of the job that makes the tables or the attribution; two files of one name have two."""
    stem = "".join(
        letter if letter.isalnum() and letter.isascii() else "_" for letter in matrix.path.stem
    )
    return f"{what}-{stem[:60]}-{hashlib.sha256(os.fsencode(matrix.path)).hexdigest()[:8]}"


class Inspection:
    """A matrix as it is on disk now. Every run folder is read, and every file hashed, at most once.

    Args:
        verify_weights: hash the weights of complete runs too, and not only their small outputs.
    """

    def __init__(self, matrix: MatrixFile, planned: Plan, *, verify_weights: bool = True) -> None:
        self.matrix, self.plan, self.verify_weights = matrix, planned, verify_weights
        self.memory: dict[Any, Any] = {}  # fingerprints of data and weights
        self._runs: dict[str, Run | None] = {}
        self._done: dict[str, Run | None] = {}
        self.faults: dict[str, str] = {}  # of damaged runs, by key of their jobs

    def run(self, job: Job) -> Run | None:
        """The run that a job makes; None while its teacher, part of its id, is not trained."""
        if job.key not in self._runs:
            self._runs[job.key] = self._describe(job)
        return self._runs[job.key]

    def done(self, job: Job) -> Run | None:
        """The job's run where it is complete, its outputs as recorded, and its teacher's too."""
        if job.key not in self._done:
            self._done[job.key] = self._complete(job)
        return self._done[job.key]

    def data(self, job: Job) -> str:
        """Fingerprint of a job's data, whose files are checked where they were not yet.

        Raises:
            DataError: a file is missing or malformed.
        """
        names = ("dataset", "data_root", "train_size", "val_size", "score_split", "runs")
        key = ("data", *(getattr(job.resolved, name) for name in names))
        if key not in self.memory:
            self.memory[key] = data_fingerprint(job.resolved, memory=self.memory)
        return self.memory[key]

    def run_now(self, job: Job) -> Run | None:
        """As `run`, read again: a teacher trained meanwhile makes its student's run known."""
        if self.run(job) is None and job.teacher:
            for known in (self._done, self._runs):
                known.pop(job.teacher.key, None)
            self._runs.pop(job.key, None)
        return self.run(job)

    def open_jobs(self) -> list[Job]:
        """Jobs still to be done, in the plan's order; with a teacher, its students."""
        return [job for job in self.plan.jobs if self.done(job) is None]

    def state(self, job: Job) -> str:
        """done, running, failed, stopped (its process is gone), outdated or waiting.

        Outdated: it was done, and an output of it or of its teacher is gone or altered since.
        """
        return state_of(files_of(self.matrix, job.key), lambda: self.done(job) is not None)

    def made_from(self) -> str:
        """Hash of all that tables are made of; "" while a run is missing."""
        runs = [self.done(job) for job in self.plan.jobs]
        if not all(runs):
            return ""
        given = self.matrix.model_dump(mode="json", exclude={"path", "attribution", "report"})
        content = {
            "matrix": given,
            "checkpoints": {run.run_id: run.checkpoint_hash() for run in runs if run},
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def last_jobs(self) -> dict[str, JobFiles]:
        """Files of the jobs after the runs, by title: tables, attribution and notebooks of runs."""
        matrix, jobs = self.matrix, self.plan.jobs
        keys = {"tables and figures": key_of_last(matrix, TABLES)}
        if matrix.attribution:
            keys["attribution"] = key_of_last(matrix, ATTRIBUTION)
        if matrix.report:
            keys |= {notebook_title(job): f"{REPORT}-{job.key}" for job in jobs}
        return {title: files_of(matrix, key) for title, key in keys.items()}

    def last_is_done(self, title: str) -> bool:
        """Whether a job after the runs is done, from the runs and the file as they are now."""
        files = self.last_jobs()[title]
        receipt = _read(files.receipt)
        if files.receipt.stem.startswith(f"{REPORT}-"):
            job = next(j for j in self.plan.jobs if f"{REPORT}-{j.key}" == files.receipt.stem)
            run = self.done(job)
            return bool(run) and receipt.get("checkpoint") == run.checkpoint_hash()
        made_from = self.made_from()
        if not made_from or receipt.get("made_from") != made_from:
            return False
        made, files = receipt.get("figures"), self._figures()
        return isinstance(made, dict) and made.items() <= files.items()

    def open_last(self) -> list[str]:
        """Titles of the jobs after the runs that are still to be done."""
        return [title for title in self.last_jobs() if not self.last_is_done(title)]

    def last_receipt(self, what: str = TABLES) -> dict[str, Any]:
        """The receipt of tables or attribution: what they were made from, and their own files.

        Both share a folder; the files of the attribution have a teacher among their parameters.
        """
        entries = self._figure_entries()
        own = {
            name: digest
            for name, digest in self._figures().items()
            if _has_teacher(entries[name]) == (what == ATTRIBUTION)
        }
        return {"made_from": self.made_from(), "figures": own}

    def _figure_entries(self) -> dict[str, dict[str, Any]]:
        """Entries of the figures' manifest; none where it is damaged."""
        try:
            return figures_manifest(self.matrix.figures_folder)["files"]
        except LabkitError:
            return {}

    def _figures(self) -> dict[str, str]:
        """Hash of every file of the figures that is there as their manifest lists it."""
        folder, entries = self.matrix.figures_folder, self._figure_entries()
        listed = {name: str(entry.get("sha256", "")) for name, entry in entries.items()}
        return {name: digest for name, digest in listed.items() if _holds(folder / name, digest)}

    def sync_receipts(self) -> None:
        """Write a receipt of every run that is complete, and remove all others.

        Checkpoints of complete runs are removed too.
        """
        for job in self.plan.jobs:
            files, run = files_of(self.matrix, job.key), self.done(job)
            if run is None:
                files.receipt.unlink(missing_ok=True)
            else:
                drop_checkpoints(run)  # left by a kill between the manifest and their removal
                if _read(files.receipt) != receipt_of(run):
                    write_json(files.receipt, receipt_of(run))
        for title, files in self.last_jobs().items():
            if not self.last_is_done(title):
                files.receipt.unlink(missing_ok=True)

    def still_running(self) -> list[Job]:
        """Jobs whose process lives, whoever started it."""
        return [job for job in self.plan.jobs if files_of(self.matrix, job.key).running]

    def study(self) -> Study:
        """Every line of the matrix with its complete runs; None where one is missing."""
        planned, matrix = self.plan, self.matrix
        return Study(
            matrix.title, self._rows(planned.teachers), self._rows(planned.students), matrix.compare
        )

    def _rows(self, lines: list[Line]) -> list[Row]:
        return [
            Row(
                line.labels,
                {seed: self.done(job) for seed, job in line.jobs.items()},
                line.baseline,
                self.matrix.tried,
            )
            for line in lines
        ]

    def _describe(self, job: Job) -> Run | None:
        teacher = self.done(job.teacher) if job.teacher else None
        if job.teacher and teacher is None:
            return None
        weights = job.resolved.encoder_weights
        if weights not in self.memory:
            self.memory[weights] = encoder_weights_fingerprint(weights)
        identity = {
            "data": self.data(job),
            "weights": self.memory[weights],
        }
        return describe_run(job.resolved, identity, teacher)

    def _complete(self, job: Job) -> Run | None:
        try:
            run = self.run(job)
            if run is None or run.state != "complete":
                return None
            check_outputs(run, OUTPUTS if self.verify_weights else SMALL_OUTPUTS)
            return run
        except LabkitError as error:
            self.faults[job.key] = str(error)
            return None


def notebook_title(job: Job) -> str:
    """Title of the job that executes the notebook of a run."""
    return f"{NOTEBOOK_OF}{job.title}"


def describe_last(titles: Iterable[str]) -> str:
    """Titles of jobs after the runs in a few words; the notebooks of runs are counted."""
    titles = list(titles)
    notebooks = [title for title in titles if title.startswith(NOTEBOOK_OF)]
    words = [title for title in titles if title not in notebooks]
    words += [f"{len(notebooks)} notebooks of runs"] if notebooks else []
    return ", ".join(words)


def inspect(matrix: MatrixFile, *, verify_weights: bool = True) -> Inspection:
    """Plan a matrix and look at what is there of it."""
    return Inspection(matrix, plan(matrix), verify_weights=verify_weights)


def study_of(matrix: MatrixFile) -> Study:
    """The study that a matrix's complete runs make; damaged runs are left out, with a warning."""
    inspection = inspect(matrix)
    study = inspection.study()
    for fault in inspection.faults.values():
        print(f"warning, left out: {terminal_text(fault)}")
    return study


def state_of(files: JobFiles, is_done: Callable[[], bool]) -> str:
    """State of a job by its files; see `Inspection.state`."""
    if files.running:
        return "running"
    if is_done():
        return "done"
    if files.receipt.is_file():
        return "outdated"
    if files.failure.is_file():
        return "failed"
    return "stopped" if files.log.is_file() else "waiting"


def _has_teacher(entry: dict[str, Any]) -> bool:
    parameters = entry.get("parameters")
    return isinstance(parameters, dict) and "teacher" in parameters


def _holds(path: Path, digest: str) -> bool:
    try:
        return file_hash(path) == digest
    except FileError:
        return False


def _read(path: Any) -> dict[str, Any]:
    try:
        return read_json(path)
    except FileError:
        return {}
