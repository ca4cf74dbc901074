"""Every fault in a data set's files is one sentence with file, found, expected and what to do; sound files are read once."""

import json
import os
import random

import numpy as np
import pytest
import torch
from PIL import Image

import labkit
from labkit.datasets import DataError, _pairs, camvid, open_split, preflight

IDS = np.arange(12).reshape(3, 4).repeat(8, 0).repeat(8, 1)  # 24 x 32, every id 0-11


def write_label(path, ids):
    Image.fromarray(np.asarray(ids, np.uint8)).save(path)


@pytest.fixture
def folder(tmp_path):
    """camvid/ with three sound training pairs: a and b as PNG, c with a JPEG frame."""
    frames, labels = tmp_path / "camvid" / "train", tmp_path / "camvid" / "trainannot"
    pixels = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)
    for path in (frames, labels):
        path.mkdir(parents=True)
    for name in ("a.png", "b.png", "c.jpg"):
        Image.fromarray(pixels).save(frames / name)
        write_label(labels / f"{name[0]}.png", IDS)
    return tmp_path / "camvid"


def looked_through(folder, *, cache=None, split="train"):
    preflight("camvid", split, root=str(folder.parent), cache=cache)


def opened(folder, *, split="train", size=0):
    return open_split("camvid", split, root=str(folder.parent), size=size, height=24, width=32)


def read(folder):
    split = opened(folder)
    return [split[i] for i in range(len(split))]


def said(look, folder, **options) -> str:
    with pytest.raises(DataError) as caught:
        look(folder, **options)
    return str(caught.value)


@pytest.fixture
def reads(monkeypatch):
    """Names of the pictures opened."""
    names, real = [], Image.open

    def counted(path, *args, **options):
        names.append(path.name)
        return real(path, *args, **options)

    monkeypatch.setattr(_pairs.Image, "open", counted)
    return names


# each fault by itself, looked for before a run and met while reading


def cut(path, kept):
    path.write_bytes(path.read_bytes()[:kept])


def two_of_a_stem(folder):
    (folder / "train" / "b.jpg").write_bytes((folder / "train" / "c.jpg").read_bytes())


LABEL, FRAME = "trainannot/b.png", "train/b.png"
BROKEN = "found a broken or truncated picture .*; expected a whole PNG or JPEG. Fetch it anew."
FAULTS = {
    "image without label": (lambda folder: (folder / LABEL).unlink(),
        f"{FRAME}: found no label of that name in .*trainannot; expected one. Add it, or remove the frame."),
    "label without image": (lambda folder: (folder / FRAME).unlink(),
        f"{LABEL}: found no frame of that name in .*train; expected one. Add it, or remove the label."),
    "label of another size": (lambda folder: write_label(folder / LABEL, IDS[:16]),
        f"{LABEL}: found size 16 x 32; expected the frame's 24 x 32. Bring it to the frame's size without interpolating ids."),
    "ids outside": (lambda folder: write_label(folder / LABEL, IDS + 1),
        f"{LABEL}: found ids 12; expected class ids 0-10, and 11 for void. Map them to classes or to void."),
    "void everywhere": (lambda folder: write_label(folder / LABEL, np.full((24, 32), 11)),
        f"{LABEL}: found void at every pixel; expected some labelled pixels. Remove the frame and its label."),
    "three channels": (lambda folder: write_label(folder / LABEL, np.stack([IDS] * 3, 2)),
        f"{LABEL}: found mode RGB; expected one 8-bit channel of class ids 0-10, .* Write it as such a PNG."),
    "truncated label": (lambda folder: cut(folder / LABEL, 60), f"{LABEL}: {BROKEN}"),
    "truncated frame": (lambda folder: cut(folder / FRAME, 1000), f"{FRAME}: {BROKEN}"),
    "truncated JPEG": (lambda folder: cut(folder / "train/c.jpg", 400), f"train/c.jpg: {BROKEN}"),
    "a text": (lambda folder: (folder / FRAME).write_text("no picture"), f"{FRAME}: {BROKEN}"),
    "empty label": (lambda folder: cut(folder / LABEL, 0),
        f"{LABEL}: found an empty file; expected a PNG or JPEG picture. Fetch it anew."),
    "empty frame": (lambda folder: cut(folder / FRAME, 0), f"{FRAME}: found an empty file"),
    "two of a stem": (two_of_a_stem,
        f"{FRAME}: found beside b.jpg; expected one picture of a name. Remove one of the two."),
}  # fmt: skip


