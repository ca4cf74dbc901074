"""Every error a user can meet, with the exit code the command line ends with."""

import difflib
import signal
from collections.abc import Iterable


class LabkitError(Exception):
    """Base of all errors. The message names the thing, what came, what was expected, what to do.

    Attributes:
        exit_code: 1 = a run failed; 2 = bad settings, data or records, nothing was started.
    """

    exit_code = 1


class SettingsError(LabkitError, ValueError):
    """An unknown setting, a value outside its type or range, or two that contradict each other.

    Attributes:
        names: settings that have no usable value.
    """

    exit_code = 2

    def __init__(self, message: str, *, names: Iterable[str] = ()) -> None:
        super().__init__(message)
        self.names = frozenset(names)


class DataError(LabkitError, ValueError):
    """Data that is missing or malformed. The message names the file."""

    exit_code = 2


class RecordError(LabkitError, ValueError):
    """A run that is missing, unfinished or not what its manifest says. The message names it."""

    exit_code = 2


class FileError(LabkitError, OSError):
    """A file that cannot be written or read, or a folder in use by another process."""

    def __str__(self) -> str:
        return str(self.args[-1])


class CheckpointError(LabkitError, ValueError):
    """A checkpoint that cannot be used."""


class TrainingError(LabkitError, RuntimeError):
    """Training cannot go on; the message holds the step and its terms."""


class NotebookError(LabkitError, RuntimeError):
    """A notebook or job did not finish. The message holds the reason, cell and last lines.

    Attributes:
        exit_code: 1, or as shells have it: 124 time limit, 130 Ctrl-C, 129, 131, 143 signals.
    """

    def __init__(self, message: str, *, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class Stopped(KeyboardInterrupt):
    """A signal asked the process to stop.

    A KeyboardInterrupt, because an event loop swallows every other exception of a signal handler.

    Attributes:
        reason: for the message.
        exit_code: as shells have it, 128 + signal; 124 for the time limit.
    """

    REASONS = {  # noqa: RUF012  read only
        signal.SIGINT: ("interrupted (Ctrl-C)", 130),
        signal.SIGTERM: ("stopped by SIGTERM", 143),
        signal.SIGHUP: ("stopped by SIGHUP (the terminal was closed)", 129),
        signal.SIGQUIT: ("stopped by SIGQUIT", 131),
        signal.SIGALRM: ("stopped at its time limit", 124),
    }

    def __init__(self, number: int) -> None:
        self.reason, self.exit_code = self.REASONS[signal.Signals(number)]
        super().__init__(self.reason)


def nearest_name(name: str, known: Iterable[str]) -> str:
    """A hint for an unknown name: the nearest known one, or all of them where they are few."""
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=1)
    if near:
        return f"did you mean {near[0]}?"
    if len(known) <= 60:
        return "known: " + ", ".join(known) + "."
    return f"none of the {len(known)} known names is near."
