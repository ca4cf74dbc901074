"""Atomic file writes, bounded reads of JSON, and hashes."""

import errno
import hashlib
import json
import os
import re
import secrets
import stat
from pathlib import Path
from typing import Any

from labkit.errors import FileError

FULL = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "the file is larger than allowed",
}
PART = re.compile(r"\..+\.[0-9]+-[0-9a-f]{8}\.part")  # a file that is being written; never read
LARGEST_JSON = 64 * 2**20  # bytes


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically: a reader sees the old file or the new one."""
    write_text(path, json.dumps(value, indent=1) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write text atomically, UTF-8."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file atomically, synced to disk before it takes the name.

    A symbolic link under the name is replaced, never followed.

    Raises:
        FileError: it cannot be written; the old file is untouched and no part of the new one left.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            with open(os.open(part, flags, 0o666), "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        except BaseException:
            part.unlink(missing_ok=True)  # gives its space back
            raise
    except OSError as error:
        raise cannot_write(path, error) from error


def cannot_write(path: Path, error: OSError) -> FileError:
    """Return a FileError that names the file, the reason and what to do."""
    reason = FULL.get(error.errno, error.strerror or str(error))
    advice = "Free some space" if error.errno in FULL else "Correct that"
    return FileError(
        error.errno,
        f"{path}: cannot be written, {reason}. {advice}, or choose another folder "
        "(setting runs or figures).",
    )


def read_json(path: Path) -> dict[str, Any]:
    """Return a JSON object from a file of at most 64 MiB.

    Raises:
        FileError: the file does not hold one.
    """
    try:
        value = json.loads(read_bytes(path, limit=LARGEST_JSON).decode())
    except RecursionError as error:
        raise _no_object(path, "JSON nested too deeply") from error
    except ValueError as error:
        raise _no_object(path, f"no JSON ({str(error)[:80]})") from error
    if not isinstance(value, dict):
        raise _no_object(path, f"a {type(value).__name__}")
    return value


def read_bytes(path: Path, *, limit: int) -> bytes:
    """Return the content of a regular file.

    Args:
        limit: bytes at most.

    Raises:
        FileError: it is missing, larger, or no regular file.
    """
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise FileError(errno.EINVAL, f"{path}: expected a regular file.")
            if status.st_size > limit:
                raise FileError(errno.EFBIG, f"{path}: expected at most {limit} bytes.")
            return file.read(limit + 1)
    except FileError:
        raise
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise FileError(
            getattr(error, "errno", None), f"{path}: cannot be read ({reason})."
        ) from error


def _no_object(path: Path, what: str) -> FileError:
    return FileError(errno.EINVAL, f"{path}: holds {what}; expected a JSON object.")


def file_hash(path: Path) -> str:
    """Return SHA-256 of a regular file, hex.

    Raises:
        FileError: it cannot be read.
    """
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise FileError(errno.EINVAL, f"{path}: expected a regular file.")
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileError:
        raise
    except OSError as error:
        raise FileError(error.errno, f"{path}: cannot be read ({error.strerror}).") from error


def remove_parts(folder: Path) -> None:
    """Remove files a killed process left half-written; to be called by the holder of the lock."""
    if not folder.is_dir():
        return
    for entry in os.scandir(folder):
        if PART.fullmatch(entry.name) and not entry.is_dir(follow_symlinks=False):
            Path(entry.path).unlink(missing_ok=True)