@pytest.mark.parametrize("look", [looked_through, read])
@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_names_file_found_expected_and_what_to_do(folder, look, fault):
    spoil, words = FAULTS[fault]
    look(folder)
    spoil(folder)
    with pytest.raises(DataError, match=words):
        look(folder)


@pytest.mark.parametrize("look", [looked_through, read])
@pytest.mark.parametrize("name", [LABEL, FRAME])
def test_a_file_this_user_may_not_read_says_so(folder, look, name, monkeypatch):
    real = Image.open

    def forbidden(path, *args, **options):
        if path == folder / name:
            raise PermissionError(13, "Permission denied")
        return real(path, *args, **options)

    monkeypatch.setattr(_pairs.Image, "open", forbidden)
    assert f"{folder / name}: found a file this user may not read; expected read permission. Give it (chmod +r)." in said(look, folder)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
@pytest.mark.parametrize(("name", "mode", "words"), [(LABEL, 0o644, "chmod +r"), ("trainannot", 0o755, "chmod +rx")])
def test_permissions_of_the_system_are_told(folder, name, mode, words):
    (folder / name).chmod(0)
    try:
        assert words in said(looked_through, folder)
    finally:
        (folder / name).chmod(mode)


def test_a_folder_this_user_may_not_list_says_so(folder, monkeypatch):
    def forbidden(_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(folder), "iterdir", forbidden)
    assert "train: found a folder this user may not read; expected read permission. Give it (chmod +rx)." in said(looked_through, folder)


@pytest.mark.parametrize("look", [looked_through, opened])
def test_missing_and_empty_folders_are_named(folder, look):
    assert f"{folder / 'val'}: found no such folder; expected one of .png, .jpg, .jpeg files" in said(look, folder, split="val")
    (folder / "val").mkdir()
    (folder / "val" / "notes.txt").touch()
    assert f"{folder / 'val'}: found no pictures, an empty split; expected .png, .jpg" in said(look, folder, split="val")
    elsewhere = folder / "elsewhere"
    assert f"camvid: no folder {folder / 'camvid'}; expected train/, trainannot/" in said(look, elsewhere)
    with pytest.raises(DataError, match=r"no data folder given.*Set the environment variable LABKIT_DATA, or the setting data_root"):
        preflight("camvid", "train", root="")


def test_more_frames_than_there_are_is_refused_by_number(folder):
    assert len(opened(folder, size=3)) == 3
    assert "found 3 frames; expected at least 4, the size asked for. Lower it, or 0: all." in said(opened, folder, size=4)


def test_a_split_nobody_knows_is_refused_by_name_before_its_files_are(folder):
    for look in (looked_through, opened):
        assert "camvid: no split 'dev'; it has train, val, test" in said(look, folder, split="dev")


def test_a_data_set_without_files_passes():
    for split in ("train", "val", "test"):
        preflight("streets", split, root="/nowhere")


def test_a_label_with_a_flipped_byte_never_reads_as_other_ids(folder):
    """Pillow checks the sums of a PNG's image data only where it is asked to."""
    path = folder / LABEL
    content, rng = path.read_bytes(), random.Random(0)
    expected = torch.from_numpy(np.where(IDS == 11, 255, IDS))
    for place in range(len(content)):
        flipped = bytearray(content)
        flipped[place] ^= 1 << rng.randrange(8)
        path.write_bytes(flipped)
        try:
            _, target = _pairs.read_pair(folder / FRAME, path, camvid.LABELS)
        except DataError:
            continue
        assert torch.equal(target.long(), expected), f"byte {place}"


