"""Files are there whole or not at all, one process holds a folder, and every refusal says what to do."""

import errno
import hashlib
import os
import signal
import subprocess
import sys

import pytest

from labkit import files
from labkit.files import FileError, file_hash, held, is_held, read_json, remove_parts, write_bytes, write_json, write_text

HOLD = """
import sys, time
from pathlib import Path
from labkit.files import held
with held(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(float(sys.argv[2]))
"""
DIE_WHILE_WRITING = """
import os, sys
from pathlib import Path
from labkit.files import write_bytes
os.fsync = lambda _: os.kill(os.getpid(), 9)
write_bytes(Path(sys.argv[1]), b"new" * 1000)
"""
HOLD_FORK_AND_DIE = """
import os, sys, time
from pathlib import Path
from labkit.files import held
with held(Path(sys.argv[1])):
    child = os.fork()
    if child == 0:
        time.sleep(60)
        os._exit(0)
    print(child, flush=True)
    os.kill(os.getpid(), 9)
"""
WITHIN_A_LIMIT = """
import resource, sys
from pathlib import Path
from labkit.files import FileError, held, write_bytes
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), int(sys.argv[3])))
try:
    if sys.argv[2] == "write":
        write_bytes(Path(sys.argv[1]), b"new" * 100_000)
    else:
        with held(Path(sys.argv[1])):
            pass
except FileError as error:
    print(error)
"""


def python(script, *arguments, **options) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-c", script, *map(str, arguments)], text=True, stdout=subprocess.PIPE, **options)


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


# written whole or not at all


