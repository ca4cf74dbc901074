"""Files that are there whole or not at all, and folders one process holds at a time."""

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

PART = ".part"  # ending of a file that is being written; never read
FULL = {errno.ENOSPC: "the disk is full", errno.EDQUOT: "the disk quota is used up", errno.EFBIG: "the file is larger than allowed"}


class FileError(OSError):
    """A file that cannot be written or read, or a folder in use. The message names it and says what to do."""

    def __str__(self) -> str:
        return str(self.args[-1])


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically: a reader sees the old file or the new one."""
    write_text(path, json.dumps(value, indent=1) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write text atomically, UTF-8."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file atomically, synced to disk before it takes the name.

    Raises:
        FileError: it cannot be written; what stood under the name before is untouched, and no part of the new file is left.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}{PART}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with beside.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(path)
        except BaseException:
            beside.unlink(missing_ok=True)  # gives its space back
            raise
    except OSError as error:
        raise cannot_write(path, error) from error


def cannot_write(path: Path, error: OSError) -> FileError:
    """The same failure in words: file, reason, what to do."""
    reason = FULL.get(error.errno, error.strerror or str(error))
    advice = "Free some space" if error.errno in FULL else "Mend that"
    return FileError(error.errno, f"{path}: cannot be written, {reason}. {advice}, or choose another folder (setting runs or figures).")


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file.

    Raises:
        FileError: the file does not hold one.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise FileError(error.errno, f"{path}: cannot be read ({error.strerror}); expected a JSON object. Run again.") from error
    except ValueError as error:
        raise FileError(errno.EINVAL, f"{path}: found no JSON ({error}); expected a JSON object. Delete it and run again.") from error
    if not isinstance(value, dict):
        raise FileError(errno.EINVAL, f"{path}: found a {type(value).__name__}; expected a JSON object. Delete it and run again.")
    return value


def file_hash(path: Path) -> str:
    """SHA-256 of a file, hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def held(path: Path, *, patience: float = 20) -> Iterator[None]:
    """Hold a lock file, as one process at a time can.

    A POSIX record lock: the system lets go of it when the holder dies, however it dies, and forked data loaders do not keep it.
    It keeps processes apart, not threads of one process.

    Args:
        path: the lock file; made where there is none, never removed.
        patience: seconds to wait, because the kernel of a killed run takes a moment to notice and end.

    Raises:
        FileError: another process still holds it; the message names that process.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a+")
    except OSError as error:
        raise cannot_write(path, error) from error
    with file:
        _acquire(path, file, time.monotonic() + patience)
        try:
            with contextlib.suppress(OSError):  # on a full disk the lock holds all the same
                file.truncate(0)
                os.write(file.fileno(), f"{os.getpid()}\n".encode())
            yield
        finally:
            fcntl.lockf(file, fcntl.LOCK_UN)


def is_held(path: Path) -> bool:
    """Whether another process holds a lock file now; one made by `held`, which looking neither makes nor changes."""
    try:
        with path.open("rb") as file:
            fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return True
    except FileNotFoundError:
        return False
    return False


def remove_parts(folder: Path) -> None:
    """Remove what a killed process left half-written in a folder; to be called by the holder of its lock."""
    for left in folder.glob(f".*{PART}"):
        left.unlink(missing_ok=True)


def _acquire(path: Path, file: IO[str], deadline: float) -> None:
    while True:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError) as error:  # which of the two, the system chooses
            if time.monotonic() < deadline:
                time.sleep(0.2)
                continue
            file.seek(0)
            holder = file.read().strip() or "unknown"
            raise FileError(
                errno.EAGAIN,
                f"{path.parent}: in use by another process (pid {holder}). Wait for it or end it, then run again.",
            ) from error
        return
