"""folder: your own images and labels, described by a file dataset.json in the data folder.

`labkit data init FOLDER` writes a first dataset.json from what it finds; `labkit data describe
folder` shows its form.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from labkit.datasets.base import IMAGENET_MEAN, IMAGENET_STD, DatasetInfo
from labkit.datasets.classes import Colour, bit_colour
from labkit.datasets.files import UNKNOWN, FileSplit, Frame, LabelFormat, id_table
from labkit.datasets.json_file import read_object
from labkit.datasets.pairing import files_by_stem, find_data_folder, first_frames, pair_frames
from labkit.datasets.recipes import PAPER, SHORT_512, SMALL
from labkit.errors import DataError
from labkit.method.noising import IGNORE_INDEX

FILE = "dataset.json"
SPLITS = ("train", "val", "test")
PART = re.compile(r"(?!\.)[\w .+-]{1,100}")  # of a folder's path; no "..", nothing hidden
FORM = """{
 "classes": {"road": [128, 64, 128], "car": [0, 0, 142]},   names in order, with RGB colours;
                                                            or a list of names: ["road", "car"]
 "ids": {"0": "road", "7": "car", "255": null},             value in labels -> class, null = void;
                                                            without it: 0, 1, ... and 255 = void
 "train": {"images": "images", "labels": "labels"},         folders below this one
 "val_every": 5                                             every 5th frame is for validation;
                                                            or "val": {"images": ..., "labels": ...}
                                                            "test": {...}   where you have one
}"""  # fmt: skip
SMALL_SIZE = {
    "resize": "short:128", "score_size": "short:128", "crop_height": 96, "crop_width": 96,
}  # fmt: skip
RECIPES: dict[str, dict[str, Any]] = {
    "default": SMALL | SMALL_SIZE,
    "small": SMALL | SMALL_SIZE,
    "paper": PAPER,
    "mmseg": PAPER | SHORT_512,
}
LAYOUT = (
    "<data_root>/dataset.json               classes, ids and folders\n"
    "<data_root>/images/*.png (or JPEG)     frames\n"
    "<data_root>/labels/*.png               one channel of ids, of the same stem and size\n"
    f"dataset.json:\n{FORM}"
)

# What is known without a dataset.json.
TEMPLATE = DatasetInfo(
    name="folder",
    class_names=(),
    palette=(),
    mean=IMAGENET_MEAN,
    std=IMAGENET_STD,
    recipes=RECIPES,
    is_video=False,
    source="your own files",
    terms="your own",
    layout=LAYOUT,
)


@dataclass(frozen=True)
class Description:
    """Content of a dataset.json."""

    path: Path
    names: tuple[str, ...]
    palette: tuple[Colour, ...]
    labels: LabelFormat
    folders: Mapping[str, tuple[Path, Path]]  # by split: images, labels
    val_every: int  # every so many pairs of train are val; 0 = val has folders of its own


def info(root: str = "") -> DatasetInfo:
    """Return the facts in the dataset.json of the data folder.

    Raises:
        DataError: it is missing or malformed.
    """
    description = read_description(find_data_folder("folder", root))
    splits = {*description.folders, "val"}  # with val_every, val has no folder of its own
    return replace(
        TEMPLATE,
        class_names=description.names,
        palette=description.palette,
        splits=tuple(split for split in SPLITS if split in splits),
        label_table=description.labels.table,
    )


def open_split(split: str, *, root: str = "", size: int = 0) -> FileSplit:
    """Open the frames of one split, sorted by name.

    Raises:
        DataError: dataset.json or folders are missing, files do not pair up, or the split has no
            frame.
    """
    description = read_description(find_data_folder("folder", root))
    every = description.val_every
    if not every or split == "test":
        frames = _frames(f"folder {split}", description, split)
    else:
        pairs = _frames(f"folder {split}", description, "train")
        frames = [
            frame for i, frame in enumerate(pairs) if ((i + 1) % every == 0) == (split == "val")
        ]
        if not frames:
            raise DataError(
                f"{description.path}: has val_every {every} and {len(pairs)} pairs, so that "
                f"{split} has no frame; expected at least {every} pairs. Add pairs, or lower "
                "val_every."
            )
    return FileSplit(first_frames(f"folder {split}", frames, size))


def read_description(folder: Path) -> Description:
    """Read and check the dataset.json of a folder.

    Raises:
        DataError: it is missing or malformed; names what came and what was expected.
    """
    path = folder / FILE
    if not path.is_file():
        raise DataError(
            f"folder: no {path}. Write one with: labkit data init {folder} "
            "(its form: labkit data describe folder)."
        )
    content = read_object(path)
    known = {"classes", "ids", *SPLITS, "val_every"}
    if unknown := sorted(content.keys() - known):
        raise _fault(path, f"has {unknown[0]!r:.60}", f"only {', '.join(sorted(known))}")
    names, palette = _classes(path, content.get("classes"))
    table = _ids(path, content.get("ids"), names)
    folders = {split: _folders(path, split, content[split]) for split in SPLITS if split in content}
    every = content.get("val_every", 0)
    if type(every) is not int or not (every == 0 or 2 <= every <= 1000):
        raise _fault(path, f"has val_every {every!r:.40}", "a whole number from 2 to 1000")
    if "train" not in folders or (every > 0) == ("val" in folders):
        raise _fault(path, "has no train and val folders", '"train", and "val" or "val_every"')
    expected = f"the ids of {FILE}: " + ", ".join(
        str(raw) for raw, train in enumerate(table) if train != UNKNOWN
    )
    return Description(path, names, palette, LabelFormat(table, expected), folders, every)


def _frames(title: str, description: Description, split: str) -> list[Frame]:
    image_folder, label_folder = description.folders[split]
    labels = files_by_stem(label_folder, suffixes=(".png",))
    return pair_frames(
        title,
        files_by_stem(image_folder),
        {name: (path, description.labels) for name, path in labels.items()},
    )


def _classes(path: Path, classes: Any) -> tuple[tuple[str, ...], tuple[Colour, ...]]:
    """Names and colours; a list of names gets colours by Pascal VOC's rule."""
    wanted = "names of classes, as a list or with an RGB colour each"
    if isinstance(classes, list) and all(isinstance(name, str) for name in classes):
        unique = len(set(classes)) == len(classes)
        classes = {name: bit_colour(i + 1) for i, name in enumerate(classes)} if unique else None
    if not isinstance(classes, dict) or not 1 <= len(classes) < UNKNOWN:
        raise _fault(path, "has no usable classes (or a name twice)", wanted)
    for name, colour in classes.items():
        if not (0 < len(name) <= 60 and name.isprintable() and name == name.strip()):
            raise _fault(path, f"has a class {name!r:.80}", "1-60 printable characters")
        if not _is_colour(colour):
            raise _fault(path, f"has the colour {colour!r:.60} of {name}", "[red, green, blue]")
    return tuple(classes), tuple(tuple(colour) for colour in classes.values())


