"""How a command ends: every error becomes one message and an exit code."""

import contextlib
import logging
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from labkit.batch.receipts import JobFiles, reported
from labkit.batch.signals import exit_with_parent, keep_going_without_readers
from labkit.errors import LabkitError

USERS_FAULT = 2  # exit code of errors before anything was started
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]


@contextlib.contextmanager
def errors_explained(debug: bool) -> Iterator[None]:
    """Turn every error into one message and an exit code; a traceback only with --debug."""
    keep_going_without_readers()
    if not debug:  # it prints tracebacks of what waited for a kernel that is gone
        logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    try:
        yield
    except (typer.Exit, SystemExit):
        raise
    except BaseException as error:
        if debug:
            raise
        message, code = _message(error)
        print(f"\nlabkit: {message}", file=sys.stderr)
        raise typer.Exit(code) from None


def _message(error: BaseException) -> tuple[str, int]:
    """Message and exit code of an error."""
    go_on = f"Go on with: {shlex.join(['labkit', *sys.argv[1:]])[:2000]}"
    if isinstance(error, LabkitError):
        done = error.exit_code == USERS_FAULT
        return (str(error) if done else f"{error}\n{go_on}"), error.exit_code
    if isinstance(error, KeyboardInterrupt):
        reason = getattr(error, "reason", "interrupted (Ctrl-C)")
        return f"{reason}.\n{go_on}", getattr(error, "exit_code", 130)
    if type(error).__name__ == "OutOfMemoryError":
        first = str(error).splitlines()[0]
        return (
            f"out of memory on the device ({first}). End what else uses it, or use device=cpu.",
            1,
        )
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or 'a file'}: {error.strerror}.\n{go_on}", 1
    text = f"{type(error).__name__}: {str(error)[:1000]}"
    return f"{text}. This is a fault of labkit; --debug shows where.", 1


@contextlib.contextmanager
def job(receipt: Path | None) -> Iterator[JobFiles | None]:
    """A scheduler's job reports by files beside its receipt, and ends with its scheduler."""
    exit_with_parent()
    if receipt is None:
        yield None
        return
    files = JobFiles(receipt.absolute())
    with reported(files):
        yield files
