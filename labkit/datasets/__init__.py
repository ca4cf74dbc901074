"""Data sets: one file each, with its facts, its recipes and how its splits are read.

A data set is a module with `INFO: DatasetInfo`, or `info(root)` where a file holds the facts, and
`open_split(split, *, root, size) -> Split`.
"""

import importlib
import pkgutil
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from labkit.datasets.base import DatasetInfo, Sample, Split
from labkit.datasets.batches import (
    Batch,
    ScoringBatch,
    TrainBatches,
    foreign_index,
    frames_batch,
    scoring_batches,
    scoring_size,
)
from labkit.datasets.cache import use_cache, write_cache
from labkit.datasets.files import FileSplit
from labkit.datasets.memory import KeptSplit, fits_memory
from labkit.errors import DataError, SettingsError, nearest_name

__all__ = [
    "Batch",
    "DatasetInfo",
    "Sample",
    "ScoringBatch",
    "Split",
    "TrainBatches",
    "available",
    "cache_dataset",
    "check_scored",
    "check_split",
    "dataset_info",
    "dataset_recipe",
    "foreign_index",
    "frames_batch",
    "open_split",
    "scoring_batches",
    "scoring_size",
]

SHARED = frozenset(
    {
        "augment",
        "base",
        "batches",
        "canvas",
        "cache",
        "check",
        "classes",
        "decoding",
        "describe",
        "examine",
        "files",
        "init_folder",
        "json_file",
        "matlab",
        "memory",
        "pairing",
        "pictures",
        "recipes",
        "show",
    }
)


def available() -> list[str]:
    """Return the names of the data sets: the modules of this package but the shared ones."""
    modules = {module.name for module in pkgutil.iter_modules([str(Path(__file__).parent)])}
    return sorted(modules - SHARED)


def dataset_info(name: str, *, root: str = "") -> DatasetInfo:
    """Return the facts of a data set.

    Args:
        root: folder that holds the data sets; only `folder` reads its facts from there.

    Raises:
        SettingsError: no such data set.
        DataError: the description of a `folder` data set is missing or malformed.
    """
    module = open_module(name)
    return module.info(root) if hasattr(module, "info") else module.INFO


def dataset_recipe(name: str, recipe: str, *, root: str = "") -> dict[str, Any]:
    """Return a data set's recipe: overrides of settings by name.

    Raises:
        SettingsError: no such recipe; the message lists what exists.
    """
    recipes = dataset_info(name, root=root).recipes
    if recipe not in recipes:
        raise SettingsError(
            f"setting recipe: got {recipe!r}; {name} has {', '.join(recipes)}.", names=["recipe"]
        )
    return dict(recipes[recipe])


def open_split(name: str, split: str, *, root: str = "", size: int = 0) -> Split:
    """Open one split of a data set; frames stay in memory where all of them fit 1 GiB.

    Args:
        root: folder that holds the data sets; "" = environment variable LABKIT_DATA.
        size: the first so many frames; 0 = all.

    Raises:
        DataError: the data set is not there, or has no such split.
    """
    info = dataset_info(name, root=root)
    check_split(info, split)
    frames = open_module(name).open_split(split, root=root, size=size)
    if isinstance(frames, FileSplit):
        frames = use_cache(f"{name}-{split}", frames)
    return KeptSplit(frames) if fits_memory(frames) else frames


def cache_dataset(
    name: str, root: str = "", *, splits: Sequence[str] = ("train", "val"), progress: bool = False
) -> list[Path]:
    """Decode splits into the cache folder that LABKIT_CACHE names; 4 bytes per pixel.

    Returns:
        The folders written.

    Raises:
        DataError: the data set has no files, or the cache cannot be written.
    """
    folders = []
    for split in splits:
        frames = open_module(name).open_split(split, root=root, size=0)
        if not isinstance(frames, FileSplit):
            raise DataError(f"{name}: is generated, it has no files to cache.")
        folders.append(write_cache(f"{name}-{split}", frames, progress=progress))
    return folders


def check_split(info: DatasetInfo, split: str) -> None:
    """Refuse the name of a split that a data set does not have.

    Raises:
        DataError: the message lists what exists.
    """
    if split not in info.splits:
        raise DataError(f"{info.name}: no split {split!r}; it has {', '.join(info.splits)}.")


def check_scored(info: DatasetInfo, split: str, *, trained_on: DatasetInfo | None = None) -> None:
    """Refuse a score that means nothing.

    Args:
        trained_on: the data set of the network's training.

    Raises:
        DataError: the split's labels are not public, or its images are in the training split of
            the network.
    """
    if split == "test" and not info.test_is_scored:
        raise DataError(
            f"{info.name} test: its labels are not public, the files hold void everywhere, and "
            "there is no score. Score val, or send predictions to the benchmark's server."
        )
    if trained_on and info.name in trained_on.contains:
        raise DataError(
            f"{info.name} {split}: its images are in the training split of {trained_on.name}, on "
            "which this network was trained; a score would be of frames seen. Score val of "
            f"{trained_on.name}."
        )


def open_module(name: str) -> ModuleType:
    """Return the module of a data set.

    Raises:
        SettingsError: no such data set.
    """
    if name not in available():
        raise SettingsError(
            f"setting dataset: got {name!r}; {nearest_name(name, available())}", names=["dataset"]
        )
    return importlib.import_module(f"labkit.datasets.{name}")
