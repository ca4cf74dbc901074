"""A folder of one's own: dataset.json, the first one written, and what is refused."""

import json
import os
import re
import shlex
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from labkit.batch.matrix import read_matrix
from labkit.batch.workflow import Workflow
from labkit.cli import app
from labkit.datasets import dataset_info, dataset_recipe, open_split
from labkit.datasets.describe import describe_dataset
from labkit.datasets.init_folder import init_folder
from labkit.datasets.show import sheet_frames
from labkit.errors import DataError
from labkit.settings.paths import project_root
from tests import matrices, trees


@pytest.fixture
def folder(tmp_path):
    trees.write_folder(tmp_path)
    return tmp_path


def describe(folder, **changes):
    """Write dataset.json with other values; None removes one."""
    path = folder / "dataset.json"
    content = json.loads(path.read_text(encoding="utf-8")) | changes
    kept = {name: value for name, value in content.items() if value is not None}
    path.write_text(json.dumps(kept), encoding="utf-8")


def test_classes_colours_and_splits_come_from_the_file(folder):
    info = dataset_info("folder", root=str(folder))
    assert info.class_names == ("a", "b", "c", "d", "e")
    assert info.palette[0] == (255, 0, 0)
    assert info.splits == ("train", "val")
    assert dataset_recipe("folder", "default", root=str(folder))["resize"] == "short:128"
    train, val = (open_split("folder", split, root=str(folder)) for split in ("train", "val"))
    assert (len(train), len(val)) == (16, 4)
    assert [val.frame_name(i) for i in range(4)] == ["pair04", "pair09", "pair14", "pair19"]


def test_an_id_map_merges_and_drops_values(folder):
    ids = {"0": "x", "1": "y", "2": "y", "3": None, "4": "x", "255": None}
    describe(folder, classes=["x", "y"], ids=ids)
    target = open_split("folder", "val", root=str(folder))[0].target.numpy()
    raw = np.array(Image.open(folder / "labels/pair04.png", formats=["PNG"]))
    assert (target == np.choose(np.minimum(raw, 5), [0, 1, 1, 255, 0, 255])).all()


def test_splits_may_have_folders_of_their_own(folder):
    own = {"images": "images", "labels": "labels"}
    describe(folder, val_every=None, val=own, test=own)
    assert dataset_info("folder", root=str(folder)).splits == ("train", "val", "test")
    assert len(open_split("folder", "test", root=str(folder))) == 20


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"classes": None}, "no usable classes"),
        ({"classes": ["a", "a"]}, "a name twice"),
        ({"classes": ["a\n"]}, "printable"),
        ({"classes": {"a": [0, 0, 300]}}, "colour"),
        ({"classes": ["a"] * 2 + [3]}, "classes"),
        ({"ids": {"300": "a"}}, "the id '300'"),
        ({"ids": {"²": "a"}}, "the id"),
        ({"ids": {"0": "z"}}, "id 0 of 'z'"),
        ({"ids": {"0": "a"}}, "no id of b"),
        ({"ids": []}, "ids"),
        ({"train": {"images": "../images", "labels": "labels"}}, "'../images'"),
        ({"train": {"images": "/etc", "labels": "labels"}}, "'/etc'"),
        ({"train": {"images": "images"}}, "has train"),
        ({"train": None}, "no train and val"),
        ({"val_every": None}, "no train and val"),
        ({"val_every": 1}, "val_every 1"),
        ({"val_every": True}, "val_every True"),
        ({"recipes": {}}, "'recipes'"),
    ],
)
def test_a_wrong_description_is_explained(folder, changes, words):
    describe(folder, **changes)
    with pytest.raises(DataError, match=words) as caught:
        dataset_info("folder", root=str(folder))
    assert "dataset.json" in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"a": 1, "a": 2}', "[" * 100000, "\xff"])