# all faults in one message


def test_several_faults_are_told_together_with_their_number(folder):
    for fault in ("image without label", "truncated JPEG"):
        FAULTS[fault][0](folder)
    write_label(folder / "trainannot" / "a.png", IDS + 3)
    text = said(looked_through, folder)
    assert text.startswith("camvid train: 3 faults in its files.\n")
    assert [next(name for name in ("b.png", "a.png", "c.jpg") if name in line) for line in text.splitlines()[1:]] == [
        "b.png",
        "a.png",
        "c.jpg",
    ]


def test_of_many_faults_ten_are_told_and_the_rest_counted(folder):
    for i in range(13):
        write_label(folder / "trainannot" / f"x{i:02}.png", IDS)
    lines = said(looked_through, folder).splitlines()
    assert lines[0] == "camvid train: 13 faults in its files."
    assert len(lines) == 12
    assert lines[-1] == "... and 3 more."


# what was found sound is remembered


def test_sound_files_are_opened_once(folder, tmp_path, reads):
    looked_through(folder, cache=tmp_path / "cache")
    assert set(reads) == {"a.png", "b.png", "c.png", "c.jpg"}
    reads.clear()
    looked_through(folder, cache=tmp_path / "cache")
    assert reads == []
    looked_through(folder)
    assert len(set(reads)) == 4


def touched(path):
    """Another time, the same size."""
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))


def grown(path):
    """Another size, the same time."""
    before = path.stat().st_mtime_ns
    path.write_bytes(path.read_bytes() + b"\0")
    os.utime(path, ns=(0, before))


@pytest.mark.parametrize("change", [touched, grown])
@pytest.mark.parametrize("name", [LABEL, FRAME])
def test_a_changed_file_is_read_again_and_no_other(folder, tmp_path, reads, change, name):
    looked_through(folder, cache=tmp_path / "cache")
    reads.clear()
    change(folder / name)
    looked_through(folder, cache=tmp_path / "cache")
    assert set(reads) == {"b.png"}


def test_a_file_that_was_spoilt_since_is_found_and_never_remembered_as_sound(folder, tmp_path, reads):
    looked_through(folder, cache=tmp_path / "cache")
    write_label(folder / LABEL, IDS + 1)
    for _ in range(2):
        reads.clear()
        assert "found ids 12" in said(looked_through, folder, cache=tmp_path / "cache")
        assert set(reads) == {"b.png"}
    write_label(folder / LABEL, IDS)
    looked_through(folder, cache=tmp_path / "cache")


def test_what_another_version_found_sound_is_read_again(folder, tmp_path, reads, monkeypatch):
    with monkeypatch.context() as before:
        before.setattr(labkit, "__version__", "0.0.9")
        looked_through(folder, cache=tmp_path / "cache")
    reads.clear()
    looked_through(folder, cache=tmp_path / "cache")
    assert len(set(reads)) == 4


VERSION = {"labkit": labkit.__version__}


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "\x00", json.dumps(VERSION), json.dumps(VERSION | {"sound": []}), json.dumps(VERSION | {"sound": {"a": None}})],
)
def test_a_broken_cache_is_ignored_and_written_anew(folder, tmp_path, reads, content):
    looked_through(folder, cache=tmp_path / "cache")
    (file,) = (tmp_path / "cache").iterdir()
    sound = file.read_text()
    file.write_text(content)
    reads.clear()
    looked_through(folder, cache=tmp_path / "cache")
    assert len(set(reads)) == 4
    assert file.read_text() == sound


def test_a_cache_that_cannot_be_written_or_read_does_not_matter(folder, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    looked_through(folder, cache=tmp_path / "file" / "cache")
    looked_through(folder, cache=tmp_path / "cache")

    def forbidden(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(tmp_path), "read_text", forbidden)
    looked_through(folder, cache=tmp_path / "cache")
