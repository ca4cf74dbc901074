"""Folders of data sets, and the pairs of image and label files in them."""

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from labkit.datasets.files import Frame, LabelFormat
from labkit.datasets.pictures import SUFFIXES
from labkit.errors import DataError

FAULTS_LISTED = 10


class PairingError(DataError):
    """Images or labels that stand alone.

    Attributes:
        faults: one message for each of them.
        frames: those that do pair up.
    """

    def __init__(self, title: str, faults: Sequence[str], frames: Sequence[Frame]) -> None:
        super().__init__("\n".join([f"{title}: files that do not pair up", *shorten(faults)]))
        self.faults, self.frames = list(faults), list(frames)


def find_data_folder(dataset: str, root: str) -> Path:
    """Return the folder that holds the data sets: `root`, or environment variable LABKIT_DATA.

    Raises:
        DataError: none is given.
    """
    parent = root or os.environ.get("LABKIT_DATA", "")
    if not parent:
        raise DataError(
            f"{dataset}: no data folder given; expected the folder that holds the data sets. "
            "Set the environment variable LABKIT_DATA, or the setting data_root."
        )
    return Path(parent).expanduser()


def data_folder(dataset: str, root: str, *parts: str, layout: str) -> Path:
    """Return a data set's folder below the data folder.

    Args:
        root: as for `find_data_folder`.
        parts: names of the folder below it.
        layout: what the folder holds, for the message.

    Raises:
        DataError: no data folder is given, or the data set is not in it.
    """
    folder = find_data_folder(dataset, root).joinpath(*parts)
    if not folder.is_dir():
        raise DataError(
            f"{dataset}: no folder {folder}; expected below the data folder:\n{layout}\n"
            "Check LABKIT_DATA or the setting data_root: the folder that holds "
            f"{'/'.join(parts)}/."
        )
    return folder


def list_folder(folder: Path) -> list[Path]:
    """Return what lies in a folder, sorted by name.

    Raises:
        DataError: no such folder, or no permission.
    """
    try:
        return sorted(folder.iterdir())
    except PermissionError as error:
        raise DataError(f"{folder}: no permission to list it. Allow it (chmod +rx).") from error
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DataError(
            f"{folder}: no such folder; expected one with the files of the data set."
        ) from error


def files_by_stem(folder: Path, *, suffixes: Iterable[str] = SUFFIXES) -> dict[str, Path]:
    """Return the files of a folder by stem, sorted.

    Raises:
        DataError: no such folder, no permission, no such file in it, or two files of one stem.
    """
    suffixes = tuple(suffixes)
    paths = [path for path in list_folder(folder) if path.suffix.lower() in suffixes]
    if not paths:
        raise DataError(f"{folder}: an empty split; expected {', '.join(suffixes)} files.")
    by_stem: dict[str, Path] = {}
    for path in paths:
        if path.stem in by_stem:
            raise DataError(
                f"{path}: lies beside {by_stem[path.stem].name}; expected one file of a name. "
                "Remove one of the two."
            )
        by_stem[path.stem] = path
    return by_stem


def pair_frames(
    title: str, images: Mapping[str, Path], labels: Mapping[str, tuple[Path, LabelFormat]]
) -> list[Frame]:
    """Return the frames of images and labels with equal names, sorted by name.

    Raises:
        PairingError: an image or a label stands alone.
        DataError: there is no image.
    """
    faults = [
        f"{images[name]}: has no label of that name. Add it, or remove the image."
        for name in sorted(images.keys() - labels.keys())
    ] + [
        f"{labels[name][0]}: has no image of that name. Add it, or remove the label."
        for name in sorted(labels.keys() - images.keys())
    ]
    frames = [Frame(n, images[n], *labels[n]) for n in sorted(images.keys() & labels.keys())]
    if faults:
        raise PairingError(title, faults, frames)
    if not images:
        raise DataError(f"{title}: no images; see labkit data describe {title.split()[0]}.")
    return frames


def listed_frames(
    title: str,
    names: Iterable[str],
    images: Mapping[str, Path],
    labels: Mapping[str, tuple[Path, LabelFormat]],
    source: Path,
) -> list[Frame]:
    """Return the frames of a list, sorted by name; files that no list names are left alone.

    Raises:
        PairingError: the list names an image or label that is not there.
        DataError: the list is empty.
    """
    names = sorted(names)
    if not names:
        raise DataError(f"{source}: an empty list; expected names of images.")
    faults = [
        f"{name}: {source} lists it, but there is no {what} of that name."
        for name in names
        for what, files in (("image", images), ("label", labels))
        if name not in files
    ]
    frames = [Frame(n, images[n], *labels[n]) for n in names if n in images and n in labels]
    if faults:
        raise PairingError(title, faults, frames)
    return frames


def read_names(path: Path, pattern: re.Pattern[str]) -> list[str]:
    """Return the names in a list file, sorted: the stem of the first path of every line.

    Args:
        pattern: what a name looks like; nothing else is used.

    Raises:
        DataError: the file cannot be read, or holds a line of another form or a name twice.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file; expected a list of names.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as text ({error}).") from error
    names = [Path(line.split()[0]).stem for line in lines if line.strip()]
    if wrong := [name for name in names if not pattern.fullmatch(name)]:
        raise DataError(f"{path}: holds {wrong[0]!r:.80}; expected names like {pattern.pattern}.")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f"{path}: holds {twice} more than once. Remove one.")
    return sorted(names)


def first_frames(title: str, frames: Sequence[Frame], size: int) -> Sequence[Frame]:
    """Return the first `size` frames, all for 0.

    Raises:
        DataError: there are fewer.
    """
    if size > len(frames):
        raise DataError(
            f"{title}: has {len(frames)} frames; expected at least {size}, the size asked for. "
            "Lower it, or set 0 for all."
        )
    return frames[: size or None]


def shorten(faults: Sequence[str]) -> list[str]:
    """Return the first ten faults, and a line that counts the others."""
    left = len(faults) - FAULTS_LISTED
    return [*faults[:FAULTS_LISTED], *([f"... and {left} more."] if left > 0 else [])]
