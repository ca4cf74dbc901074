"""The cache of decoded frames returns the same frames, and never stale ones."""

import json
import os
import pickle
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from labkit.cli import app
from labkit.datasets import (
    Sample,
    TrainBatches,
    cache_dataset,
    dataset_info,
    decoding,
    open_module,
    open_split,
)
from labkit.datasets.cache import CachedSplit, use_cache, write_cache
from labkit.errors import DataError
from labkit.training.fit import train_run
from tests import trees
from tests.training import SMALL, tiny_networks  # noqa: F401  an autouse fixture


@pytest.fixture
def split(tmp_path):
    trees.write_ade20k(tmp_path / "data")
    return open_module("ade20k").open_split("train", root=str(tmp_path / "data"), size=0)


@pytest.fixture
def cached(split, tmp_path, monkeypatch):
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path / "cache"))
    write_cache("ade20k-train", split)
    return use_cache("ade20k-train", split)


def same(a, b) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_cached_frames_and_batches_are_the_same(split, cached):
    assert isinstance(cached, CachedSplit)
    again = pickle.loads(pickle.dumps(cached))
    for i in range(len(split)):
        assert same(cached[i], split[i])
        assert same(again[i], split[i])
        assert torch.equal(cached.target(i), split.target(i))
    options = {"crop": (16, 16), "scale": (0.5, 2), "batch_size": 3, "seed": 0}
    info = dataset_info("ade20k")
    assert same(TrainBatches(cached, info, **options)[1], TrainBatches(split, info, **options)[1])


def test_frames_come_from_the_cache_and_its_use_is_noted(split, cached, monkeypatch):
    def read(index):
        raise AssertionError("read from its files")

    monkeypatch.setattr(split, "read_bytes", read)
    assert cached[0].image.shape[0] == 3
    assert "from a cache" in cached.note


def test_a_changed_file_is_read_anew(split, cached):
    before = cached[1].target.clone()
    _, label = split.files(1)
    trees.write_label(label, trees.blocks(99, range(1, 151), *before.shape))
    assert torch.equal(cached[1].target, split[1].target)
    assert not torch.equal(cached[1].target, before)


def test_ids_mapped_otherwise_are_read_anew(tmp_path, monkeypatch):
    trees.write_folder(tmp_path)
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path / "cache"))
    cache_dataset("folder", str(tmp_path))
    before = open_split("folder", "val", root=str(tmp_path))[0].target
    path = tmp_path / "dataset.json"
    ids = {"0": "b", "1": "a", "2": "c", "3": "d", "4": "e", "255": None}
    content = json.loads(path.read_text(encoding="utf-8")) | {"ids": ids}
    path.write_text(json.dumps(content), encoding="utf-8")
    after = open_split("folder", "val", root=str(tmp_path))[0].target
    assert torch.equal(after == 1, before == 0)


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"version": 0, "frames": {}}'])
def test_a_damaged_cache_is_not_used(split, cached, content):
    (cached.folder / "index.json").write_text(content, encoding="utf-8")
    assert use_cache("ade20k-train", split) is split


def test_a_cache_whose_frames_are_cut_off_is_not_used(split, cached):
    path = cached.folder / "frames.bin"
    path.write_bytes(path.read_bytes()[:-1])
    assert use_cache("ade20k-train", split) is split


def test_a_file_changed_under_its_old_size_and_time_is_read_anew(split, cached):
    _, label = split.files(1)
    before, content = label.stat(), bytearray(label.read_bytes())
    label.write_bytes(content)
    os.utime(label, ns=(before.st_atime_ns, before.st_mtime_ns))
    expected = split.read_bytes(1).target + 1
    split.read_bytes = lambda index: Sample(torch.zeros(1), expected)
    assert torch.equal(cached.target(1), expected.long())


def test_an_offset_outside_the_file_is_not_used(split, cached):
    path = cached.folder / "index.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    next(iter(content["frames"].values()))[0] = 10**9
    path.write_text(json.dumps(content), encoding="utf-8")
    assert use_cache("ade20k-train", split) is split


def test_without_a_folder_for_it_there_is_no_cache(split, monkeypatch):
    monkeypatch.delenv("LABKIT_CACHE", raising=False)
    assert use_cache("ade20k-train", split) is split
    with pytest.raises(DataError, match="LABKIT_CACHE"):
        write_cache("ade20k-train", split)


def test_an_opened_split_uses_its_cache(cached, tmp_path):
    assert "from a cache" in open_split("ade20k", "train", root=str(tmp_path / "data")).note
    assert "cache" not in open_split("ade20k", "val", root=str(tmp_path / "data")).note


def test_splits_of_one_folder_have_caches_of_their_own(tmp_path, monkeypatch):
    raw = trees.write_voc(tmp_path / "data")
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path / "cache"))
    assert len(set(cache_dataset("voc", str(tmp_path / "data")))) == 2
    for (split, name), ids in raw.items():
        frames = open_split("voc", split, root=str(tmp_path / "data"))
        index = next(i for i in range(len(frames)) if frames.frame_name(i) == name)
        assert frames[index].target.tolist() == ids.tolist()
        assert "from a cache" in frames.note
    with pytest.raises(DataError, match="generated"):
        cache_dataset("streets")


def test_a_run_records_that_its_frames_came_from_a_cache(tmp_path, monkeypatch):
    trees.write_camvid(tmp_path)
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path / "cache"))
    values = SMALL | {"dataset": "camvid", "data_root": str(tmp_path), "train_steps": 1}
    values |= {"crop_height": 24, "crop_width": 32, "train_size": 0, "val_size": 0}
    cache_dataset("camvid", str(tmp_path))
    run = train_run("teacher", values | {"runs": str(tmp_path / "runs")})
    assert "from a cache" in run.facts()["data_note"]


def test_the_command_states_size_and_use_and_writes(tmp_path, monkeypatch):
    trees.write_camvid(tmp_path)
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path / "cache"))
    result = CliRunner().invoke(app, ["data", "cache", "camvid", str(tmp_path)])
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert "camvid train: 4 frames, 0.00 GB decoded" in lines[0]
    assert "stay in memory" in lines[0]
    assert all((Path(line) / "index.json").is_file() for line in lines[2:])
    for values in (["streets"], ["camvid", str(tmp_path), "--split", "sky"]):
        assert CliRunner().invoke(app, ["data", "cache", *values]).exit_code == 2


def test_where_frames_do_not_fit_in_memory_the_share_of_decoding_is_measured(split, monkeypatch):
    monkeypatch.setattr(decoding, "BUDGET", 0)
    root = str(split.files(0)[0].parents[3])
    assert "% of loading" in decoding.describe_cache("ade20k", root, splits=["train"])[0]
    assert all(seconds > 0 for seconds in decoding.decoding_times(split))
