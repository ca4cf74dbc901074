"""Run a notebook and verify every cell, because papermill reports a killed kernel as success."""

import contextlib
import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import nbformat
import papermill
from nbclient.exceptions import DeadKernelError
from nbformat import NotebookNode
from papermill.exceptions import PapermillExecutionError
from traitlets.config import Config

from labkit.batch.private import private_folder
from labkit.batch.signals import stoppable
from labkit.errors import FileError, NotebookError, Stopped
from labkit.records.files import cannot_write, write_text
from labkit.records.locks import NOTEBOOK_LOCK, lock
from labkit.records.provenance import now

KERNEL_START_SECONDS = 300  # many kernels that start at once on few cores are slow, not dead
LINES_KEPT = 20
SOURCE_KEPT = 6


def execute(
    source: Path,
    executed: Path,
    parameters: dict[str, Any],
    *,
    timeout: float = 0,
    patience: float = 20,
    facts: Callable[[], dict[str, Any]] = dict,
) -> None:
    """Execute every cell of a notebook on a kernel of its own, over sockets in a private folder.

    Args:
        source: the notebook; its folder is the kernel's working directory.
        executed: where the executed notebook goes; its output is appended to a .log beside it.
        parameters: of its parameters cell, by name.
        timeout: seconds for the whole notebook; 0 = no limit.
        patience: seconds to wait for another process that executes the same notebook.
        facts: called when every cell ran; kept in the notebook's metadata, for `was_executed`.

    Raises:
        NotebookError: a cell failed or ended the notebook, the kernel died, time was up, the disk
            is full, or a signal came.
        FileError: the folder is in use by another process.
    """
    log = executed.with_suffix(".log")
    with contextlib.ExitStack() as stack:
        stack.enter_context(lock(executed.parent / NOTEBOOK_LOCK, patience=patience))
        private = stack.enter_context(private_folder())
        file = stack.enter_context(_open_log(log))
        stderr = stack.enter_context(_redirect_stderr(file))
        kernel = Config(
            {"KernelManager": {"transport": "ipc", "connection_file": f"{private}/kernel.json"}}
        )
        executed.unlink(missing_ok=True)  # an earlier try's notebook is no evidence of this one
        error: BaseException | None = None
        try:
            with stoppable(timeout):
                papermill.execute_notebook(
                    _literal(source),
                    _literal(executed),
                    parameters=parameters,
                    cwd=source.parent,
                    progress_bar=False,
                    start_timeout=KERNEL_START_SECONDS,
                    shutdown_kernel="immediate",
                    stdout_file=_Tee(sys.stdout, file),
                    stderr_file=_Tee(stderr, file),
                    config=kernel,
                )
        except (Exception, Stopped) as caught:
            error = caught
        reason = _reason(error, timeout, executed)
        fault = _verify(executed, reason, facts)
        if fault is None and error is None:
            return
        message = (
            f"{source.stem}{fault or f': {reason}'}\nEvidence: {executed} and {log.name} beside it."
        )
        raise NotebookError(message, exit_code=getattr(error, "exit_code", 1)) from error


def notebook_parameters(source: Path) -> frozenset[str]:
    """Names of a notebook's parameters.

    Raises:
        FileError: there is no such notebook.
    """
    if not source.is_file():
        raise FileError(f"{source}: no such notebook; labkit runs those of its repository.")
    return frozenset(papermill.inspect_notebook(_literal(source)))


def _literal(path: Path) -> str:
    """A path as papermill takes it, which fills in what stands in braces."""
    return str(path).replace("{", "{{").replace("}", "}}")


def _reason(error: BaseException | None, timeout: float, executed: Path) -> str:
    """Describe an exception that came out of papermill; "" where none came."""
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


def _verify(executed: Path, reason: str, facts: Callable[[], dict[str, Any]]) -> str | None:
    """Describe where an executed notebook stopped and record it inside; None where all cells ran.

    papermill marks the cells that a dead kernel never ran as completed, and takes sys.exit(0) for
    success.
    """
    try:
        notebook = nbformat.read(executed, as_version=4)
    except (OSError, ValueError):
        return f": {reason or f'{executed} is missing or broken'}"
    code = [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]
    failed = next((number for number, cell in enumerate(code) if _error_of(cell)), None)
    begun = [n for n, cell in enumerate(code) if cell.metadata.papermill.get("start_time")]
    ran = len(begun) == len(code) and all(cell.execution_count for cell in code)
    if not reason and failed is None and ran:
        notebook.metadata["labkit"] = {"complete": True} | facts()
        write_text(executed, nbformat.writes(notebook) + "\n")
        return None
    where = failed if failed is not None else begun[-1] if begun else 0
    error = _error_of(code[where])
    if not reason and error and error.ename == "SystemExit":
        left = len(code) - where - 1
        reason = f"the cell ended the notebook (sys.exit); {left} cells after it did not run"
    reason = reason or (
        f"{error.ename}: {error.evalue}" if error else "it ended before its last cell"
    )
    for cell in code[where + 1 :]:
        cell.metadata.papermill["status"] = "pending"
    code[where].metadata.papermill |= {"status": "failed", "exception": True}
    notebook.metadata.papermill["exception"] = True
    notebook.metadata["labkit"] = {"stopped": reason}
    with contextlib.suppress(FileError):  # on a full disk the log and papermill's last save remain
        write_text(executed, nbformat.writes(notebook) + "\n")
    return "\n".join([f", cell In [{where + 1}] of {len(code)}: {reason}", *_excerpt(code[where])])


def _error_of(cell: NotebookNode) -> NotebookNode | None:
    return next((output for output in cell.outputs if output.output_type == "error"), None)


def _excerpt(cell: NotebookNode) -> list[str]:
    """The first lines of a cell's source and the last of its output (a bar's last state)."""
    source = cell.source.splitlines()
    begins = [f"  | {line}" for line in source[:SOURCE_KEPT]]
    begins += ["  | ..."] * (len(source) > SOURCE_KEPT)
    printed = "".join(output.text for output in cell.outputs if output.output_type == "stream")
    lines = [line.rstrip().rpartition("\r")[2] for line in printed.split("\n")]
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in lines]
    last = [f"    {line}" for line in lines if line.strip()][-LINES_KEPT:]
    return begins + (["  printed last:", *last] if last else [])


@contextlib.contextmanager
def _open_log(log: Path) -> Iterator[IO[str]]:
    """A log to append to; its first line is the time. A symbolic link is replaced."""
    try:
        if log.is_symlink():
            log.unlink()
        with log.open("a", encoding="utf-8") as file:
            file.write(f"--- {now()}\n")
            file.flush()
            yield file
    except OSError as error:
        if isinstance(error, FileError):
            raise
        raise cannot_write(log, error) from error


@contextlib.contextmanager
def _redirect_stderr(log: IO[str]) -> Iterator[IO[str]]:
    """Send descriptor 2, which a kernel process inherits, to the log; yields the user's stderr."""
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
    """A kernel's output, printed and kept; lost readers of what is printed do not matter."""

    def __init__(self, printed: IO[str], kept: IO[str]) -> None:
        self.printed, self.kept = printed, kept

    def write(self, text: str) -> None:
        self.kept.write(text)
        self._print(lambda: self.printed.write(text))

    def flush(self) -> None:
        self.kept.flush()
        self._print(self.printed.flush)

    def _print(self, action: Any) -> None:
        try:
            action()
        except OSError:
            self.printed = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
