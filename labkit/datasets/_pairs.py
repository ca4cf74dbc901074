"""Pairs of picture files: read with every fault in words, and looked through before a run starts."""

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

import labkit
from labkit.datasets._info import DataError
from labkit.files import FileError, read_json, write_json
from labkit.lnm import IGNORE_INDEX

FAULTS_SHOWN = 10
SUFFIXES = (".png", ".jpg", ".jpeg")


@dataclass(frozen=True)
class LabelFormat:
    """How label files hold classes: single-channel ids 0..num_classes-1, and `void` for void."""

    num_classes: int
    void: int

    def __str__(self) -> str:
        return f"class ids 0-{self.num_classes - 1}, and {self.void} for void"


def read_pair(image: Path, label: Path, labels: LabelFormat) -> tuple[Tensor, Tensor]:
    """One frame and its label.

    Returns:
        image (3, H, W) uint8 RGB; target (H, W) uint8, 255 = void.

    Raises:
        DataError: a file is unreadable, empty, truncated or no picture; the label has other than one channel, another size
            than the frame, an id outside the classes, or void at every pixel.
    """
    pixels, _ = _picture(image, "RGB")
    ids, mode = _picture(label, None)
    if mode not in ("L", "P"):
        raise DataError(f"{label}: found mode {mode}; expected one 8-bit channel of {labels}. Write it as such a PNG.")
    if ids.shape != pixels.shape[:2]:
        sizes = f"{ids.shape[0]} x {ids.shape[1]}; expected the frame's {pixels.shape[0]} x {pixels.shape[1]}"
        raise DataError(f"{label}: found size {sizes}. Bring it to the frame's size without interpolating ids.")
    outside = sorted(set(np.unique(ids).tolist()) - {*range(labels.num_classes), labels.void})
    if outside:
        raise DataError(f"{label}: found ids {', '.join(map(str, outside[:8]))}; expected {labels}. Map them to classes or to void.")
    if (ids == labels.void).all():
        raise DataError(f"{label}: found void at every pixel; expected some labelled pixels. Remove the frame and its label.")
    target = torch.from_numpy(ids)
    return torch.from_numpy(pixels).permute(2, 0, 1), target.masked_fill(target == labels.void, IGNORE_INDEX)


def _picture(path: Path, mode: str | None) -> tuple[np.ndarray, str]:
    """Pixels of a picture file, converted to `mode` where one is given, and its own mode."""
    try:
        if path.stat().st_size == 0:
            raise DataError(f"{path}: found an empty file; expected a PNG or JPEG picture. Fetch it anew.")
        with Image.open(path) as file:
            file.verify()  # the sums of a PNG's image data, which reading alone does not check
        with Image.open(path) as file:
            return np.array(file.convert(mode) if mode else file), file.mode
    except PermissionError as error:
        raise DataError(f"{path}: found a file this user may not read; expected read permission. Give it (chmod +r).") from error
    except FileNotFoundError as error:
        raise DataError(f"{path}: found no such file; expected a PNG or JPEG picture. Fetch it anew.") from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:  # what Pillow raises on broken bytes
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path}: found a broken or truncated picture ({error}); expected a whole PNG or JPEG. Fetch it anew.") from error


def files_by_stem(folder: Path) -> dict[str, Path]:
    """Picture files of a folder by their stem, sorted.

    Raises:
        DataError: no such folder, no permission, no picture in it, or two pictures of one stem.
    """
    try:
        paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    except PermissionError as error:
        raise DataError(f"{folder}: found a folder this user may not read; expected read permission. Give it (chmod +rx).") from error
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DataError(f"{folder}: found no such folder; expected one of {', '.join(SUFFIXES)} files. Check LABKIT_DATA.") from error
    if not paths:
        raise DataError(f"{folder}: found no pictures, an empty split; expected {', '.join(SUFFIXES)} files. Fill it.")
    found: dict[str, Path] = {}
    for path in paths:
        if path.stem in found:
            raise DataError(f"{path}: found beside {found[path.stem].name}; expected one picture of a name. Remove one of the two.")
        found[path.stem] = path
    return found


def unpaired(images: dict[str, Path], labels: dict[str, Path], label_folder: Path, image_folder: Path) -> list[str]:
    """One sentence for every frame without a label and every label without a frame."""
    alone = [f"{images[stem]}: found no label of that name in {label_folder}; expected one. Add it, or remove the frame."
             for stem in sorted(images.keys() - labels.keys())]  # fmt: skip
    return alone + [f"{labels[stem]}: found no frame of that name in {image_folder}; expected one. Add it, or remove the label."
                    for stem in sorted(labels.keys() - images.keys())]  # fmt: skip


def check_pairs(title: str, pairs: Iterable[tuple[Path, Path]], labels: LabelFormat, *, cache: Path | None, faults: list[str]) -> None:
    """Read every pair once; a pair unchanged in size and time since it was found sound is not read again.

    Args:
        title: of the split, for the message.
        cache: JSON file of what was found sound; None = read everything.
        faults: found before, told together with the others.

    Raises:
        DataError: every fault, the first ten in full.
    """
    known = _known(cache, labels)
    sound: dict[str, list[int]] = {}
    faults = list(faults)
    for image, label in pairs:
        key = f"{image.absolute()} {label.absolute()}"
        try:
            stamp = [number for path in (image, label) for number in (path.stat().st_size, path.stat().st_mtime_ns)]
            if known.get(key) != stamp:
                read_pair(image, label, labels)
            sound[key] = stamp
        except DataError as error:
            faults.append(str(error))
        except OSError as error:
            faults.append(f"{error.filename}: cannot be looked at ({error.strerror}); expected a readable file. Mend that.")
    if cache and sound != known:
        with contextlib.suppress(FileError):  # it only saves time
            write_json(cache, {"labkit": labkit.__version__, "format": str(labels), "sound": sound})
    if faults:
        more = [f"... and {len(faults) - FAULTS_SHOWN} more."] if len(faults) > FAULTS_SHOWN else []
        raise DataError("\n".join([f"{title}: {len(faults)} faults in its files." if len(faults) > 1 else f"{title}:",
                                   *faults[:FAULTS_SHOWN], *more]))  # fmt: skip


def _known(cache: Path | None, labels: LabelFormat) -> dict[str, list[int]]:
    """What an earlier look found sound, by the same rules."""
    if cache is None or not cache.is_file():
        return {}
    with contextlib.suppress(OSError):
        found = read_json(cache)
        same_rules = (found.get("labkit"), found.get("format")) == (labkit.__version__, str(labels))
        if same_rules and isinstance(found.get("sound"), dict):
            return found["sound"]
    return {}
