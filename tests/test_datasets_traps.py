"""Traps of the data sets: each planted in a tree, found by both checks, the file named."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from labkit.datasets.check import check_dataset
from labkit.datasets.pictures import ORIENTATION
from tests import trees


def first(folder: Path, pattern: str) -> Path:
    return sorted(folder.glob(pattern))[0]


def relabel(pattern: str, value: int, *, whole: bool = False):
    """Change one pixel, or all, of the first label."""

    def change(folder: Path) -> Path:
        path = first(folder, pattern)
        ids = np.array(Image.open(path, formats=["PNG"]))
        ids[...] = value if whole else np.where(np.arange(ids.size).reshape(ids.shape), ids, value)
        trees.write_label(path, ids)
        return path

    return change


def rewritten(pattern: str, form: str, rewrite):
    """Save the first picture anew: `rewrite` takes the picture and its path."""

    def change(folder: Path) -> Path:
        path = first(folder, pattern)
        with Image.open(path, formats=[form]) as file:
            rewrite(file.copy(), path)
        return path

    return change


def rgb(pattern: str):
    return rewritten(pattern, "PNG", lambda picture, path: picture.convert("RGB").save(path))


def turned(pattern: str):
    """The image's sides swapped, with an EXIF orientation: as a program that applies it saw it."""
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    side = Image.Transpose.ROTATE_90
    return rewritten(
        pattern, "JPEG", lambda picture, path: picture.transpose(side).save(path, exif=exif)
    )


def jpeg(pattern: str):
    return rewritten(pattern, "PNG", lambda picture, path: picture.save(path, "JPEG"))


def cut(pattern: str):
    def change(folder: Path) -> Path:
        path = first(folder, pattern)
        path.write_bytes(path.read_bytes()[:-300])
        return path

    return change


def labels_of_val(folder: Path) -> None:
    shutil.rmtree(folder / "annotations/train2017")
    shutil.copytree(folder / "annotations/val2017", folder / "annotations/train2017")


def mat(content: bytes | dict):
    def change(folder: Path) -> Path:
        from scipy.io import savemat

        path = first(folder, "annotations/*.mat")
        path.write_bytes(content) if isinstance(content, bytes) else savemat(path, content)
        return path

    return change


def stuff(value: int) -> dict:
    return {"S": np.full((20, 30), value, np.uint8)}


HDF = b"MATLAB 7.3 MAT-file, Platform: GLNXA64" + b" " * 100
FAULTS = {  # traps of the field by number, each as the files of a set show it
    "T1 colours": ("voc", rgb("SegmentationClass/*.png"), "mode RGB"),
    "T1 grey": ("voc", relabel("SegmentationClass/*.png", 38), "unknown ids 38"),
    "T3 minus one twice": ("ade20k", relabel("annotations/training/*.png", 255),
        "unknown ids 255.*after a converter"),
    "T4 ids of the list": ("coco_stuff_164k", relabel("annotations/train2017/*.png", 182),
        "unknown ids 182"),
    "T5 ade20k": ("ade20k", relabel("annotations/training/*.png", 151), "unknown ids 151"),
    "T5 cityscapes": ("cityscapes", relabel("gtFine/train/*/*_labelIds.png", 34),
        "unknown ids 34 .1 pixels"),
    "T5 folder": ("folder", relabel("labels/*.png", 5),
        "unknown ids 5 .*the ids of dataset.json: 0, 1, 2"),
    "T5 JPEG": ("folder", jpeg("labels/*.png"), "a label as JPEG"),
    "T6 164K": ("coco_stuff_164k", relabel("annotations/train2017/*.png", 11), "unknown ids 11"),
    "T6 10K": ("coco_stuff_10k", mat(stuff(12)), "unknown ids 12 .600 pixels"),
    "T7 void everywhere": ("cityscapes", relabel("gtFine/train/*/*_labelIds.png", 0, whole=True),
        "void at every"),
    "T8 no label": ("cityscapes", lambda f: first(f, "gtFine/train/*/*_labelIds.png").unlink(),
        "aachen_000000_000019.*has no label"),
    "T8 train ids as ids": ("cityscapes", relabel("gtFine/train/*/*_labelIds.png", 255),
        "unknown ids 255"),
    "T10 labels of val": ("coco_stuff_164k", labels_of_val,
        "train2017/000000000009.jpg: has no label"),
    "T10 no labels": ("coco_stuff_164k", lambda f: shutil.rmtree(f / "annotations/train2017"),
        "train2017: no such folder"),
    "T12 turned": ("voc", turned("JPEGImages/*.jpg"), "EXIF orientation 6"),
    "T16 full ADE20K": ("ade20k",
        lambda f: trees.write_label(f / "images/training/ADE_train_00000001_seg.png",
        np.zeros((4, 4))), "full ADE20K"),
    "T17 version 1.0": ("coco_stuff_10k", mat(HDF), "version 1.0"),
    "T18 mat": ("coco_stuff_10k", mat(b"no matlab"), "broken MATLAB file"),
    "T18 JPEG": ("voc", cut("JPEGImages/*.jpg"), "a broken or truncated picture"),
    "T21 void is a class": ("camvid", relabel("trainannot/*.png", 12), "unknown ids 12"),
    "T22 interpolated": ("voc", relabel("SegmentationClass/*.png", 128), "unknown ids 128"),
    "listed image missing": ("voc", lambda f: first(f, "JPEGImages/*.jpg").unlink(),
        "2007_000032.*no image"),
    "list of paths": ("voc",
        lambda f: (f / "ImageSets/Segmentation/train.txt").write_text("../../x\n"),
        "train.txt: holds 'x'; expected names"),
    "mat without S": ("coco_stuff_10k", mat({"T": np.zeros((20, 30))}),
        "broken MATLAB file or one without S"),
    "mat of fractions": ("coco_stuff_10k", mat({"S": np.full((20, 30), 1.5)}), "with a fraction"),
    "mat of planes": ("coco_stuff_10k", mat({"S": np.zeros((20, 30, 2))}), "expected a map"),
}  # fmt: skip


@pytest.mark.parametrize("trap", FAULTS)
def test_each_trap_is_named_with_its_file(tmp_path, trap):
    """By the check before a training, and by the check of the whole data set."""
    name, spoil, words = FAULTS[trap]
    trees.WRITERS[name](tmp_path)
    path = spoil(trees.folder_of(tmp_path, name))
    report = check_dataset(name, str(tmp_path), splits=["train"])
    messages = [trees.first_fault(name, tmp_path), *report.faults]
    assert report.faults
    assert any(re.search(words, fault) for fault in report.faults), report.faults
    assert re.search(words, messages[0]), messages[0]
    if isinstance(path, Path):
        assert all(path.stem.split("_gtFine")[0] in message for message in messages)