def test_a_broken_file_is_named(folder, text):
    (folder / "dataset.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError, match=r"dataset.json: "):
        dataset_info("folder", root=str(folder))


def test_no_description_says_how_to_write_one(tmp_path):
    with pytest.raises(DataError, match="labkit data init"):
        dataset_info("folder", root=str(tmp_path))
    with pytest.raises(DataError, match="LABKIT_DATA"):
        dataset_info("folder")


# the first dataset.json


def test_a_first_description_is_written_from_what_is_there(tmp_path):
    raw = trees.write_folder(tmp_path, description=False)
    path = init_folder(tmp_path)
    content = json.loads(path.read_text(encoding="utf-8"))
    assert content["classes"] == [f"class_{i}" for i in range(5)]
    assert "ids" not in content  # 0, 1, ... and 255 are the default
    assert content["val_every"] == 5
    frames = open_split("folder", "train", root=str(tmp_path))
    assert len(frames) == 16
    for i in range(16):
        assert (frames[i].target.numpy() == raw["train", frames.frame_name(i)]).all()
    with pytest.raises(DataError, match="is there already"):
        init_folder(tmp_path)


def test_the_first_matrix_file_can_be_planned_and_is_never_replaced(tmp_path, monkeypatch):
    trees.write_folder(tmp_path, description=False)
    init_folder(tmp_path)
    monkeypatch.setenv("LABKIT_DATA", str(tmp_path))
    assert read_matrix(tmp_path / "matrix.yaml").datasets == ["folder"]
    (tmp_path / "dataset.json").unlink()
    (tmp_path / "matrix.yaml").write_text("mine", encoding="utf-8")
    init_folder(tmp_path)
    assert (tmp_path / "matrix.yaml").read_text(encoding="utf-8") == "mine"


def test_folders_of_splits_are_recognised_and_ids_with_gaps_mapped(tmp_path):
    for split in ("train", "val"):
        for i in range(3):
            trees.write_image(tmp_path / "img" / split / f"{i}.png", 20, 30)
            ids = trees.blocks(i, [7, 30, 255], 20, 30)
            trees.write_label(tmp_path / "ann" / split / f"{i}.png", ids)
    content = json.loads(init_folder(tmp_path).read_text(encoding="utf-8"))
    assert content["val"] == {"images": "img/val", "labels": "ann/val"}
    assert content["ids"] == {"7": "class_7", "30": "class_30", "255": None}
    frames = open_split("folder", "val", root=str(tmp_path))
    assert frames[0].target.unique().tolist() == [0, 1, 255]


def write_pairs(images, labels, count):
    for i in range(count):
        trees.write_image(images / f"{i}.png", 20, 30)
        trees.write_label(labels / f"{i}.png", trees.blocks(i, [0, 1, 255], 20, 30))


def test_a_test_split_stays_where_val_is_taken_from_train(tmp_path):
    for split, count in (("train", 5), ("test", 3)):
        write_pairs(tmp_path / split / "images", tmp_path / split / "labels", count)
    assert json.loads(init_folder(tmp_path).read_text(encoding="utf-8"))["val_every"] == 5
    info = dataset_info("folder", root=str(tmp_path))
    assert info.splits == ("train", "val", "test")
    frames = [open_split("folder", split, root=str(tmp_path)) for split in info.splits]
    assert [len(split) for split in frames] == [4, 1, 3]
    assert frames[2].files(0)[0].parent == tmp_path / "test" / "images"


@pytest.mark.parametrize("name", ["latest", "contest", "interval", "trainer"])
def test_only_a_whole_word_names_a_split(tmp_path, name):
    write_pairs(tmp_path / name / "images", tmp_path / name / "labels", 5)
    content = json.loads(init_folder(tmp_path).read_text(encoding="utf-8"))
    assert content["train"] == {"images": f"{name}/images", "labels": f"{name}/labels"}


@pytest.mark.parametrize(
    "names",
    [
        ("train", "trainannot"),
        ("TrainImages", "TrainLabels"),
        ("img_training", "ann_training"),
        ("img/train2017", "ann"),
    ],
)
def test_the_word_for_training_has_common_forms(tmp_path, names):
    write_pairs(*(tmp_path / name for name in names), 5)
    write_pairs(tmp_path / "images/validation", tmp_path / "labels/validation", 3)
    content = json.loads(init_folder(tmp_path).read_text(encoding="utf-8"))
    assert content["train"] == dict(zip(("images", "labels"), names, strict=True))
    assert content["val"] == {"images": "images/validation", "labels": "labels/validation"}


def test_fewer_pairs_than_val_every_are_refused(folder):
    describe(folder, val_every=21)
    assert len(open_split("folder", "train", root=str(folder))) == 20
    with pytest.raises(DataError, match="val_every 21 and 20 pairs"):
        open_split("folder", "val", root=str(folder))


def test_grey_images_are_told_from_labels(tmp_path):
    for i in range(3):
        trees.write_image(tmp_path / "x" / f"{i}.png", 20, 30, mode="L")
        trees.write_label(tmp_path / "y" / f"{i}.png", trees.blocks(i, [0, 1, 255], 20, 30))
    content = json.loads(init_folder(tmp_path).read_text(encoding="utf-8"))
    assert content["train"] == {"images": "x", "labels": "y"}


def test_a_folder_without_pairs_is_refused(tmp_path):
    with pytest.raises(DataError, match="no such folder"):
        init_folder(tmp_path / "nowhere")
    trees.write_image(tmp_path / "images" / "a.png", 20, 30)
    with pytest.raises(DataError, match="no pair of folders"):
        init_folder(tmp_path)


def test_two_candidates_for_a_split_are_refused(tmp_path):
    for name in ("one", "two"):
        trees.write_image(tmp_path / name / "images" / f"{name}.png", 20, 30)
        ids = trees.blocks(0, [0, 1], 20, 30)
        trees.write_label(tmp_path / name / "labels" / f"{name}.png", ids)
    with pytest.raises(DataError, match="could be train"):
        init_folder(tmp_path)


@pytest.mark.parametrize("name", [*trees.WRITERS, "streets"])
def test_a_description_says_what_to_fetch_and_where_it_goes(name):
    text = describe_dataset(name)
    assert text.startswith(name)
    for title in ("Classes", "From", "Terms", "Recipes", "scored: "):
        assert title in text


def test_frames_of_a_contact_sheet_are_spread_over_the_split(folder):
    frames = sheet_frames("folder", str(folder), split="train", count=4)
    assert [frame.name for frame in frames] == ["pair02", "pair07", "pair12", "pair17"]
    for frame in frames:
        assert frame.image.shape[1:] == frame.target.shape
        assert sum(frame.shares.values()) == pytest.approx(1)
        assert list(frame.shares.values()) == sorted(frame.shares.values(), reverse=True)
    assert len(sheet_frames("folder", str(folder), count=100)) == 4


@pytest.mark.parametrize("name", ["LABKIT_DATA", "LABKIT_CACHE"])
def test_a_relative_folder_is_that_of_the_caller_for_schedulers_and_kernels(
    name, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(name, "mine")
    assert CliRunner().invoke(app, ["data", "describe", "voc"]).exit_code == 0
    assert os.environ[name] == str(tmp_path / "mine")


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_three_commands_of_the_guide(tmp_path):
    """As printed, in the folder that holds DATA; few steps, and runs beside it."""
    trees.write_folder(tmp_path / "DATA", description=False)
    guide = (project_root() / "labkit" / "datasets" / "README.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"three commands:\n\n```\n(.*?)```", guide, flags=re.DOTALL)
    lines = [line.partition("#")[0].replace("CLASS", "class_0") for line in block.splitlines()]
    assert len(lines) == 3
    place = f"runs={tmp_path / 'runs'}"
    for line in lines:
        words = shlex.split(line.removeprefix("LABKIT_DATA=DATA "))[1:]
        words += ["--set", place] if words[:2] == ["run", "attribution"] else []
        subprocess.run(
            [sys.executable, "-m", "labkit", *words],
            cwd=tmp_path,
            env=os.environ | {"LABKIT_DATA": "DATA", "PYTHONPATH": str(project_root())},
            check=True,
        )
        if words[:2] == ["data", "init"]:
            matrix = tmp_path / "DATA" / "matrix.yaml"
            text = re.sub(r"_steps: \d+", "_steps: 4", matrix.read_text(encoding="utf-8"))
            matrix.write_text(f"runs: {tmp_path / 'runs'}\n{text}", encoding="utf-8")
    figures = tmp_path / "runs" / "figures"
    assert (figures / "matrix" / "gains.csv").is_file()
    assert (figures / "folder" / "contribution_class_0.png").is_file()


def test_a_matrix_s_relative_data_folder_is_the_caller_s_where_the_scheduler_works(
    tmp_path, monkeypatch
):
    trees.write_folder(tmp_path / "DATA")
    values = matrices.SETTINGS | {"data_root": "DATA"}
    path = tmp_path / "m.yaml"
    matrices.write(path, runs=tmp_path / "runs", datasets=["folder"], settings=values)
    monkeypatch.chdir(tmp_path / "DATA")
    workflow = Workflow(matrix=str(path), folder=str(tmp_path), threads=1)
    students = [workflow.train(key, 1) for key in workflow.keys("student")]
    assert len(students) == 3
    assert sum("teacher=folder-teacher-" in line for line in students) == 2
