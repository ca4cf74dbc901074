"""What the tables read of a complete run, each file once."""

import hashlib
from collections.abc import Mapping
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from labkit.datasets import dataset_info
from labkit.errors import DataError, RecordError
from labkit.records.counts import REGIONS
from labkit.records.run import Run
from labkit.study.bootstrap import block_length
from labkit.study.rows import Row, Study


class RunFiles:
    """A complete run whose small files are read once; otherwise as `Run`."""

    def __init__(self, run: Run) -> None:
        self._run = run

    def __getattr__(self, name: str) -> Any:
        return getattr(self._run, name)

    @cached_property
    def teacher(self) -> "RunFiles | None":
        return RunFiles(self._run.teacher) if self._run.teacher else None

    @cached_property
    def _metrics(self) -> dict[str, Any]:
        return self._run.metrics()

    @cached_property
    def _manifest(self) -> dict[str, Any]:
        return self._run.manifest()

    @cached_property
    def _log_rows(self) -> list[dict[str, Any]]:
        return self._run.log_rows()

    def metrics(self) -> dict[str, Any]:
        return self._metrics

    def manifest(self) -> dict[str, Any]:
        return self._manifest

    def log_rows(self) -> list[dict[str, Any]]:
        return self._log_rows


def read_once(study: Study) -> Study:
    """The same study with runs that read each of their files once."""
    known: dict[str, RunFiles] = {}

    def files(run: Run | None) -> RunFiles | None:
        return known.setdefault(run.run_id, RunFiles(run)) if run else None

    def row(of: Row) -> Row:
        return of._replace(runs={seed: files(run) for seed, run in of.runs.items()})

    return study._replace(
        teachers=[row(of) for of in study.teachers], students=[row(of) for of in study.students]
    )


class Counts(NamedTuple):
    """(F, K) int64 pixels per frame and class."""

    hits: np.ndarray
    labelled: np.ndarray
    predicted: np.ndarray

    @property
    def union(self) -> np.ndarray:
        """Pixels that are labelled or predicted so."""
        return self.labelled + self.predicted - self.hits


def main_reading(run: Run) -> str:
    """What a run's score stands for: the true label where it reads one, else the image alone."""
    return "true_label" if "true_label" in run.metrics()["readings"] else "image"


def frame_counts(run: Run, reading: str) -> dict[str, Counts]:
    """Counts of one run under one reading: whole, near class boundaries, and interior.

    Raises:
        RecordError: the run has no such counts, or its file is damaged.
    """
    arrays = run.frame_counts()
    try:
        return {
            region: Counts(*(arrays[f"{reading}.{region}.{part}"] for part in Counts._fields))
            for region in REGIONS
        }
    except KeyError as error:
        raise RecordError(
            f"run {run.run_id}: frames.npz has no {error}; expected the counts of a complete run. "
            "Delete the run folder and train it again."
        ) from None


def class_shares(counts: Mapping[str, Counts]) -> tuple[np.ndarray, np.ndarray]:
    """Percent of the labelled pixels that are of each class, and of these near a boundary.

    Args:
        counts: of `frame_counts`.

    Returns:
        Two arrays (K,); the second is NaN for a class without pixels. It is large for thin and
        small regions.
    """
    whole, boundary = (counts[name].labelled.sum(axis=0) for name in ("whole", "boundary"))
    with np.errstate(invalid="ignore"):
        return 100 * whole / whole.sum(), 100 * boundary / whole


def labels_hash(counts: Counts) -> str:
    """Equal for two runs scored on frames with the same labels."""
    return hashlib.sha256(np.ascontiguousarray(counts.labelled)).hexdigest()


def frames_per_block(run: Run, frames: int) -> int:
    """Consecutive frames that one draw of the bootstrap keeps together; 1 unless it is video."""
    try:
        info = dataset_info(run.settings.dataset, root=run.settings.data_root)
    except DataError:  # a folder data set whose files are elsewhere: neighbours may be alike
        return block_length(frames)
    return block_length(frames) if info.is_video else 1


def train_frames(run: Run) -> float:
    """Frames of the training split as it was used; NaN where all of an unknown number."""
    if run.settings.train_size:
        return run.settings.train_size
    try:
        info = dataset_info(run.settings.dataset, root=run.settings.data_root)
    except DataError:
        return np.nan
    return info.sizes.get("train", np.nan)
