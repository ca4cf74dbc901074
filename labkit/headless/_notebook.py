"""One notebook on a kernel of its own. The only door to papermill, whose word about success is not taken."""

import contextlib
import os
import re
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import nbformat
import papermill
from nbclient.exceptions import DeadKernelError
from nbformat import NotebookNode
from papermill.exceptions import PapermillExecutionError
from traitlets.config import Config

from labkit.files import FileError, cannot_write, held, write_text
from labkit.records import now

KERNEL_START_SECONDS = 300  # many kernels that start at once on few cores are slow, not dead
LINES_SHOWN = 20
SOURCE_SHOWN = 6
LONGEST_SOCKET_FOLDER = 70  # bytes; a socket's whole path must fit 107


class HeadlessError(RuntimeError):
    """A notebook did not do what it was run for. The message holds reason, cell, last lines and the evidence kept.

    Attributes:
        exit_code: what the command line ends with: 1; 124 time limit, 130 Ctrl-C, 143 SIGTERM, as shells have it.
    """

    def __init__(self, message: str, *, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code


SIGNALS = {
    signal.SIGINT: ("interrupted (Ctrl-C)", 130),
    signal.SIGTERM: ("told to stop (SIGTERM)", 143),
    signal.SIGALRM: ("stopped at its time limit", 124),
}


class Stopped(KeyboardInterrupt):
    """A signal asked to stop. A KeyboardInterrupt, because an event loop swallows every other exception of a signal handler."""

    def __init__(self, number: int) -> None:
        self.reason, self.exit_code = SIGNALS[signal.Signals(number)]
        super().__init__(self.reason)


@contextlib.contextmanager
def stoppable(timeout: float = 0) -> Iterator[None]:
    """Ctrl-C, SIGTERM and a time limit in seconds (0 = none) raise `Stopped` inside; main thread only."""

    def stop(number: int, frame: Any) -> None:
        raise Stopped(number)

    before = {number: signal.signal(number, stop) for number in SIGNALS}
    signal.setitimer(signal.ITIMER_REAL, timeout)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)


def execute(source: Path, executed: Path, parameters: dict[str, Any], *, timeout: float = 0) -> None:
    """Execute a notebook, every cell of it, over IPC: no ports to race for.

    Args:
        executed: where the executed notebook goes; what it printed is appended to a .log beside it.
        timeout: seconds for the whole notebook; 0 = no limit.

    Raises:
        HeadlessError: a cell failed or ended the notebook, the kernel died, the time was up, the disk is full, or a signal came.
        FileError: the folder is in use by another process.
    """
    log = executed.with_suffix(".log")
    with held(executed.parent / ".notebook.lock"), _private_folder() as private, _opened(log) as file, _noise_to(file) as stderr:
        kernel = Config({"KernelManager": {"transport": "ipc", "connection_file": f"{private}/kernel.json"}})
        executed.unlink(missing_ok=True)  # what an earlier try left is no evidence of this one
        error: BaseException | None = None
        try:
            with stoppable(timeout):
                papermill.execute_notebook(
                    source, executed, parameters=parameters, cwd=source.parent, progress_bar=False, start_timeout=KERNEL_START_SECONDS,
                    shutdown_kernel="immediate", stdout_file=_Tee(sys.stdout, file), stderr_file=_Tee(stderr, file), config=kernel,
                )  # fmt: skip
        except Exception as caught:
            error = caught
        except Stopped as caught:
            error = caught
        reason = _why_stopped(error, timeout, executed)
        told = _look_at(executed, reason)
        if told is None and error is None:
            return
        message = f"{source.stem}{told or f': {reason}'}\nEvidence: {executed} and {log.name} beside it."
        raise HeadlessError(message, exit_code=getattr(error, "exit_code", 1)) from error


def _why_stopped(error: BaseException | None, timeout: float, executed: Path) -> str:
    """An exception that came out of papermill, in words; "" where none came."""
    match error:
        case None:
            return ""
        case Stopped():
            return error.reason + (f" of {timeout:g} s" if error.exit_code == 124 else "")
        case DeadKernelError():
            return "its kernel died (killed, or out of memory: lower batch_size)"
        case PapermillExecutionError():
            return f"{error.ename}: {error.evalue}"
        case FileError():
            return str(error)
        case OSError():
            return str(cannot_write(Path(error.filename or executed), error))
        case _:
            return f"{type(error).__name__}: {error}"


