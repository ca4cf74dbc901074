"""What is an image, a target, a palette, a recipe? One file per data set, found by its file name.

A data set is a module with `INFO: DatasetInfo` and `open_split(split, *, root, size, height, width) -> Split`; one that reads
files also has `preflight(split, *, root, cache)`, which looks through them all.
"""

import importlib
import pkgutil
from pathlib import Path

from labkit.config import Recipe, SettingsError
from labkit.datasets._info import DataError, DatasetInfo, Sample, Split
from labkit.datasets._loading import Batch, TrainBatches, evaluation_batches, frames_batch, joint_augmentation

__all__ = [
    "Batch", "DataError", "DatasetInfo", "Sample", "Split", "TrainBatches",
    "available", "dataset_info", "dataset_recipe", "evaluation_batches", "frames_batch", "joint_augmentation", "open_split", "preflight",
]  # fmt: skip


def available() -> list[str]:
    """Names of the data sets: the public modules of this package."""
    return sorted(module.name for module in pkgutil.iter_modules([str(Path(__file__).parent)]) if module.name[0] != "_")


def dataset_info(name: str) -> DatasetInfo:
    """Classes, palette, normalisation and recipes of a data set.

    Raises:
        SettingsError: no such data set; the message lists what exists.
    """
    return _module(name).INFO


def dataset_recipe(name: str, recipe: str) -> Recipe:
    """A data set's recipe by name.

    Raises:
        SettingsError: no such recipe; the message lists what exists.
    """
    recipes = dataset_info(name).recipes
    if recipe not in recipes:
        raise SettingsError(f"setting recipe: got {recipe!r}; {name} has {', '.join(recipes)}.")
    return recipes[recipe]


def open_split(name: str, split: str, *, root: str, size: int, height: int, width: int) -> Split:
    """Images and targets of one split, brought to height x width.

    Args:
        root: folder that holds the data sets; "" = environment variable LABKIT_DATA.
        size: the first so many images; 0 = all.

    Raises:
        DataError: the data set is not there, or no such split.
    """
    _check_split(name, split)
    return _module(name).open_split(split, root=root, size=size, height=height, width=width)


def preflight(name: str, split: str, *, root: str, cache: Path | None = None) -> None:
    """Look through all files of a split before anything starts. A data set that is generated has none.

    Args:
        root: as for `open_split`.
        cache: folder where what was found sound is remembered, by size and time; None = read everything.

    Raises:
        DataError: every fault with file, found, expected and what to do.
    """
    _check_split(name, split)
    check = getattr(_module(name), "preflight", None)
    if check:
        check(split, root=root, cache=cache / f"{name}-{split}.json" if cache else None)


def _check_split(name: str, split: str) -> None:
    info = dataset_info(name)
    if split not in info.splits:
        raise DataError(f"{name}: no split {split!r}; it has {', '.join(info.splits)}.")


def _module(name: str):
    if name not in available():
        raise SettingsError(f"setting dataset: got {name!r}; expected one of {', '.join(available())}.")
    return importlib.import_module(f"labkit.datasets.{name}")
