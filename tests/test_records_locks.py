"""One holder at a time, whose death releases the lock; looking changes nothing."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from labkit.errors import FileError
from labkit.records import is_locked, lock

HOLD = """
import sys, time
from pathlib import Path
from labkit.records.locks import lock
with lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(float(sys.argv[2]))
"""
HOLD_FORK_AND_DIE = """
import os, sys, time
from pathlib import Path
from labkit.records.locks import lock
with lock(Path(sys.argv[1])):
    child = os.fork()
    if child == 0:
        time.sleep(60)
        os._exit(0)
    print(child, flush=True)
    os.kill(os.getpid(), 9)
"""
TRY = """
import sys
from pathlib import Path
from labkit.records.locks import is_locked
print(is_locked(Path(sys.argv[1])))
"""


def python(code, *arguments) -> subprocess.Popen:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, text=True, stdout=subprocess.PIPE)


@pytest.fixture
def holder(tmp_path):
    """Seconds -> another process that holds tmp_path/run/.lock so long."""
    processes = []

    def start(seconds=60.0):
        processes.append(python(HOLD, tmp_path / "run" / ".lock", seconds))
        assert processes[-1].stdout.readline() == "held\n"
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def test_a_folder_in_use_is_refused_with_the_holder_s_number(tmp_path, holder):
    process = holder()
    path = tmp_path / "run" / ".lock"
    words = rf"run: in use by another process \(pid {process.pid}\)\. Wait for it or end it"
    with pytest.raises(FileError, match=words), lock(path, patience=0):
        pytest.fail("held by two")
    assert is_locked(path)
    assert is_locked(path)
    process.kill()
    process.wait()
    assert not is_locked(path)
    with lock(path, patience=5):
        assert path.read_text() == f"{os.getpid()}\n"


def test_a_holder_about_to_end_is_waited_for(tmp_path, holder):
    holder(0.5)
    with lock(tmp_path / "run" / ".lock", patience=20):
        pass


def test_a_holder_that_looks_keeps_its_lock(tmp_path):
    path = tmp_path / ".lock"
    with lock(path):
        assert is_locked(path)
        with pytest.raises(FileError, match=f"pid {os.getpid()}"), lock(path, patience=0):
            pytest.fail("held twice")
        assert python(TRY, path).communicate(timeout=30)[0] == "True\n"
    assert not is_locked(path)
    assert python(TRY, path).communicate(timeout=30)[0] == "False\n"


def test_a_forked_child_does_not_keep_the_lock_of_its_dead_parent(tmp_path):
    process = python(HOLD_FORK_AND_DIE, tmp_path / ".lock")
    child = int(process.stdout.readline())
    try:
        assert process.wait(timeout=20) == -signal.SIGKILL
        os.kill(child, 0)  # it lives
        with lock(tmp_path / ".lock", patience=5):
            pass
    finally:
        os.kill(child, signal.SIGKILL)
        process.stdout.close()


def test_threads_of_one_process_exclude_each_other(tmp_path):
    inside, most = [], []

    def work():
        for _ in range(5):
            with lock(tmp_path / ".lock"):
                inside.append(1)
                most.append(len(inside))
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 10


def test_a_lock_is_released_however_its_block_ends_and_its_file_stays(tmp_path, holder):
    with pytest.raises(ZeroDivisionError), lock(tmp_path / "run" / ".lock"):
        raise ZeroDivisionError
    assert (tmp_path / "run" / ".lock").is_file()
    holder()


def test_a_lock_never_follows_a_symbolic_link(tmp_path):
    target = tmp_path / "thesis.tex"
    target.write_text("years")
    link = tmp_path / ".lock"
    link.symlink_to(target)
    with pytest.raises(FileError, match=r"\.lock: cannot be written"), lock(link, patience=0):
        pass
    assert not is_locked(link)
    assert target.read_text() == "years"


def test_looking_makes_nothing_and_what_is_no_lock_is_not_held(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for name in ("none", "pipe", "no/folder", "a\0b"):
        assert not is_locked(tmp_path / name)
    assert [entry.name for entry in tmp_path.iterdir()] == ["pipe"]
    with pytest.raises(FileError, match="regular file"), lock(tmp_path / "pipe", patience=0):
        pass
    (tmp_path / "file").touch()
    with pytest.raises(FileError, match="cannot be written"), lock(tmp_path / "file" / ".lock"):
        pass
