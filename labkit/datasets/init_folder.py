"""A first dataset.json and a first matrix file for a folder of images and labels."""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from labkit.datasets.folder import FILE, PART, SPLITS
from labkit.datasets.pictures import SUFFIXES, read_ids
from labkit.errors import DataError
from labkit.method.noising import IGNORE_INDEX

DEPTH = 3  # folders are looked for so many levels down
SAMPLE = 3  # labels read to tell a folder of labels
VAL_EVERY = 5  # a fifth of the frames, where there is no folder for validation
LARGEST_CLASSES = 250
MATRIX_FILE = "matrix.yaml"
MATRIX = """# A student alone, and one taught by an assisted teacher, on this folder's images:
#   LABKIT_DATA=<this folder> labkit matrix <this file>
title: "a student alone, and one of an assisted teacher"
datasets: [folder]
seeds: [0]
settings: {teacher.train_steps: 600, student.train_steps: 400}  # a first look; recipe: 1500, 1000
teachers:
  assisted: {}
methods:
  alone: {}
  CWD of assisted: {teacher: assisted, distillation: "cwd:3", cwd.temperature: 1}
"""
WORD = re.compile("[A-Z]?[a-z]+|[A-Z]+")  # of a path; a capital begins one
SPLIT_WORDS = {
    "train": "train", "training": "train",
    "val": "val", "valid": "val", "validation": "val",
    "test": "test", "testing": "test",
}  # fmt: skip


def init_folder(path: Path | str) -> Path:
    """Write dataset.json from the pairs of folders found below `path`; all labels are read.

    A matrix file that trains on it is written beside it, where there is none.

    Returns:
        dataset.json. Its class names are numbers, for the user to replace.

    Raises:
        DataError: there is one already, no pair of image and label folders, or labels whose values
            cannot be class ids.
    """
    folder = Path(path).expanduser()
    file = folder / FILE
    if file.exists() or file.is_symlink():
        raise DataError(f"{file}: is there already. Edit it, or delete it first.")
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; expected one of images and labels.")
    pairs = find_pairs(folder)
    splits = _by_split(folder, pairs)
    values = sorted(_label_values(label_folder for _, label_folder in splits.values()))
    classes = [value for value in values if value != IGNORE_INDEX]
    if not classes or len(classes) > LARGEST_CLASSES or values[-1] > 255:
        raise DataError(
            f"{folder}: its labels hold {len(classes)} values up to {values[-1]}; "
            f"expected class ids 0-254, and 255 for void."
        )
    content: dict[str, Any] = {"classes": [f"class_{value}" for value in classes]}
    if classes != list(range(len(classes))):
        content["ids"] = {str(value): f"class_{value}" for value in classes}
        if IGNORE_INDEX in values:
            content["ids"][str(IGNORE_INDEX)] = None
    for split, names in splits.items():
        content[split] = dict(zip(("images", "labels"), map(_posix(folder), names), strict=True))
    if "val" not in splits:
        content["val_every"] = VAL_EVERY
    _write_new(file, json.dumps(content, indent=1) + "\n")
    matrix = folder / MATRIX_FILE
    if not (matrix.exists() or matrix.is_symlink()):
        _write_new(matrix, MATRIX)
    return file


def _write_new(path: Path, text: str) -> None:
    try:
        with path.open("x", encoding="utf-8") as stream:
            stream.write(text)
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror}).") from error


def find_pairs(folder: Path) -> list[tuple[Path, Path]]:
    """Return (images, labels): folders with files of the same stems, the second of id pictures."""
    stems = {path: _stems(path) for path in _folders(folder)}
    stems = {path: names for path, names in stems.items() if names}
    labels = {path for path in stems if _holds_ids(path)}
    pairs = [
        (images, label)
        for label in sorted(labels)
        for images in sorted(stems)
        if images != label
        and stems[images] == stems[label]
        and (images not in labels or _looks_like_labels(label, images))
    ]
    if not pairs:
        raise DataError(
            f"{folder}: no pair of folders with images and labels of the same names "
            "(a.jpg and a.png); expected such as images/ and labels/, labels as PNG of one channel."
        )
    return pairs


def _by_split(folder: Path, pairs: list[tuple[Path, Path]]) -> dict[str, tuple[Path, Path]]:
    """The pairs by split, from the words train, val and test in their folders' names."""
    splits: dict[str, tuple[Path, Path]] = {}
    for pair in pairs:
        words = {_split_word(path.relative_to(folder)) for path in pair} - {""}
        if len(words) > 1:
            continue
        split = words.pop() if words else "train"
        if split in splits:
            raise DataError(
                f"{folder}: both {pair[0]} with {pair[1]} and {splits[split][0]} with "
                f"{splits[split][1]} could be {split}; expected one. Write {FILE} by hand."
            )
        splits[split] = pair
    if "train" not in splits:
        raise DataError(
            f"{folder}: no pair for training; expected folders named train, or one pair."
        )
    return {split: splits[split] for split in SPLITS if split in splits}


def _split_word(path: Path) -> str:
    """The split that a whole word of a folder's path names, or ""."""
    named = {SPLIT_WORDS.get(word.lower()) for word in WORD.findall(path.as_posix())}
    return next((split for split in SPLITS if split in named), "")


def _folders(folder: Path) -> Iterator[Path]:
    for path, names, _ in os.walk(folder):
        depth = len(Path(path).relative_to(folder).parts)
        usable = [name for name in names if PART.fullmatch(name)] if depth < DEPTH else []
        names[:] = sorted(usable)
        if depth:
            yield Path(path)


def _stems(folder: Path) -> frozenset[str]:
    return frozenset(p.stem for p in folder.iterdir() if p.suffix.lower() in SUFFIXES)


def _holds_ids(folder: Path) -> bool:
    """Whether the first files are PNG of one channel."""
    paths = sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES)
    try:
        return bool([read_ids(path) for path in paths[:SAMPLE]])
    except DataError:
        return False


def _looks_like_labels(label: Path, images: Path) -> bool:
    """Of two folders of grey pictures: whether the first has the smaller values, void aside."""
    return _largest_id(label) < _largest_id(images)


def _largest_id(folder: Path) -> int:
    paths = [path for path in sorted(folder.iterdir()) if _is_picture(path)]
    ids = np.concatenate([read_ids(path).ravel() for path in paths[:SAMPLE]])
    return int(ids[ids != IGNORE_INDEX].max(initial=0))


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES


def _label_values(folders: Iterator[Path]) -> set[int]:
    values: set[int] = set()
    for folder in folders:
        for path in sorted(folder.iterdir()):
            if _is_picture(path):
                values |= set(np.unique(read_ids(path)).tolist())
    return values


def _posix(folder: Path):
    return lambda path: path.relative_to(folder).as_posix()
