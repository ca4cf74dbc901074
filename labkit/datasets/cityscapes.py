"""cityscapes: 2048 x 1024 street frames of 27 cities, 19 classes, fine labels.

Source: Cordts et al. 2016, "The Cityscapes dataset for semantic urban scene understanding"; ids and
colours from cityscapesScripts, helpers/labels.py.
"""

from pathlib import Path

from labkit.datasets.base import IMAGENET_MEAN, IMAGENET_STD, DatasetInfo
from labkit.datasets.classes import load_classes
from labkit.datasets.files import FileSplit, LabelFormat, id_table
from labkit.datasets.pairing import data_folder, first_frames, list_folder, pair_frames
from labkit.datasets.recipes import PAPER, SMALL
from labkit.errors import DataError

CLASSES = load_classes("cityscapes")
IMAGE_END = "_leftImg8bit.png"
# License plate, id -1, is never drawn into a PNG: its pixels keep the id below it.
FORMATS = {
    "_gtFine_labelIds.png": (id_table(CLASSES.raw_ids()), "labelIds 0-33"),
    "_gtFine_labelTrainIds.png": (
        id_table({**{i: i for i in range(19)}, 255: 255}),
        "labelTrainIds 0-18, and 255 for void",
    ),
}
SMALL_SIZE = {
    "resize": "128x256", "score_size": "128x256", "crop_height": 96, "crop_width": 192,
}  # fmt: skip

INFO = DatasetInfo(
    name="cityscapes",
    class_names=CLASSES.names,
    palette=CLASSES.palette,
    mean=IMAGENET_MEAN,
    std=IMAGENET_STD,
    recipes={
        "default": SMALL | SMALL_SIZE,
        "small": SMALL | SMALL_SIZE,
        "paper": PAPER | {"crop_height": 512, "crop_width": 1024},
    },
    is_video=False,
    sizes={"train": 2975, "val": 500, "test": 1525},
    source=(
        "https://www.cityscapes-dataset.com (account needed): leftImg8bit_trainvaltest.zip (11 GB) "
        "and gtFine_trainvaltest.zip (241 MB), both unpacked into cityscapes/"
    ),
    terms="free for non-commercial use; cite it; no redistribution of the data",
    layout=(
        "cityscapes/leftImg8bit/{train,val,test}/<city>/<city>_<seq>_<frame>_leftImg8bit.png\n"
        "cityscapes/gtFine/{train,val,test}/<city>/<city>_<seq>_<frame>_gtFine_labelIds.png\n"
        "                     or ..._gtFine_labelTrainIds.png, where labelIds are not there"
    ),
    test_is_scored=False,
)  # fmt: skip


def open_split(split: str, *, root: str = "", size: int = 0) -> FileSplit:
    """Open the frames of one split, sorted by name. Labels of `test` are void everywhere.

    Raises:
        DataError: folders are missing, or frames and labels do not pair up.
    """
    folder = data_folder("cityscapes", root, "cityscapes", layout=INFO.layout)
    title = f"cityscapes {split}"
    if not (folder / "gtFine").is_dir() and (folder / "gtCoarse").is_dir():
        raise DataError(f"{folder}: has gtCoarse, no gtFine; expected the fine labels.")
    images = _by_frame(folder / "leftImg8bit" / split, IMAGE_END)
    labels: dict[str, tuple[Path, LabelFormat]] = {}
    for end, (table, expected) in reversed(FORMATS.items()):  # labelIds stand over labelTrainIds
        format = LabelFormat(table, expected, all_void=split == "test")
        found = _by_frame(folder / "gtFine" / split, end)
        labels |= {name: (path, format) for name, path in found.items()}
    frames = pair_frames(title, images, labels)
    return FileSplit(first_frames(title, frames, size), any_orientation=True)


def _by_frame(folder: Path, end: str) -> dict[str, Path]:
    """Files <city>/<frame><end> of a split by frame, whatever else lies beside them."""
    paths = [
        path
        for city in list_folder(folder)
        if city.is_dir()
        for path in list_folder(city)
        if path.name.endswith(end)
    ]
    return {path.name.removesuffix(end): path for path in paths}