def test_a_file_is_written_with_its_folder_and_nothing_beside_it(tmp_path):
    path = tmp_path / "deep" / "er" / "value.json"
    for value in ({"a": 1}, {"b": [1.5, "é"]}):
        write_json(path, value)
        assert read_json(path) == value
        assert [found.name for found in path.parent.iterdir()] == ["value.json"]
    write_text(path, "zwölf")
    assert path.read_bytes() == "zwölf".encode()
    assert file_hash(path) == hashlib.sha256("zwölf".encode()).hexdigest()


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (errno.ENOSPC, r"the disk is full\. Free some space"),
        (errno.EDQUOT, r"the disk quota is used up\. Free some space"),
        (errno.EFBIG, r"the file is larger than allowed\. Free some space"),
        (errno.EIO, r"Input/output error\. Mend that"),
    ],
)
@pytest.mark.parametrize("before", [None, b"old"])
def test_a_write_that_fails_says_why_and_leaves_what_was_there(tmp_path, monkeypatch, number, reason, before):
    path = tmp_path / "model.safetensors"
    if before:
        path.write_bytes(before)

    def full(_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(FileError, match=rf"model\.safetensors: cannot be written, {reason}, or choose another folder") as caught:
        write_bytes(path, b"new")
    assert caught.value.errno == number
    assert {found.name: found.read_bytes() for found in tmp_path.iterdir()} == ({path.name: before} if before else {})


def test_an_interrupt_while_writing_leaves_the_old_file_and_no_part(tmp_path, monkeypatch):
    path = tmp_path / "manifest.json"
    write_text(path, "old")

    def interrupted(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(files.os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_text(path, "new")
    assert [(found.name, found.read_text()) for found in tmp_path.iterdir()] == [("manifest.json", "old")]


def test_a_kill_while_writing_leaves_the_old_file_and_a_part_that_is_cleared_away(tmp_path):
    path = tmp_path / "last.safetensors"
    path.write_bytes(b"old")
    process = python(DIE_WHILE_WRITING, path)
    process.communicate(timeout=30)
    assert process.returncode == -signal.SIGKILL
    assert path.read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 2
    remove_parts(tmp_path)
    assert list(tmp_path.iterdir()) == [path]


def test_clearing_parts_touches_nothing_else(tmp_path):
    others = [tmp_path / name for name in ("last.safetensors", ".lock", "notes.part", ".hidden")]
    for path in (*others, tmp_path / ".last.safetensors.12.part"):
        path.touch()
    remove_parts(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted(others)


def test_a_limit_of_the_system_is_told_in_words_and_the_old_file_stays(tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"old")
    said, _ = python(WITHIN_A_LIMIT, path, "write", 4096).communicate(timeout=30)
    assert said.startswith(f"{path}: cannot be written, the file is larger than allowed. Free some space")
    assert [(found.name, found.read_bytes()) for found in tmp_path.iterdir()] == [("model.safetensors", b"old")]


def test_a_full_disk_does_not_keep_a_lock_from_being_held(tmp_path):
    process = python(WITHIN_A_LIMIT, tmp_path / ".lock", "hold", 0, stderr=subprocess.PIPE)
    assert process.communicate(timeout=30) == ("", "")
    assert process.returncode == 0


def test_a_folder_that_is_a_file_is_told_in_words(tmp_path):
    (tmp_path / "runs").touch()
    with pytest.raises(FileError, match=r"runs/a\.json: cannot be written, .*choose another folder \(setting runs or figures\)"):
        write_json(tmp_path / "runs" / "a.json", {})
    with pytest.raises(FileError, match=r"runs/\.lock: cannot be written"), held(tmp_path / "runs" / ".lock"):
        pass


# read with every fault in words


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b'{"state": "comp', "found no JSON"),
        (b"", "found no JSON"),
        (b"\xff\xfe\x00", "found no JSON"),
        (b"[1, 2]", "found a list"),
        (b'"complete"', "found a str"),
        (b"null", "found a NoneType"),
    ],
)
def test_what_is_no_json_object_is_refused_by_name(tmp_path, content, words):
    path = tmp_path / "manifest.json"
    path.write_bytes(content)
    with pytest.raises(FileError, match=rf"manifest\.json: {words}.*expected a JSON object\. Delete it and run again"):
        read_json(path)


def test_a_file_that_is_gone_is_told_in_words(tmp_path):
    with pytest.raises(FileError, match=r"config\.json.*JSON object"):
        read_json(tmp_path / "config.json")


def test_a_file_error_says_its_words_and_nothing_else():
    assert str(FileError(errno.EIO, "metrics.json: gone.")) == "metrics.json: gone."
    assert str(FileError(None, "a reason without a number")) == "a reason without a number"


# held by one process


def test_a_folder_in_use_is_refused_with_the_holder_s_number(tmp_path, holder):
    process = holder()
    words = rf"run: in use by another process \(pid {process.pid}\)\. Wait for it or end it, then run again"
    with pytest.raises(FileError, match=words), held(tmp_path / "run" / ".lock", patience=0):
        pytest.fail("held by two")
    assert process.poll() is None


def test_a_holder_about_to_end_is_waited_for(tmp_path, holder):
    process = holder(0.6)
    with held(tmp_path / "run" / ".lock", patience=20):
        assert (tmp_path / "run" / ".lock").read_text() == f"{os.getpid()}\n"
    assert process.wait(timeout=20) == 0


def test_a_killed_holder_lets_go(tmp_path, holder):
    holder().kill()
    with held(tmp_path / "run" / ".lock", patience=5):
        pass


def test_looking_at_a_lock_tells_whether_another_process_holds_it_and_leaves_no_trace(tmp_path, holder):
    path = tmp_path / "run" / ".lock"
    assert not is_held(path)
    path.parent.mkdir()
    assert not is_held(path)
    assert list(path.parent.iterdir()) == []
    process = holder()
    assert [is_held(path) for _ in range(3)] == [True] * 3
    process.kill()
    process.wait()
    assert not is_held(path)
    assert path.read_text() == f"{process.pid}\n"


def test_a_forked_child_does_not_keep_the_lock_of_its_dead_parent(tmp_path):
    process = python(HOLD_FORK_AND_DIE, tmp_path / ".lock")
    child = int(process.stdout.readline())
    try:
        assert process.wait(timeout=20) == -signal.SIGKILL
        os.kill(child, 0)  # it lives
        with held(tmp_path / ".lock", patience=5):
            pass
    finally:
        os.kill(child, signal.SIGKILL)
        process.stdout.close()


def test_a_lock_is_let_go_however_its_block_ends_and_its_file_stays(tmp_path, holder):
    with pytest.raises(ZeroDivisionError), held(tmp_path / "run" / ".lock"):
        raise ZeroDivisionError
    assert (tmp_path / "run" / ".lock").is_file()
    holder()
