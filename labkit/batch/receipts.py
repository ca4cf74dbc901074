"""Files of one job: receipt, log, lock and failure. A job is done only when its receipt exists."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from labkit.errors import FileError
from labkit.records.files import write_text
from labkit.records.locks import is_locked, lock
from labkit.records.text import terminal_text

STOPPED = (
    129,
    130,
    131,
    143,
)  # exit codes of errors whose cause was a signal: no failure of the job
LINES_REPORTED = 20


@dataclass(frozen=True)
class JobFiles:
    """The files of one job.

    Attributes:
        receipt: written last, with what the job made; the scheduler's only proof.
    """

    receipt: Path

    def _beside(self, suffix: str) -> Path:
        return self.receipt.parent / "logs" / f"{self.receipt.stem}{suffix}"

    @property
    def log(self) -> Path:
        """All output of the job."""
        return self._beside(".log")

    @property
    def notebook(self) -> Path:
        """The executed notebook of a job that runs one, kept whether it ended well or not."""
        return self._beside(".ipynb")

    @property
    def failure(self) -> Path:
        """Last message of a job that failed; removed when it is tried again."""
        return self._beside(".failed")

    @property
    def reason(self) -> str:
        """Why it failed, in one line; "" where it did not."""
        try:
            return self.failure.read_text(encoding="utf-8", errors="replace").partition("\n")[0]
        except OSError:
            return ""

    @property
    def lock(self) -> Path:
        """Held by the job's process while it lives."""
        return self._beside(".lock")

    @property
    def running(self) -> bool:
        """Whether the job's process lives, whoever started it."""
        return is_locked(self.lock)

    def clear(self) -> None:
        """Remove log and failure of an earlier try."""
        self.failure.unlink(missing_ok=True)
        self.log.unlink(missing_ok=True)


@contextlib.contextmanager
def reported(files: JobFiles) -> Iterator[None]:
    """Hold a job's lock while it runs and keep its message if it fails; a signal is no failure.

    Raises:
        FileError: another process does the same job.
    """
    with lock(files.lock):
        files.failure.unlink(missing_ok=True)
        try:
            yield
        except Exception as error:
            if getattr(error, "exit_code", 1) not in STOPPED:
                with contextlib.suppress(FileError):  # a full disk must not hide the reason
                    write_text(files.failure, f"{error}\n")
            raise


def last_lines(log: Path, lines: int = LINES_REPORTED) -> str:
    """A failed job's closing message, or the last lines of its log; "" where there is none."""
    try:
        text = log.read_bytes().decode(errors="replace")  # read_text would split at a bar's \r
    except OSError:
        return ""
    _, separator, message = text.rpartition("\nlabkit: ")
    if not separator:
        message = "\n".join(line.rpartition("\r")[2] for line in text.rstrip().split("\n"))
    return "\n".join(f"    {terminal_text(line)}" for line in message.splitlines()[-lines:])
