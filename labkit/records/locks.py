"""Locks between processes, one file each, released by the system when their holder dies."""

import contextlib
import errno
import fcntl
import os
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from labkit.errors import FileError
from labkit.records.files import cannot_write

POLL_SECONDS = 0.1
NOTEBOOK_LOCK = ".notebook.lock"  # in the folder of an executed notebook, while it is executed

# POSIX record locks: forked data loaders do not keep them, but a process loses its own lock as soon
# as it closes any descriptor of the file. So a file this process holds is never opened again.
_held: dict[tuple[int, int], int] = {}  # (device, inode) -> pid of the holder
_mutex = threading.Lock()


def _after_fork() -> None:
    global _mutex
    _mutex = threading.Lock()
    _held.clear()


os.register_at_fork(after_in_child=_after_fork)


@contextlib.contextmanager
def lock(path: Path, *, patience: float = 20) -> Iterator[None]:
    """Hold a lock file, as one process (and one block of it) at a time can.

    Args:
        path: the lock file; made where there is none, never removed. No symbolic link.
        patience: seconds to wait, because a killed process takes a moment to end.

    Raises:
        FileError: it is still held after that time (the message names the process), or cannot be
            made.
    """
    deadline = time.monotonic() + patience
    while (descriptor := _try_lock(path)) is None:
        if time.monotonic() >= deadline:
            raise FileError(
                errno.EAGAIN,
                f"{path.parent}: in use by another process (pid {_holder(path)}). "
                "Wait for it or end it, then run again.",
            )
        time.sleep(POLL_SECONDS)
    key = _key(os.fstat(descriptor))
    try:
        yield
    finally:
        with _mutex:
            if _held.pop(key, None) is not None:
                os.close(descriptor)  # releases the lock


def is_locked(path: Path) -> bool:
    """Return whether any process, this one included, holds a lock file now; leaves no trace."""
    with _mutex:
        try:
            status = os.lstat(path)
            if _key(status) in _held:
                return True
            if not stat.S_ISREG(status.st_mode):
                return False
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except (OSError, ValueError):
            return False
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError as error:
            return error.errno in (errno.EAGAIN, errno.EACCES)
        finally:
            os.close(descriptor)
    return False


def _try_lock(path: Path) -> int | None:
    """Return the descriptor of a lock just taken, None where somebody holds it."""
    with _mutex:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileNotFoundError):
                if _key(os.lstat(path)) in _held:
                    return None
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            descriptor = os.open(path, flags, 0o666)
        except OSError as error:
            raise cannot_write(path, error) from error
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise FileError(errno.EINVAL, f"{path}: expected a lock file, a regular file.")
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _key(os.lstat(path)) != _key(status):  # removed by somebody between open and lock
                raise BlockingIOError
        except BaseException as error:
            os.close(descriptor)
            busy = isinstance(error, OSError) and not isinstance(error, FileError)
            if busy and (error.errno in (None, errno.EAGAIN, errno.EACCES, errno.ENOENT)):
                return None
            if busy:
                raise cannot_write(path, error) from error
            raise
        _held[_key(status)] = os.getpid()
        with contextlib.suppress(OSError):  # on a full disk the lock holds all the same
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        return descriptor


def _holder(path: Path) -> str:
    """Return the process number that a lock file names, "unknown" without one."""
    with _mutex, contextlib.suppress(OSError):
        status = os.lstat(path)
        if _key(status) in _held:
            return str(_held[_key(status)])
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            text = os.read(descriptor, 20).decode("ascii", "replace").strip()
        finally:
            os.close(descriptor)
        if text.isascii() and text.isdigit():
            return text
    return "unknown"


def _key(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino
