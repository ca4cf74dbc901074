"""Signals, lost readers, lost schedulers and private folders."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from labkit.batch import private
from labkit.batch.private import LOCK, private_folder
from labkit.batch.signals import PARENT, exit_with_parent, stoppable
from labkit.errors import SettingsError, Stopped
from labkit.records.locks import lock
from labkit.settings.paths import project_root
from tests.processes import wait_for

READERLESS = """import sys
from labkit.batch.signals import keep_going_without_readers
keep_going_without_readers()
for _ in range(3):
    print("x" * 100_000, flush=True)
    print("y", file=sys.stderr, flush=True)
open(sys.argv[1], "w").write("done")"""
PIPES = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
CHILD = """import os, sys, time
from labkit.batch.signals import exit_with_parent, stoppable
with stoppable():
    exit_with_parent()
    print("ready", flush=True)
    time.sleep(60)"""


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGQUIT, 131)],
)
def test_a_signal_ends_the_block_once(number, code):
    ended = []
    before = signal.signal(number, signal.SIG_DFL)  # shells start background jobs with some ignored
    try:
        with pytest.raises(Stopped) as caught, stoppable():  # noqa: PT012
            try:
                signal.raise_signal(number)
            finally:
                signal.raise_signal(signal.SIGTERM)  # while cleaning up
                ended.append(True)
    finally:
        signal.signal(number, before)
    assert caught.value.exit_code == code
    assert ended == [True]


def test_a_time_limit_is_124_and_handlers_are_restored():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Stopped) as caught, stoppable(0.05):
        signal.pause()
    assert caught.value.exit_code == 124
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_hang_up_that_nohup_ignores_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stoppable():
            signal.raise_signal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("case", ["broken pipe", "closed", "full"])
def test_output_that_nobody_reads_does_not_end_the_work(tmp_path, case):
    done = tmp_path / "done"
    command = [sys.executable, "-c", READERLESS, str(done)]
    if case == "closed":
        line = 'exec "$@" <&- >&- 2>&-'
        subprocess.run(["sh", "-c", line, "sh", *command], cwd=project_root(), check=True)
    elif case == "full":
        with open("/dev/full", "w") as full:
            process = subprocess.run(command, cwd=project_root(), stdout=full, check=False)
        assert process.returncode == 0
    else:
        line = '"$@" 2>&1 | head -c 10 > /dev/null'
        subprocess.run(["sh", "-c", line, "sh", *command], cwd=project_root(), check=True)
        wait_for(done.is_file, 10)
    assert done.read_text() == "done"


@pytest.mark.parametrize("text", ["abc", "²", "1", "-5", "9" * 30])
def test_a_parent_that_is_none_is_explained(monkeypatch, text):
    monkeypatch.setenv(PARENT, text)
    with pytest.raises(SettingsError, match=f"{PARENT}: got .* expected {os.getppid()}"):
        exit_with_parent()
    assert PARENT not in os.environ


def test_a_job_ends_when_its_scheduler_is_gone():
    script = f"export {PARENT}=$$; '{sys.executable}' -c '{CHILD}' & echo $!; wait"
    with subprocess.Popen(["sh", "-c", script], cwd=project_root(), **PIPES) as scheduler:
        child = int(scheduler.stdout.readline())
        assert scheduler.stdout.readline() == "ready\n"
        scheduler.kill()
        wait_for(lambda: not Path(f"/proc/{child}").exists() or _is_zombie(child), 20)


def _is_zombie(pid: int) -> bool:
    return ") Z" in Path(f"/proc/{pid}/stat").read_text()


# private folders


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(private, "LONGEST_SOCKET_FOLDER", 1000)
    return tmp_path


def test_a_private_folder_is_the_user_s_alone_and_gone_afterwards(temporary):
    with private_folder() as folder:
        parent = folder.parent
        assert parent == temporary / f"labkit-{os.getuid()}"
        assert parent.stat().st_mode & 0o777 == 0o700
        assert os.environ["IPYTHONDIR"] == str(folder)
    assert not folder.exists()
    assert "IPYTHONDIR" not in os.environ


def test_only_unlocked_folders_of_our_own_are_removed(temporary):
    parent = temporary / f"labkit-{os.getuid()}"
    outside = [temporary / "labkit-2024-backup", temporary / "labkit-²-x"]
    kept = [parent / "notes", parent / "kernel-held"]
    for folder in (*outside, *kept, parent / "kernel-dead"):
        folder.mkdir(parents=True)
    (parent / "link").symlink_to(outside[0])
    (outside[0] / LOCK).touch()
    (parent / "kernel-dead" / LOCK).touch()
    with lock(parent / "kernel-held" / LOCK), private_folder():
        assert not (parent / "kernel-dead").exists()
        assert all(folder.is_dir() for folder in (*outside, *kept))
        assert (outside[0] / LOCK).is_file()


def test_a_name_that_another_user_took_is_not_used(temporary):
    (temporary / "elsewhere").mkdir()
    (temporary / f"labkit-{os.getuid()}").symlink_to(temporary / "elsewhere")
    with private_folder() as folder:
        assert folder.parent == temporary
        assert list((temporary / "elsewhere").iterdir()) == []
