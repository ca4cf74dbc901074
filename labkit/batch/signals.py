"""Handling of signals, time limits, lost output and a lost parent process."""

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import IO, Any

from labkit.errors import SettingsError, Stopped

PARENT = "LABKIT_PARENT"  # process id of the scheduler; a job ends when that process is gone


@contextlib.contextmanager
def stoppable(timeout: float = 0) -> Iterator[None]:
    """Signals that ask to stop, and a time limit, raise `Stopped` inside; main thread only.

    A signal that was ignored before (nohup ignores SIGHUP) stays ignored. After the first one only
    Ctrl-C is heard again, so that cleaning up is not interrupted.

    Args:
        timeout: seconds; 0 = no limit.
    """
    stopped: list[int] = []

    def stop(number: int, frame: Any) -> None:
        if stopped and number != signal.SIGINT:
            return
        stopped.append(number)
        raise Stopped(number)

    ignored = (signal.SIGHUP, signal.SIGQUIT)
    numbers = [
        number
        for number in Stopped.REASONS
        if not (number in ignored and signal.getsignal(number) == signal.SIG_IGN)
    ]
    before = {number: signal.signal(number, stop) for number in numbers}
    signal.setitimer(signal.ITIMER_REAL, timeout)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)


def exit_with_parent() -> None:
    """Stop this process by SIGTERM when the scheduler that LABKIT_PARENT names is gone.

    Raises:
        SettingsError: the variable does not name this process's parent.
    """
    if "TORCHELASTIC_RUN_ID" in os.environ:  # one of several processes; torchrun is the parent
        watch_parent(os.getppid(), lambda: os.kill(os.getpid(), signal.SIGTERM))
    text = os.environ.pop(PARENT, "")
    if text:
        watch_parent(_parent(text), lambda: os.kill(os.getpid(), signal.SIGTERM))


def watch_parent(parent: int, end: Callable[[], None]) -> None:
    """Call `end` once, in a thread, when the process `parent` is not this one's parent any more."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        end()

    threading.Thread(target=watch, daemon=True).start()


def _parent(text: str) -> int:
    parent = os.getppid()
    if text.isascii() and text.isdigit() and int(text) == parent:
        return parent
    raise SettingsError(
        f"environment variable {PARENT}: got {text[:40]!r}; expected {parent}, the process that "
        "started this one. Schedulers set it for their jobs: unset it, or call the scheduler "
        "again if that was ended."
    )


def keep_going_without_readers() -> None:
    """Make output safe to lose: a closed pipe, terminal or full disk drops what is printed."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:  # otherwise the next file that is opened becomes standard output
            _discard(number)
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, closefd=False, encoding="utf-8"))  # noqa: SIM115
    for name, number in (("stdout", 1), ("stderr", 2)):
        stream = getattr(sys, name)
        with contextlib.suppress(OSError, ValueError, AttributeError):
            if stream.fileno() == number:  # a test's stand-in is left alone
                stream.reconfigure(errors="backslashreplace")
                setattr(sys, name, _Droppable(stream, number))


class _Droppable:
    """A standard stream that turns into the null device when it cannot be written any more."""

    def __init__(self, stream: IO[str], number: int) -> None:
        self._stream, self._number = stream, number

    def write(self, text: str) -> int:
        with self._or_discard():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with self._or_discard():
            self._stream.flush()

    @contextlib.contextmanager
    def _or_discard(self) -> Iterator[None]:
        try:
            yield
        except OSError:
            _discard(self._number)  # what is still buffered goes there too

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _discard(number: int) -> None:
    """Point a descriptor at the null device."""
    null = os.open(os.devnull, os.O_RDWR)
    if null != number:
        os.dup2(null, number)
        os.close(null)
