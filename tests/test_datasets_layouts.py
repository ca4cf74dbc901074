"""Every benchmark in its public layout: ids by an independent table, names and numbers."""

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from labkit.datasets import check_scored, dataset_info, open_split
from labkit.datasets.classes import bit_colour
from labkit.errors import DataError
from tests import trees

CITYSCAPES = dict(zip([7, 8, 11, 12, 13, 17, *range(19, 29), 31, 32, 33], range(19), strict=True))
STUFF = {source: train for train, source in enumerate(trees.USED)}
# raw value -> train id, written down independently of the package's tables
EXPECTED: dict[str, Callable[[int], int]] = {
    "ade20k": lambda v: v - 1 if v else 255,
    "camvid": lambda v: v if v < 11 else 255,
    "cityscapes": lambda v: CITYSCAPES.get(v, 255),
    "coco_stuff_10k": lambda v: STUFF[v] if v else 255,
    "coco_stuff_164k": lambda v: STUFF[v + 1] if v != 255 else 255,
    "folder": lambda v: v,
    "voc": lambda v: v,
}


def compare(name: str, root: Path, raw: trees.Labels, expected: Callable[[int], int]) -> None:
    """Every frame of every split, in sorted order, with its ids and its image's size."""
    for split in dict.fromkeys(split for split, _ in raw):
        frames = open_split(name, split, root=str(root))
        names = sorted(frame for s, frame in raw if s == split)
        assert [frames.frame_name(i) for i in range(len(frames))] == names
        for i, frame in enumerate(names):
            frames.check(i)
            image, target = frames[i]
            ids = raw[split, frame]
            assert target.numpy().tolist() == np.vectorize(expected)(ids).tolist()
            assert tuple(image.shape) == (3, *ids.shape)
            assert frames.size(i) == ids.shape


@pytest.mark.parametrize("name", trees.WRITERS)
def test_ids_arrive_as_an_independent_table_says(name, tmp_path):
    compare(name, tmp_path, trees.WRITERS[name](tmp_path), EXPECTED[name])


def test_ready_train_ids_of_cityscapes_are_read_where_raw_ids_are_not_there(tmp_path):
    raw = trees.write_cityscapes(tmp_path, end="labelTrainIds")
    compare("cityscapes", tmp_path, {k: v for k, v in raw.items() if k[0] != "test"}, int)


def test_raw_and_ready_labels_of_cityscapes_lie_beside_each_other(tmp_path):
    raw = trees.write_cityscapes(tmp_path)
    for path in list(tmp_path.rglob("*_labelIds.png")):
        ids = np.vectorize(EXPECTED["cityscapes"])(np.array(Image.open(path, formats=["PNG"])))
        trees.write_label(Path(str(path).replace("labelIds", "labelTrainIds")), ids)
    compare("cityscapes", tmp_path, raw, EXPECTED["cityscapes"])


@pytest.mark.parametrize("form", ["both", "converted"])
def test_converted_labels_of_coco_stuff_lie_in_the_folder_of_raw_ones(tmp_path, form):
    raw = trees.write_coco_stuff_164k(tmp_path, form=form)
    compare("coco_stuff_164k", tmp_path, raw, EXPECTED["coco_stuff_164k"])


def test_converted_labels_of_coco_stuff_10k(tmp_path):
    raw = trees.write_coco_stuff_10k(tmp_path, converted=True)
    compare("coco_stuff_10k", tmp_path, raw, lambda v: v - 1 if v else 255)


@pytest.mark.parametrize("form", ["pictures", "list", "sbd"])
def test_the_augmented_split_of_voc_from_every_form(tmp_path, form):
    raw = trees.write_voc(tmp_path, augmented=form)
    compare("voc", tmp_path, raw, int)
    frames = open_split("voc", "train", root=str(tmp_path))
    assert len(frames) == 6
    assert "augmented" in frames.note


def test_the_plain_split_of_voc_says_so(tmp_path):
    trees.write_voc(tmp_path)
    frames = open_split("voc", "train", root=str(tmp_path))
    assert "plain split of 3 frames" in frames.note


# faults of each set; the traps: test_datasets_traps.py


def test_an_augmented_list_with_images_of_val_is_refused(tmp_path):
    trees.write_voc(tmp_path, augmented="list")
    path = tmp_path / "VOCdevkit/VOC2012/ImageSets/Segmentation/trainaug.txt"
    path.write_text(path.read_text(encoding="utf-8") + trees.VOC_VAL[0] + "\n", encoding="utf-8")
    assert "holds 1 images of val, 2007_000033" in trees.first_fault("voc", tmp_path)


