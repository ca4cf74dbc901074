"""Data files are checked once, cached, and their content enters the fingerprint."""

import json
import os
from types import SimpleNamespace

import pytest
import torch

from labkit.errors import DataError
from labkit.training import preflight
from labkit.training.preflight import check_data_files, data_fingerprint
from tests import trees

INFO = SimpleNamespace(class_names=("a", "b"), mean=(0.5,) * 3, std=(0.2,) * 3, label_table=b"")


class FileFrames:
    """A split of text files; a frame whose image holds "bad" fails its check."""

    def __init__(self, folder, size):
        self.folder, self.checked = folder, []
        names = sorted(path.stem for path in folder.glob("*.image"))
        self.names = names[:size] if size else names

    def __len__(self):
        return len(self.names)

    def frame_name(self, index):
        return self.names[index]

    def files(self, index):
        return tuple(self.folder / f"{self.names[index]}.{kind}" for kind in ("image", "label"))

    def check(self, index):
        self.checked.append(self.names[index])
        image, _ = self.files(index)
        if image.read_text() == "bad":
            raise DataError(f"{image}: is bad; expected good.")


class Scenes:
    """A generated split."""

    def __init__(self, value=0):
        self.value = value

    def __len__(self):
        return 3

    def frame_name(self, index):
        return str(index)

    def files(self, index):
        return ()

    def __getitem__(self, index):
        image = torch.full((3, 4, 4), self.value + index, dtype=torch.uint8)
        return SimpleNamespace(image=image, target=torch.zeros(4, 4, dtype=torch.int64))


@pytest.fixture
def frames(tmp_path, monkeypatch):
    """Three frames on disk, and a function that fingerprints them and returns what it checked."""
    folder = tmp_path / "data"
    folder.mkdir()
    for i in range(3):
        (folder / f"{i}.image").write_text(f"image {i}")
        (folder / f"{i}.label").write_text(f"label {i}")
    opened = []

    def open_split(dataset, split, *, root, size):
        opened.append(FileFrames(folder, size))
        return opened[-1]

    monkeypatch.setattr(preflight, "open_split", open_split)
    monkeypatch.setattr(preflight, "dataset_info", lambda name, *, root: INFO)

    def fingerprint(*, size=0, cache=tmp_path / "cache"):
        value = check_data_files("folder", "train", root="", size=size, cache=cache)
        return value, sorted(opened[-1].checked)

    return SimpleNamespace(folder=folder, fingerprint=fingerprint, cache=tmp_path / "cache")


def test_files_that_passed_are_not_read_again(frames):
    first, checked = frames.fingerprint()
    assert checked == ["0", "1", "2"]
    assert frames.fingerprint() == (first, [])
    assert frames.fingerprint(cache=None) == (first, ["0", "1", "2"])


def test_a_changed_label_is_read_again_and_changes_the_fingerprint(frames):
    first, _ = frames.fingerprint()
    (frames.folder / "1.label").write_text("other")
    second, checked = frames.fingerprint()
    assert checked == ["1"]
    assert second != first


def test_another_modification_time_alone_changes_nothing(frames):
    first, _ = frames.fingerprint()
    os.utime(frames.folder / "1.label", (1, 1))
    assert frames.fingerprint() == (first, ["1"])


def test_only_the_frames_used_count_and_their_names_do(frames):
    two, _ = frames.fingerprint(size=2)
    (frames.folder / "2.image").write_text("other")
    assert frames.fingerprint(size=2)[0] == two
    before, _ = frames.fingerprint()
    for kind in ("image", "label"):
        (frames.folder / f"1.{kind}").rename(frames.folder / f"11.{kind}")
    assert frames.fingerprint()[0] != before


def test_the_fingerprint_does_not_depend_on_the_folder(frames, tmp_path):
    first, _ = frames.fingerprint()
    moved = tmp_path / "elsewhere"
    frames.folder.rename(moved)
    frames.folder.symlink_to(moved)
    assert frames.fingerprint(cache=None)[0] == first


def test_every_fault_is_listed_with_its_file(frames):
    for i in (0, 2):
        (frames.folder / f"{i}.image").write_text("bad")
    (frames.folder / "1.label").unlink()
    with pytest.raises(DataError) as caught:
        frames.fingerprint()
    message = str(caught.value)
    assert message.startswith("folder train: 3 faults")
    assert all(name in message for name in ("0.image", "1.label", "2.image"))


@pytest.mark.parametrize("content", ["", "{", '{"rules": 1, "files": {"a": [1, "x"]}}', "[]"])
def test_a_damaged_cache_is_ignored(frames, content):
    first, _ = frames.fingerprint()
    (path,) = frames.cache.iterdir()
    path.write_text(content)
    assert frames.fingerprint() == (first, ["0", "1", "2"])
    assert json.loads(path.read_text())["files"]


def test_a_cache_that_cannot_be_written_is_no_fault(frames):
    frames.cache.write_text("a file where a folder should be")
    assert frames.fingerprint()[0]


def test_generated_scenes_are_fingerprinted_by_content(monkeypatch):
    monkeypatch.setattr(preflight, "dataset_info", lambda name, *, root: INFO)
    values = []
    for scenes in (Scenes(), Scenes(), Scenes(1)):
        monkeypatch.setattr(preflight, "open_split", lambda *_, scenes=scenes, **__: scenes)
        values.append(check_data_files("streets", "train", root=""))
    assert values[0] == values[1] != values[2]


def test_class_names_and_normalisation_are_part_of_a_runs_data(monkeypatch):
    monkeypatch.setattr(preflight, "open_split", lambda *_, **__: Scenes())
    settings = SimpleNamespace(
        dataset="streets", data_root="", train_size=3, score_split="val", val_size=3, runs="runs"
    )
    values = []
    changes = ({}, {"class_names": ("a", "c")}, {"mean": (0.4, 0.5, 0.5)}, {"label_table": b"1"})
    for change in changes:
        info = SimpleNamespace(**(vars(INFO) | change))
        monkeypatch.setattr(preflight, "dataset_info", lambda *_, info=info, **__: info)
        memory = {}
        values.append(data_fingerprint(settings, memory=memory))
        assert len(memory) == 2
    assert len(set(values)) == 4


def test_the_ids_of_a_folder_are_part_of_its_data_and_of_what_passed(tmp_path):
    trees.write_folder(tmp_path)
    path = tmp_path / "dataset.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    settings = SimpleNamespace(
        dataset="folder", data_root=str(tmp_path), train_size=0, score_split="val", val_size=0,
        runs=str(tmp_path / "runs"),
    )  # fmt: skip

    def fingerprint(**ids):
        values = dict(zip("01234", "abcde", strict=True)) | {"255": None} | ids
        ids = {raw: name for raw, name in values.items() if name != "removed"}
        path.write_text(json.dumps(content | {"ids": ids}), encoding="utf-8")
        return data_fingerprint(settings)

    assert fingerprint() != fingerprint(**{"0": "b", "1": "a"})
    with pytest.raises(DataError, match="unknown ids 255"):
        fingerprint(**{"255": "removed"})
