"""Private folders of kernels: in one parent per user, each locked while it is in use."""

import contextlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from labkit.records.locks import is_locked, lock

LOCK = ".labkit-lock"
PROFILE = "profile_default/ipython_kernel_config.py"
CONFIG = "c.InlineBackend.figure_formats = {'retina'}\n"  # pictures of twice the resolution
LONGEST_SOCKET_FOLDER = 60  # bytes; a socket's whole path must fit 107


@contextlib.contextmanager
def private_folder() -> Iterator[Path]:
    """A fresh folder for one kernel: its sockets and its IPython profile; removed afterwards.

    Folders that killed processes left are removed too: those of this user's parent folder that hold
    labkit's lock file, which nobody holds. Nothing else is touched.
    """
    with contextlib.ExitStack() as stack:
        if parent := _users_folder():
            with lock(parent / LOCK):  # between making a folder and locking it, nobody may clean up
                _remove_left_over(parent)
                private = Path(tempfile.mkdtemp(prefix="kernel-", dir=parent))
                stack.enter_context(lock(private / LOCK))
        else:
            private = Path(tempfile.mkdtemp(prefix="labkit-kernel-", dir=_temporary()))
        stack.callback(shutil.rmtree, private, ignore_errors=True)
        (private / PROFILE).parent.mkdir()
        (private / PROFILE).write_text(CONFIG, encoding="utf-8")
        before = os.environ.get("IPYTHONDIR")
        os.environ["IPYTHONDIR"] = str(private)
        try:
            yield private
        finally:
            os.environ.pop("IPYTHONDIR")
            if before is not None:
                os.environ["IPYTHONDIR"] = before


def _temporary() -> Path:
    """TMPDIR, or /tmp where the path of a socket would get too long."""
    folder = tempfile.gettempdir()
    return Path(folder if len(os.fsencode(folder)) <= LONGEST_SOCKET_FOLDER else "/tmp")


def _users_folder() -> Path | None:
    """This user's parent of private folders, mode 0700; None where its name is another user's."""
    folder = _temporary() / f"labkit-{os.getuid()}"
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
        return None
    if stat.S_IMODE(status.st_mode) != 0o700:
        folder.chmod(0o700)
    return folder


def _remove_left_over(parent: Path) -> None:
    for folder in parent.iterdir():
        held = folder / LOCK
        if folder.is_symlink() or not folder.is_dir() or held.is_symlink() or not held.is_file():
            continue
        if not is_locked(held):
            shutil.rmtree(folder, ignore_errors=True)
