"""Files are written whole or not at all; links are not followed; faults name the file."""

import errno
import hashlib
import os
import resource
import signal
import subprocess
import sys

import pytest

from labkit.errors import FileError
from labkit.records import files, read_json, remove_parts, write_bytes, write_json, write_text
from labkit.records.files import file_hash, read_bytes

DIE_WHILE_WRITING = """
import os, sys
from pathlib import Path
from labkit.records.files import write_bytes
os.fsync = lambda _: os.kill(os.getpid(), 9)
write_bytes(Path(sys.argv[1]), b"new" * 1000)
"""


def test_a_file_is_written_with_its_folder_and_nothing_beside_it(tmp_path):
    path = tmp_path / "deep" / "er" / "value.json"
    for value in ({"a": 1}, {"b": [1.5, "é"]}):
        write_json(path, value)
        assert read_json(path) == value
        assert [entry.name for entry in path.parent.iterdir()] == ["value.json"]
    write_text(path, "zwölf")
    assert path.read_bytes() == "zwölf".encode()
    assert file_hash(path) == hashlib.sha256("zwölf".encode()).hexdigest()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO])
@pytest.mark.parametrize("before", [None, b"old"])
def test_a_failed_write_leaves_the_old_file_and_no_part(tmp_path, monkeypatch, number, before):
    path = tmp_path / "model.safetensors"
    if before:
        path.write_bytes(before)

    def fail(_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(files.os, "fsync", fail)
    with pytest.raises(FileError, match=r"model\.safetensors: cannot be written, .*setting runs"):
        write_bytes(path, b"new")
    content = {entry.name: entry.read_bytes() for entry in tmp_path.iterdir()}
    assert content == ({path.name: before} if before else {})


def test_an_interrupt_while_writing_leaves_the_old_file_and_no_part(tmp_path, monkeypatch):
    path = tmp_path / "manifest.json"
    write_text(path, "old")

    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(files.os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_text(path, "new")
    assert [(entry.name, entry.read_text()) for entry in tmp_path.iterdir()] == [(path.name, "old")]


def test_a_kill_while_writing_leaves_the_old_file_and_a_part_that_can_be_removed(tmp_path):
    path = tmp_path / "last.safetensors"
    path.write_bytes(b"old")
    process = subprocess.run([sys.executable, "-c", DIE_WHILE_WRITING, path], timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert path.read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 2
    remove_parts(tmp_path)
    assert list(tmp_path.iterdir()) == [path]


def test_removing_parts_touches_nothing_else(tmp_path):
    names = ("last.safetensors", ".lock", "notes.part", ".hidden", ".thesis.part", ".a.12-0.part")
    others = [tmp_path / name for name in names]
    for path in (*others, tmp_path / ".last.safetensors.12-0123abcd.part"):
        path.touch()
    (tmp_path / ".folder.12-0123abcd.part").mkdir()
    remove_parts(tmp_path)
    remove_parts(tmp_path / "no such folder")
    assert sorted(tmp_path.iterdir()) == sorted([*others, tmp_path / ".folder.12-0123abcd.part"])


def test_a_limit_of_the_system_is_explained(tmp_path):
    code = (
        "import sys; from pathlib import Path; from labkit.records.files import write_bytes\n"
        "from labkit.errors import FileError\n"
        "try: write_bytes(Path(sys.argv[1]), b'x' * 100_000)\n"
        "except FileError as error: print(error)"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "file"],
        capture_output=True,
        text=True,
        timeout=60,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)),
    )
    assert "cannot be written, the file is larger than allowed. Free some space" in answer.stdout
    assert list(tmp_path.iterdir()) == []


def test_writing_replaces_a_symbolic_link_and_leaves_its_target(tmp_path, monkeypatch):
    target = tmp_path / "thesis.tex"
    target.write_text("years")
    link = tmp_path / "runs" / "manifest.json"
    link.parent.mkdir()
    link.symlink_to(target)
    monkeypatch.setattr(files.secrets, "token_hex", lambda _: "0" * 8)
    part = link.with_name(f".manifest.json.{os.getpid()}-00000000.part")
    part.symlink_to(target)
    with pytest.raises(FileError, match="cannot be written"):
        write_text(link, "{}")
    write_text(link, "{}")  # the failed write removed the link in its way
    assert target.read_text() == "years"
    assert not link.is_symlink()


@pytest.mark.parametrize(
    "content",
    [b'{"state": "comp', b"", b"\xff\xfe\x00", b"[1, 2]", b'"complete"', b"null", b"[" * 100_000,
     b'{"a":' * 100_000, b"9" * 10_000],
)  # fmt: skip
def test_what_is_no_json_object_is_refused_by_name(tmp_path, content):
    path = tmp_path / "manifest.json"
    path.write_bytes(content)
    with pytest.raises(
        FileError, match=r"manifest\.json: holds .*; expected a JSON object"
    ) as caught:
        read_json(path)
    assert len(str(caught.value)) < 400


def test_what_is_no_regular_file_or_too_large_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "large").write_bytes(b"x" * 11)
    for name, words in (
        ("pipe", "regular file"),
        ("large", "at most 10 bytes"),
        ("none", "No such"),
    ):
        with pytest.raises(FileError, match=words):
            read_bytes(tmp_path / name, limit=10)
    for name in ("pipe", "none"):
        with pytest.raises(FileError, match=name):
            file_hash(tmp_path / name)