def _is_colour(colour: Any) -> bool:
    return (
        isinstance(colour, (list, tuple))
        and len(colour) == 3
        and all(type(value) is int and 0 <= value <= 255 for value in colour)
    )


def _ids(path: Path, ids: Any, names: tuple[str, ...]) -> bytes:
    """Id table: raw value -> position of its class."""
    if ids is None:
        return id_table({**{i: i for i in range(len(names))}, IGNORE_INDEX: IGNORE_INDEX})
    wanted = 'ids such as {"0": "road", "255": null}, values 0-255'
    if not isinstance(ids, dict) or not ids:
        raise _fault(path, f"has ids {ids!r:.60}", wanted)
    table = {}
    for raw, name in ids.items():
        if not (raw.isascii() and raw.isdigit() and int(raw) <= 255 and str(int(raw)) == raw):
            raise _fault(path, f"has the id {raw!r:.40}", wanted)
        if name is not None and name not in names:
            raise _fault(path, f"has the id {raw} of {name!r:.60}", "one of its classes, or null")
        table[int(raw)] = IGNORE_INDEX if name is None else names.index(name)
    if missing := [name for i, name in enumerate(names) if i not in table.values()]:
        raise _fault(path, f"has no id of {missing[0]}", "one for every class")
    return id_table(table)


def _folders(path: Path, split: str, value: Any) -> tuple[Path, Path]:
    """Image and label folder of a split, below the folder of dataset.json."""
    wanted = f'"{split}": {{"images": "a folder", "labels": "a folder"}}, below {path.parent}'
    if not isinstance(value, dict) or value.keys() != {"images", "labels"}:
        raise _fault(path, f"has {split} {value!r:.80}", wanted)
    for name in value.values():
        parts = name.split("/") if isinstance(name, str) else [""]
        if not all(PART.fullmatch(part) for part in parts):
            raise _fault(path, f"has the folder {name!r:.80}", wanted)
    return path.parent / value["images"], path.parent / value["labels"]


def _fault(path: Path, got: str, expected: str) -> DataError:
    return DataError(f"{path}: {got}; expected {expected}. See labkit data describe folder.")
