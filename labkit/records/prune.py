"""Removing what failed or was stopped; complete and running runs are never touched."""

import shutil
from pathlib import Path

from labkit.errors import FileError, RecordError
from labkit.records.files import cannot_write
from labkit.records.locks import NOTEBOOK_LOCK, is_locked, lock
from labkit.records.run import Run

LEFT_OVER = ("failed", "stopped", "running")  # running without a process: it was killed


def left_over(run: Run) -> bool:
    """Whether a run is not complete, no process trains it or executes its notebook, and its folder
    is no symbolic link.
    """
    in_use = any(is_locked(run.folder / name) for name in (".lock", NOTEBOOK_LOCK))
    return run.state in LEFT_OVER and not in_use and not run.folder.is_symlink()


def folder_bytes(run: Run) -> int:
    """Bytes of a run's files."""
    files = (path for path in run.folder.rglob("*") if path.is_file() and not path.is_symlink())
    return sum(path.stat().st_size for path in files)


def remove_run(run: Run) -> None:
    """Delete the folder of a run that is left over.

    Raises:
        RecordError: it is complete, or its folder is a symbolic link.
        FileError: another process uses it, or it cannot be deleted.
    """
    with run.lock(patience=0), lock(run.folder / NOTEBOOK_LOCK, patience=0):
        if run.state not in LEFT_OVER:
            raise RecordError(f"run {run.run_id}: its state is {run.state}; it is not removed.")
        try:
            shutil.rmtree(run.folder)
        except OSError as error:
            if isinstance(error, FileError):
                raise
            raise cannot_write(Path(error.filename or run.folder), error) from error
