"""Facts and faults of one frame's files, for `labkit data check`."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from labkit.datasets.files import Frame, compare_sizes
from labkit.datasets.pictures import (
    SUFFIXES,
    orientation,
    read_image,
    verify_picture,
)
from labkit.errors import DataError
from labkit.method.noising import IGNORE_INDEX


@dataclass
class FrameFacts:
    """What one frame's files hold.

    Attributes:
        faults: messages that name the file.
        notes: oddities that are no faults, each with the file's name.
        size: (height, width) of the image; None where it cannot be read.
        pixels: (256,) pixels by train id, 255 = void; None where the label cannot be read.
        unknown: pixels by raw value, of values that must not occur.
        content: hash of the image's size and pixels, "" where it cannot be read.
    """

    image: str
    faults: list[str] = field(default_factory=list)
    notes: list[tuple[str, str]] = field(default_factory=list)  # kind, file
    size: tuple[int, int] | None = None
    pixels: np.ndarray | None = None
    unknown: dict[int, int] = field(default_factory=dict)
    content: str = ""


def examine_frame(frame: Frame, *, any_orientation: bool) -> FrameFacts:
    """Read both files of a frame and collect every fault; never raises for what they hold."""
    facts = FrameFacts(str(frame.image))
    image = _collect(facts, lambda: _read(frame.image, read_image))
    ids = _collect(facts, lambda: _read(frame.label, frame.labels.read))
    if image is not None:
        _examine_image(facts, frame, image, any_orientation)
    if ids is not None:
        _examine_label(facts, frame, ids)
    if image is not None and ids is not None:
        _collect(facts, lambda: compare_sizes(frame, image.shape[:2], ids.shape))
    return facts


def _read(path: Path, read):
    if path.suffix.lower() in SUFFIXES:
        verify_picture(path)
    return read(path)


def _collect(facts: FrameFacts, use):
    """The result of `use`, or None with its fault kept."""
    try:
        return use()
    except DataError as error:
        facts.faults.append(str(error))
    except OSError as error:
        facts.faults.append(f"{error.filename}: cannot be read ({error.strerror}).")
    return None


def _examine_image(
    facts: FrameFacts, frame: Frame, image: np.ndarray, any_orientation: bool
) -> None:
    facts.size = (image.shape[0], image.shape[1])
    digest = hashlib.blake2b(str(image.shape).encode(), digest_size=16)
    digest.update(np.ascontiguousarray(image).data)
    facts.content = digest.hexdigest()
    if (image[0] == image[0, 0]).all() and (image == image[0, 0]).all():
        facts.faults.append(
            f"{frame.image}: one colour at every pixel; expected a picture. Fetch it again."
        )
    turned = _collect(facts, lambda: orientation(frame.image))
    if turned not in (None, 1):
        if any_orientation:
            facts.notes.append(("EXIF orientation, never applied", str(frame.image)))
        else:
            facts.faults.append(
                f"{frame.image}: has EXIF orientation {turned}, which is never applied; expected 1 "
                "or none. Save the picture as it is to be seen."
            )


def _examine_label(facts: FrameFacts, frame: Frame, ids: np.ndarray) -> None:
    facts.unknown = frame.labels.unknown_ids(ids)
    target = _collect(facts, lambda: frame.labels.target(ids, frame.label))
    if target is None:
        return
    facts.pixels = np.bincount(target.ravel(), minlength=256)
    if facts.pixels[IGNORE_INDEX] == target.size:
        if frame.labels.all_void:
            facts.notes.append(("void at every pixel", str(frame.label)))
        else:
            facts.faults.append(
                f"{frame.label}: void at every pixel; expected some labelled pixels. "
                "Remove the frame and its label."
            )