def test_a_list_of_image_and_label_paths_is_read_by_its_names(tmp_path):
    trees.write_voc(tmp_path, augmented="pictures")
    names = (*trees.VOC_TRAIN, *trees.SBD_ONLY)
    lists = tmp_path / "VOCdevkit/VOC2012/ImageSets/SegmentationAug"
    lists.mkdir()
    lines = [f"/JPEGImages/{name}.jpg /SegmentationClassAug/{name}.png" for name in names[:5]]
    (lists / "train_aug.txt").write_text("\n".join(lines), encoding="utf-8")
    assert len(open_split("voc", "train", root=str(tmp_path))) == 5


def test_only_fine_labels_of_cityscapes_are_read(tmp_path):
    trees.write_cityscapes(tmp_path)
    (tmp_path / "cityscapes/gtFine").rename(tmp_path / "cityscapes/gtCoarse")
    assert "gtCoarse, no gtFine" in trees.first_fault("cityscapes", tmp_path)


@pytest.mark.parametrize("name", [name for name in trees.WRITERS if name != "folder"])
def test_a_missing_data_set_shows_the_layout_expected(name, tmp_path):
    message = trees.first_fault(name, tmp_path)
    assert str(trees.folder_of(tmp_path, name)) in message
    assert dataset_info(name).layout.splitlines()[0] in message


def test_scores_that_mean_nothing_are_refused():
    stuff_10k, stuff_164k = dataset_info("coco_stuff_10k"), dataset_info("coco_stuff_164k")
    with pytest.raises(DataError, match="cityscapes test: its labels are not public"):
        check_scored(dataset_info("cityscapes"), "test")
    with pytest.raises(DataError, match="in the training split of coco_stuff_164k"):
        check_scored(stuff_10k, "val", trained_on=stuff_164k)
    check_scored(stuff_164k, "val", trained_on=stuff_10k)
    check_scored(stuff_10k, "val", trained_on=stuff_10k)
    check_scored(dataset_info("camvid"), "test")


# published names, ids, colours and numbers


def published(name: str) -> list[dict[str, str]]:
    path = Path(__file__).parents[1] / "labkit" / "datasets" / "tables" / f"{name}.csv"
    with path.open(encoding="utf-8", newline="") as file:
        return [row for row in csv.DictReader(file) if row["train_id"] != "255"]


@pytest.mark.parametrize(
    ("name", "table", "classes", "sizes", "ends"),
    [
        ("cityscapes", "cityscapes", 19, {"train": 2975, "val": 500, "test": 1525},
         ("road", "bicycle")),
        ("voc", "voc", 21, {"train": 10582, "val": 1449}, ("background", "tvmonitor")),
        ("ade20k", "ade20k", 150, {"train": 20210, "val": 2000}, ("wall", "flag")),
        ("coco_stuff_10k", "coco_stuff", 171, {"train": 9000, "val": 1000}, ("person", "wood")),
        ("coco_stuff_164k", "coco_stuff", 171, {"train": 118287, "val": 5000}, ("person", "wood")),
    ],
)  # fmt: skip
def test_names_and_numbers_are_the_published_ones(name, table, classes, sizes, ends):
    """Sources: cityscapesScripts labels.py, mmsegmentation's voc.py, ade20k and coco_stuff."""
    info = dataset_info(name)
    assert info.num_classes == classes
    assert info.sizes == sizes
    assert (info.class_names[0], info.class_names[-1]) == ends
    assert list(info.class_names) == [row["name"] for row in published(table)]


@pytest.mark.parametrize("name", ["cityscapes", "voc", "ade20k"])
def test_palettes_are_the_published_ones(name):
    colours = [tuple(int(row[c]) for c in ("red", "green", "blue")) for row in published(name)]
    assert list(dataset_info(name).palette) == colours


def test_palettes_by_the_bit_rule_tell_all_classes_apart():
    assert [bit_colour(i) for i in range(21)] == list(dataset_info("voc").palette)
    assert bit_colour(255) == (224, 224, 192)
    assert len({bit_colour(i) for i in range(256)}) == 256
    palette = dataset_info("coco_stuff_164k").palette
    assert len(set(palette)) == 171
    assert (0, 0, 0) not in palette
