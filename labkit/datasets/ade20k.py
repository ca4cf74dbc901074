"""ade20k: SceneParsing 150, indoor and outdoor photographs of mixed size, 150 classes.

Source: Zhou et al. 2017, "Scene parsing through ADE20K dataset"; names from objectInfo150.txt and
colours from color150.mat of CSAILVision/sceneparsing.
"""

import os
from pathlib import Path

from labkit.datasets.base import IMAGENET_MEAN, IMAGENET_STD, DatasetInfo
from labkit.datasets.classes import load_classes
from labkit.datasets.files import FileSplit, LabelFormat, id_table
from labkit.datasets.pairing import (
    data_folder,
    files_by_stem,
    find_data_folder,
    first_frames,
    pair_frames,
)
from labkit.datasets.recipes import MANY_CLASSES, PAPER, SHORT_512, SMALL
from labkit.errors import DataError

CLASSES = load_classes("ade20k")
LABELS = LabelFormat(
    table=id_table({0: 255} | CLASSES.raw_ids()),
    expected="0 for void, and 1-150 (after a converter 0-149 and 255: fetch the annotations again)",
    all_void=True,
)
FOLDERS = {"train": "training", "val": "validation"}
SMALL_SIZE = {
    "resize": "short:128", "score_size": "short:128", "crop_height": 128, "crop_width": 128,
}  # fmt: skip

INFO = DatasetInfo(
    name="ade20k",
    class_names=CLASSES.names,
    palette=CLASSES.palette,
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
    sizes={"train": 20210, "val": 2000},
    source="http://data.csail.mit.edu/places/ADEchallenge/ADEChallengeData2016.zip (1 GB)",
    terms="images: non-commercial research and education only",
    layout=(
        "ADEChallengeData2016/images/{training,validation}/ADE_*.jpg\n"
        "ADEChallengeData2016/annotations/{training,validation}/ADE_*.png      0 = void, 1-150"
    ),
)  # fmt: skip


def open_split(split: str, *, root: str = "", size: int = 0) -> FileSplit:
    """Open the frames of one split, sorted by name.

    Raises:
        DataError: folders are missing, this is the full ADE20K archive, or files do not pair up.
    """
    _refuse_full_archive(find_data_folder("ade20k", root))
    folder = data_folder("ade20k", root, "ADEChallengeData2016", layout=INFO.layout)
    title = f"ade20k {split}"
    images = files_by_stem(folder / "images" / FOLDERS[split], suffixes=(".jpg",))
    annotations = files_by_stem(folder / "annotations" / FOLDERS[split], suffixes=(".png",))
    labels = {name: (path, LABELS) for name, path in annotations.items()}
    frames = pair_frames(title, images, labels)
    return FileSplit(first_frames(title, frames, size), any_orientation=True)


def _refuse_full_archive(parent: Path) -> None:
    """The full ADE20K has RGB *_seg.png files beside its images, and more than 3000 classes."""
    folders = [parent / "ADEChallengeData2016" / "images", *parent.glob("ADE20K_20*")]
    for folder in folders:
        for path, _, names in os.walk(folder):
            full = sorted(name for name in names if name.endswith("_seg.png"))
            if full:
                raise DataError(
                    f"{Path(path) / full[0]}: belongs to the full ADE20K, with more than 3000 "
                    f"classes; expected SceneParsing 150. Fetch {INFO.source}."
                )
