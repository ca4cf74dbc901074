"""What a scheduler and a job tell each other by: files beside the runs, of which only the receipt says that a job is done."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from labkit.files import held, is_held, write_text

TOLD_TO_STOP = (130, 143)  # exit codes that errors carry whose cause was Ctrl-C or SIGTERM


@dataclass(frozen=True)
class JobFiles:
    """The files of one job.

    Attributes:
        receipt: written when the job is done, with what it made; the scheduler's only proof.
    """

    receipt: Path

    def _beside(self, suffix: str) -> Path:
        return self.receipt.parent / "logs" / f"{self.receipt.stem}{suffix}"

    @property
    def log(self) -> Path:
        """Everything the job printed."""
        return self._beside(".log")

    @property
    def notebook(self) -> Path:
        """The executed notebook, kept whether it ended well or not."""
        return self._beside(".ipynb")

    @property
    def failure(self) -> Path:
        """What a job that failed said last; gone when it is tried again."""
        return self._beside(".failed")

    @property
    def reason(self) -> str:
        """Why it failed, in one line; "" where it did not."""
        return self.failure.read_text(encoding="utf-8").partition("\n")[0] if self.failure.is_file() else ""

    @property
    def lock(self) -> Path:
        """Held by the job's process while it lives."""
        return self._beside(".lock")

    def forget(self) -> None:
        """Remove what an earlier try said, so that it is not taken for this one's."""
        self.failure.unlink(missing_ok=True)
        self.log.unlink(missing_ok=True)

    @property
    def running(self) -> bool:
        """Whether the job's process lives, whoever started it."""
        return is_held(self.lock)


@contextlib.contextmanager
def reported(files: JobFiles) -> Iterator[None]:
    """Hold a job's lock while it runs, and keep what it says if it fails; being told to stop is no failure.

    Raises:
        FileError: another process does the same job.
    """
    with held(files.lock):
        files.failure.unlink(missing_ok=True)
        try:
            yield
        except Exception as error:
            if getattr(error, "exit_code", 1) not in TOLD_TO_STOP:
                write_text(files.failure, f"{error}\n")
            raise