def _look_at(executed: Path, reason: str) -> str | None:
    """Say where an executed notebook stopped, and write into it that it did; None where every cell ran without error.

    papermill marks the cells a dead kernel never ran as completed, and takes sys.exit(0) for success.
    """
    try:
        notebook = nbformat.read(executed, as_version=4)
    except (OSError, ValueError):
        return f": {reason or f'{executed} is not there or broken'}"
    code = [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]
    failed = next((number for number, cell in enumerate(code) if _error_of(cell)), None)
    begun = [number for number, cell in enumerate(code) if cell.metadata.papermill.get("start_time")]
    if not reason and failed is None and len(begun) == len(code) and all(cell.execution_count for cell in code):
        return None
    where = failed if failed is not None else begun[-1] if begun else 0
    error = _error_of(code[where])
    if not reason and error and error.ename == "SystemExit":
        reason = f"the cell ended the notebook (sys.exit); {len(code) - where - 1} cells after it did not run"
    reason = reason or (f"{error.ename}: {error.evalue}" if error else "it ended before its last cell")
    for cell in code[where + 1 :]:
        cell.metadata.papermill["status"] = "pending"
    code[where].metadata.papermill |= {"status": "failed", "exception": True}
    notebook.metadata.papermill["exception"] = True
    notebook.metadata["labkit"] = {"stopped": reason}
    with contextlib.suppress(FileError):  # on a full disk the log and what papermill saved are the evidence
        write_text(executed, nbformat.writes(notebook) + "\n")
    return "\n".join([f", cell In [{where + 1}] of {len(code)}: {reason}", *_excerpt(code[where])])


def _error_of(cell: NotebookNode) -> NotebookNode | None:
    return next((output for output in cell.outputs if output.output_type == "error"), None)


def _excerpt(cell: NotebookNode) -> list[str]:
    """The first lines of a cell's source, and the last lines it printed (of a progress bar its last state)."""
    source = cell.source.splitlines()
    shown = [f"  | {line}" for line in source[:SOURCE_SHOWN]] + ["  | ..."] * (len(source) > SOURCE_SHOWN)
    printed = "".join(output.text for output in cell.outputs if output.output_type == "stream")
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line.rstrip().rpartition("\r")[2]) for line in printed.split("\n")]
    last = [f"    {line}" for line in lines if line.strip()][-LINES_SHOWN:]
    return shown + (["  printed last:", *last] if last else [])


@contextlib.contextmanager
def _private_folder() -> Iterator[str]:
    """A fresh folder for one kernel: its sockets, which cross-talk in a shared one, and its IPython profile and history."""
    short = tempfile.gettempdir() if len(os.fsencode(tempfile.gettempdir())) <= LONGEST_SOCKET_FOLDER else "/tmp"
    _remove_left_over(Path(short))
    before = os.environ.get("IPYTHONDIR")
    with tempfile.TemporaryDirectory(prefix=f"labkit-{os.getpid()}-", dir=short, ignore_cleanup_errors=True) as private:
        os.environ["IPYTHONDIR"] = private
        try:
            yield private
        finally:
            os.environ.pop("IPYTHONDIR")
            if before is not None:
                os.environ["IPYTHONDIR"] = before


def _remove_left_over(temporary: Path) -> None:
    """Remove private folders of processes that were killed and could not do it themselves."""
    for folder in temporary.glob("labkit-*-*"):
        owner = folder.name.split("-")[1]
        if owner.isdigit():
            try:
                os.kill(int(owner), 0)
            except ProcessLookupError:
                shutil.rmtree(folder, ignore_errors=True)
            except (PermissionError, OverflowError):
                continue  # somebody else's


@contextlib.contextmanager
def _opened(log: Path) -> Iterator[IO[str]]:
    """A log to append to, with the time as its first line."""
    try:
        with log.open("a", encoding="utf-8") as file:
            file.write(f"--- {now()}\n")
            file.flush()
            yield file
    except OSError as error:
        if isinstance(error, FileError):
            raise
        raise cannot_write(log, error) from error


@contextlib.contextmanager
def _noise_to(log: IO[str]) -> Iterator[IO[str]]:
    """What a kernel process says outside its cells goes to the log alone (it inherits descriptor 2); yields the user's stderr."""
    saved = os.dup(2)
    sys.stderr.flush()
    os.dup2(log.fileno(), 2)
    try:
        with os.fdopen(os.dup(saved), "w", encoding="utf-8", errors="replace") as stderr:
            yield stderr
    finally:
        os.dup2(saved, 2)
        os.close(saved)


class _Tee:
    """What a kernel prints, shown and kept."""

    def __init__(self, shown: IO[str], kept: IO[str]) -> None:
        self.shown, self.kept = shown, kept

    def write(self, text: str) -> None:
        self.shown.write(text)
        self.kept.write(text)

    def flush(self) -> None:
        self.shown.flush()
        self.kept.flush()
