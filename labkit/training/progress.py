"""Progress of a training on standard output. What cannot be written is dropped."""

import contextlib
import os
import sys

from tqdm import tqdm


class SafeOutput:
    """File-like object over the current sys.stdout that drops what cannot be written.

    After the first failure the stream's descriptor is pointed to the null device, so that the
    interpreter's own flush at exit does not fail either.
    """

    def write(self, text: str) -> int:
        self._attempt("write", text)
        return len(text)

    def flush(self) -> None:
        self._attempt("flush")

    def isatty(self) -> bool:
        with contextlib.suppress(OSError, ValueError, AttributeError):
            return sys.stdout.isatty()
        return False

    def _attempt(self, action: str, *arguments: str) -> None:
        if sys.stdout is None:
            return
        try:
            getattr(sys.stdout, action)(*arguments)
        except (OSError, ValueError):  # broken pipe, full disk behind a redirection; closed stream
            with contextlib.suppress(OSError, ValueError, AttributeError):
                null = os.open(os.devnull, os.O_WRONLY)
                os.dup2(null, sys.stdout.fileno())
                os.close(null)


OUTPUT = SafeOutput()


def is_first_process() -> bool:
    """Whether this process is the only one, or the first that torchrun started."""
    return os.environ.get("RANK", "0") == "0"


def report(text: str) -> None:
    """Print a line above the progress bar; of several processes the first does."""
    if not text or not is_first_process():
        return
    tqdm.write(text, file=OUTPUT)
    OUTPUT.flush()


class Progress:
    """Progress bar of a run: steps, loss, last mIoU, share of time spent waiting for data."""

    def __init__(self, *, start: int, steps: int) -> None:
        self._bar = tqdm(
            total=steps,
            initial=start,
            file=OUTPUT,
            unit="step",
            mininterval=0.5 if OUTPUT.isatty() else 5,
            ncols=110,
            disable=not is_first_process(),
        )
        self._fields: dict[str, str] = {}

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def advance(self) -> None:
        """Count one step."""
        self._bar.update()

    def show(self, **fields: str) -> None:
        """Set fields beside the bar; the others stay."""
        self._fields |= fields
        self._bar.set_postfix(self._fields, refresh=False)
