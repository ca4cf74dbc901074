"""A matrix of runs: which are wanted, which are there, and the lines of the tables they fill."""

from labkit.matrix._file import MatrixFile, read_matrix
from labkit.matrix._jobs import Job, Line, Plan
from labkit.matrix._plan import plan
from labkit.matrix._rows import study
from labkit.matrix._states import (
    bring_up_to_date,
    done,
    files_of,
    open_jobs,
    progress_of,
    states,
    still_running,
    study_files,
    study_is_done,
    study_of,
    study_state,
)

__all__ = [
    "Job", "Line", "MatrixFile", "Plan", "bring_up_to_date", "done", "files_of", "open_jobs", "plan", "progress_of", "read_matrix",
    "states", "still_running", "study", "study_files", "study_is_done", "study_of", "study_state",
]  # fmt: skip
