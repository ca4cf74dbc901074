"""coco_stuff_10k: COCO-Stuff 10K version 1.1, 171 classes, photographs of mixed size.

Source: Caesar et al. 2018, "COCO-Stuff: thing and stuff classes in context"; ids from labels.txt of
nightrome/cocostuff. All of its images are in the training split of `coco_stuff_164k`.
"""

import re
from pathlib import Path

from labkit.datasets.base import IMAGENET_MEAN, IMAGENET_STD, DatasetInfo
from labkit.datasets.classes import bit_colour, load_classes
from labkit.datasets.files import FileSplit, LabelFormat, id_table
from labkit.datasets.matlab import read_stuff_ids
from labkit.datasets.pairing import (
    data_folder,
    files_by_stem,
    first_frames,
    listed_frames,
    pair_frames,
    read_names,
)
from labkit.datasets.recipes import MANY_CLASSES, PAPER, SHORT_512, SMALL
from labkit.errors import DataError

CLASSES = load_classes("coco_stuff")
RAW = LabelFormat(
    table=id_table({0: 255} | CLASSES.raw_ids()),
    expected="0 for void, and the 171 used ids of 1-182",
    read=read_stuff_ids,
    all_void=True,
)
CONVERTED = LabelFormat(
    table=id_table({0: 255} | {i + 1: i for i in range(171)}),
    expected="0 for void, and 1-171",
    all_void=True,
)
CONVERTED_END = "_labelTrainIds"
LISTS = {"train": "train.txt", "val": "test.txt"}  # val is the published test list
CONVERTED_FOLDERS = {"train": "train2014", "val": "test2014"}
SMALL_SIZE = {
    "resize": "short:128", "score_size": "short:128", "crop_height": 128, "crop_width": 128,
}  # fmt: skip
NAME = re.compile(r"COCO_train2014_[0-9]{12}")

INFO = DatasetInfo(
    name="coco_stuff_10k",
    class_names=CLASSES.names,
    # The customary palette has 162 colours for 171 classes; this rule has one for each.
    palette=tuple(bit_colour(source) for source in CLASSES.source_ids),
    mean=IMAGENET_MEAN,
    std=IMAGENET_STD,
    recipes={
        "default": SMALL | SMALL_SIZE | MANY_CLASSES,
        "small": SMALL | SMALL_SIZE | MANY_CLASSES,
        "paper": PAPER | MANY_CLASSES,
        "mmseg": PAPER | SHORT_512 | MANY_CLASSES,
    },
    is_video=False,
    splits=("train", "val"),
    sizes={"train": 9000, "val": 1000},
    source=(
        "http://calvin.inf.ed.ac.uk/wp-content/uploads/data/cocostuffdataset/"
        "cocostuff-10k-v1.1.zip (2 GB), unpacked into coco_stuff10k/; val is its test list"
    ),
    terms="images: Flickr terms; annotations of COCO and COCO-Stuff: CC BY 4.0",
    layout=(
        "coco_stuff10k/images/COCO_train2014_*.jpg\n"
        "coco_stuff10k/annotations/COCO_train2014_*.mat        version 1.1\n"
        "coco_stuff10k/imageLists/{train,test}.txt\n"
        "or, converted: coco_stuff10k/images/{train2014,test2014}/*.jpg and\n"
        "coco_stuff10k/annotations/{train2014,test2014}/*_labelTrainIds.png   0 = void, 1-171"
    ),
)  # fmt: skip


def open_split(split: str, *, root: str = "", size: int = 0) -> FileSplit:
    """Open the frames of one split, sorted by name; .mat files stand over converted PNG.

    Raises:
        DataError: files are missing, or do not pair up.
    """
    folder = data_folder("coco_stuff_10k", root, "coco_stuff10k", layout=INFO.layout)
    title = f"coco_stuff_10k {split}"
    converted = folder / "annotations" / CONVERTED_FOLDERS[split]
    names = folder / "imageLists" / LISTS[split]
    if names.is_file() and any((folder / "annotations").glob("*.mat")):
        frames = _raw_frames(title, folder, names)
    elif converted.is_dir():
        images = files_by_stem(folder / "images" / CONVERTED_FOLDERS[split], suffixes=(".jpg",))
        labels = files_by_stem(converted, suffixes=(".png",))
        converted_labels = {
            name.removesuffix(CONVERTED_END): (path, CONVERTED)
            for name, path in labels.items()
            if name.endswith(CONVERTED_END)
        }
        frames = pair_frames(title, images, converted_labels)
    else:
        raise DataError(
            f"{title}: no .mat files with {names}, and no {converted}; expected:\n{INFO.layout}"
        )
    return FileSplit(first_frames(title, frames, size), any_orientation=True)


def _raw_frames(title: str, folder: Path, names: Path):
    images = files_by_stem(folder / "images", suffixes=(".jpg",))
    labels = files_by_stem(folder / "annotations", suffixes=(".mat",))
    wanted = read_names(names, NAME)
    return listed_frames(title, wanted, images, {n: (p, RAW) for n, p in labels.items()}, names)
