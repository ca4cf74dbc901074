"""voc: Pascal VOC 2012, 20 classes and background, photographs of mixed size.

The training split is the augmented one (10582 images) where its labels are there, else the plain
one (1464). Its void contours exist only in VOC's own 1464 labels: SBD's have none.

Source: Everingham et al. 2010; Hariharan et al. 2011 (Semantic Boundaries, SBD).
"""

import re
from pathlib import Path

from labkit.datasets.base import IMAGENET_MEAN, IMAGENET_STD, DatasetInfo
from labkit.datasets.classes import load_classes
from labkit.datasets.files import FileSplit, Frame, LabelFormat, id_table
from labkit.datasets.matlab import read_boundaries_ids
from labkit.datasets.pairing import (
    data_folder,
    files_by_stem,
    first_frames,
    listed_frames,
    read_names,
)
from labkit.datasets.recipes import PAPER, SHORT_512, SMALL
from labkit.errors import DataError

CLASSES = load_classes("voc")
TABLE = id_table(CLASSES.raw_ids())
EXPECTED = "0-20, and 255 for void"
LABELS = LabelFormat(TABLE, EXPECTED)
BOUNDARIES = LabelFormat(TABLE, EXPECTED, read=read_boundaries_ids)
NAME = re.compile(r"[0-9]{4}_[0-9]{6}")
AUGMENTED_LISTS = ("Segmentation/trainaug.txt", "SegmentationAug/train_aug.txt")
SBD_FOLDERS = ("VOCaug/dataset", "benchmark_RELEASE/dataset", "../benchmark_RELEASE/dataset")
SMALL_SIZE = {
    "resize": "short:128", "score_size": "short:128", "crop_height": 128, "crop_width": 128,
}  # fmt: skip

INFO = DatasetInfo(
    name="voc",
    class_names=CLASSES.names,
    palette=CLASSES.palette,
    mean=IMAGENET_MEAN,
    std=IMAGENET_STD,
    recipes={
        "default": SMALL | SMALL_SIZE,
        "small": SMALL | SMALL_SIZE,
        "paper": PAPER,
        "mmseg": PAPER | SHORT_512,
    },
    is_video=False,
    splits=("train", "val"),
    sizes={"train": 10582, "val": 1449},
    source=(
        "http://host.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar (2 GB); "
        "for the augmented training split SegmentationClassAug, or SBD's own files: "
        "http://www2.eecs.berkeley.edu/Research/Projects/CS/vision/grouping/semantic_contours/"
        "benchmark.tgz"
    ),
    terms="the photographs come from Flickr and stay under its terms; none found for SBD",
    layout=(
        "VOCdevkit/VOC2012/JPEGImages/*.jpg\n"
        "VOCdevkit/VOC2012/SegmentationClass/*.png             palette indices 0-20, 255 = void\n"
        "VOCdevkit/VOC2012/ImageSets/Segmentation/{train,val}.txt\n"
        "augmented: VOCdevkit/VOC2012/SegmentationClassAug/*.png, with or without a list\n"
        "           VOCdevkit/VOC2012/ImageSets/Segmentation/trainaug.txt\n"
        "       or: VOCdevkit/VOCaug/dataset/cls/*.mat of SBD (or benchmark_RELEASE/dataset/cls)"
    ),
)  # fmt: skip


def open_split(split: str, *, root: str = "", size: int = 0) -> FileSplit:
    """Open the frames of one split, sorted by name.

    Raises:
        DataError: files are missing, or the augmented list holds images of val.
    """
    folder = data_folder("voc", root, "VOCdevkit", "VOC2012", layout=INFO.layout)
    lists = folder / "ImageSets" / "Segmentation"
    images = files_by_stem(folder / "JPEGImages", suffixes=(".jpg",))
    own = _labels(folder / "SegmentationClass", ".png", LABELS)
    title, source = f"voc {split}", lists / f"{split}.txt"
    names, labels, note = read_names(source, NAME), own, ""
    if split == "train":
        val = set(read_names(lists / "val.txt", NAME))
        names, labels, source, note = _augmented(folder, source, names, own, val)
    frames: list[Frame] = listed_frames(title, names, images, labels, source)
    return FileSplit(first_frames(title, frames, size), any_orientation=True, note=note)


def _augmented(folder: Path, source: Path, train: list[str], own: dict, val: set[str]):
    """Names, labels by name, where the names come from, and a note, of the training split."""
    pictures = folder / "SegmentationClassAug"
    sbd = next((p for name in SBD_FOLDERS if (p := folder.parent / name / "cls").is_dir()), None)
    if pictures.is_dir():
        labels = _labels(pictures, ".png", LABELS) | {n: own[n] for n in train if n in own}
        lists = [folder / "ImageSets" / name for name in AUGMENTED_LISTS]
        listed = next((path for path in lists if path.is_file()), None)
        names = read_names(listed, NAME) if listed else sorted(labels.keys() - val)
        source = listed or pictures
    elif sbd:
        labels = _labels(sbd, ".mat", BOUNDARIES) | {n: own[n] for n in train if n in own}
        names, source = sorted({*labels, *train} - val), sbd
    else:
        note = (
            f"voc train: the plain split of {len(train)} frames, as neither SegmentationClassAug "
            "nor SBD is there; the augmented one has 10582."
        )
        return train, own, source, note
    if leaked := sorted(val & set(names)):
        raise DataError(
            f"{source}: holds {len(leaked)} images of val, {leaked[0]} for one; "
            "expected none. Remove them from the list."
        )
    return names, labels, source, f"voc train: the augmented split, from {source.name}."


def _labels(folder: Path, suffix: str, format: LabelFormat) -> dict[str, tuple]:
    return {n: (path, format) for n, path in files_by_stem(folder, suffixes=(suffix,)).items()}
