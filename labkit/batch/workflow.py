"""What the Snakefile needs: keys of jobs, what each waits for, and its shell line."""

import contextlib
import json
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from labkit.batch.jobs import Job
from labkit.batch.matrix import read_matrix
from labkit.batch.plan import first_assisted
from labkit.batch.receipts import JobFiles
from labkit.batch.signals import PARENT
from labkit.batch.status import (
    ATTRIBUTION,
    REPORT,
    TABLES,
    Inspection,
    files_of,
    inspect,
    key_of_last,
)


class Workflow:
    """A matrix as Snakemake schedules it.

    Args:
        matrix: path of the file.
        folder: the caller's; relative paths among the settings start there.
        threads: of one job.
    """

    def __init__(self, *, matrix: str, folder: str, threads: int) -> None:
        self.threads, self.folder = threads, folder
        with contextlib.chdir(folder):
            self.matrix = read_matrix(matrix)
            self.inspection: Inspection = inspect(self.matrix, verify_weights=False)
            self.jobs: dict[str, Job] = {job.key: job for job in self.inspection.plan.jobs}
            self.teacher_ids = {k: teacher_id(self.inspection, job) for k, job in self.jobs.items()}
        self.tables_key = key_of_last(self.matrix, TABLES)
        self.attribution_key = key_of_last(self.matrix, ATTRIBUTION)

    @classmethod
    def from_config(cls, word: str) -> "Workflow":
        """A workflow from the word that `to_config` made."""
        return cls(**json.loads(bytes.fromhex(word.removeprefix("x")).decode()))

    @staticmethod
    def to_config(**values: Any) -> str:
        """Arguments as one word that neither a shell nor YAML reads otherwise."""
        return "x" + json.dumps(values).encode().hex()

    def keys(self, role: str) -> list[str]:
        return [key for key, job in self.jobs.items() if job.role == role]

    def report_keys(self) -> list[str]:
        return [f"{REPORT}-{key}" for key in self.jobs] if self.matrix.report else []

    def final_receipts(self) -> list[str]:
        keys = [self.tables_key, *([self.attribution_key] if self.matrix.attribution else [])]
        return [f"{key}.json" for key in (*keys, *self.report_keys())]

    def teacher_receipts(self, key: str) -> list[str]:
        """What a student waits for."""
        teacher = self.jobs[key].teacher
        return [f"{teacher.key}.json"] if teacher else []

    def reported_receipts(self, key: str) -> list[str]:
        """What a run's notebook waits for."""
        return [f"{key.removeprefix(f'{REPORT}-')}.json"]

    def train(self, key: str, threads: int) -> str:
        job = self.jobs[key]
        return self._line(["train", job.role], self._settings(job, threads), key)

    def report(self, key: str, threads: int) -> str:
        job = self.jobs[key.removeprefix(f"{REPORT}-")]
        return self._line(["run", job.role], self._settings(job, threads), key)

    def tables(self, threads: int) -> str:
        settings = tables_settings(self.inspection, self.matrix.path) | {"threads": threads}
        return self._line(["run", "results"], settings, self.tables_key)

    def attribution(self, threads: int) -> str:
        settings = attribution_settings(self.inspection) | {"threads": threads}
        words = ["run", "attribution", "--of-matrix", str(self.matrix.path)]
        return self._line(words, settings, self.attribution_key)

    def _settings(self, job: Job, threads: int) -> dict[str, Any]:
        """Settings of a job; the scheduler's threads where the matrix gives none."""
        return {"threads": threads} | job.settings(self.teacher_ids[job.key])

    def _line(self, words: list[str], settings: Mapping[str, Any], key: str) -> str:
        """Shell line; the shell becomes the job, so that the job's parent is the scheduler."""
        files: JobFiles = files_of(self.matrix, key)
        pairs = [part for name, value in settings.items() for part in ("--set", f"{name}={value}")]
        receipt = ["--receipt", str(files.receipt)]
        command = shlex.join([sys.executable, "-m", "labkit", *words, *pairs, *receipt])
        log = shlex.quote(str(files.log))
        folder = shlex.quote(str(Path(self.folder)))
        return f"cd {folder}; export {PARENT}=$PPID; exec {command} > {log} 2>&1"


def teacher_id(inspection: Inspection, job: Job) -> str:
    """Run id of a student's teacher, known before it is trained; "" where there is none."""
    teacher = inspection.run(job.teacher) if job.teacher else None
    return teacher.run_id if teacher else ""


def tables_settings(inspection: Inspection, matrix: str | Path) -> dict[str, Any]:
    """Settings of the results notebook: the matrix file, and the data folder of the runs.

    Args:
        matrix: path of the file, as it is to be given.
    """
    roots = (job.values.get("data_root") for job in inspection.plan.jobs)
    root = next(filter(None, roots), "")
    return {"matrix": matrix} | ({"data_root": root} if root else {})


def attribution_settings(inspection: Inspection) -> dict[str, Any]:
    """Settings of the attribution notebook: the first assisted teacher of the matrix.

    Raises:
        SettingsError: it has none.
    """
    job = first_assisted(inspection.plan, inspection.matrix)
    run, matrix = inspection.run(job), inspection.matrix
    given = {
        "dataset": job.resolved.dataset,
        "teacher": run.run_id if run else "",
        "runs": matrix.runs,
    }
    given |= {"figures": str(matrix.figures_folder)}
    shared = ("data_root", "device")
    return given | {name: job.values[name] for name in shared if name in job.values}
