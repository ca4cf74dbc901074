"""Splits read from files: id tables, reading and checking of frames."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from labkit.datasets.base import Sample
from labkit.datasets.pictures import (
    SUFFIXES,
    orientation,
    picture_size,
    read_ids,
    read_image,
    verify_picture,
)
from labkit.errors import DataError
from labkit.method.noising import IGNORE_INDEX

UNKNOWN = 254  # entry of an id table for values that must not occur


def id_table(ids: Mapping[int, int]) -> bytes:
    """Return 256 entries, raw label value -> train id or 255 (void); UNKNOWN for all others.

    Raises:
        ValueError: a raw value outside 0-255, or a train id that means UNKNOWN.
    """
    if wrong := [raw for raw in ids if not 0 <= raw <= 255]:
        raise ValueError(f"raw label values: got {wrong}; expected 0-255.")
    if UNKNOWN in ids.values():
        raise ValueError(f"train ids: got {UNKNOWN}; expected 0-{UNKNOWN - 1}, or 255 for void.")
    return bytes(ids.get(raw, UNKNOWN) for raw in range(256))


@dataclass(frozen=True)
class LabelFormat:
    """How label files hold classes.

    Attributes:
        table: 256 entries, see `id_table`.
        expected: the values in words, for messages.
        read: label file -> (H, W) integers.
        all_void: whether a label without one labelled pixel is allowed.
    """

    table: bytes
    expected: str
    read: Callable[[Path], np.ndarray] = read_ids
    all_void: bool = False

    def target(self, ids: np.ndarray, path: Path) -> np.ndarray:
        """Return train ids (H, W) uint8, 255 = void.

        Raises:
            DataError: a value that the table does not know, with the number of its pixels.
        """
        if ids.dtype != np.uint8:
            if unknown := self.unknown_ids(ids):
                raise self._unknown(unknown, path)
            ids = ids.astype(np.uint8)
        target = bytearray(ids.tobytes()).translate(self.table)
        if UNKNOWN in target:
            raise self._unknown(self.unknown_ids(ids), path)
        return np.frombuffer(target, np.uint8).reshape(ids.shape)

    def unknown_ids(self, ids: np.ndarray) -> dict[int, int]:
        """Return pixels by raw value, of the values that the table does not know."""
        if ids.dtype == np.uint8:
            counts = np.bincount(ids.ravel(), minlength=256)
            values = counts.nonzero()[0]
            counts = counts[values]
        else:
            values, counts = np.unique(ids, return_counts=True)
        return {
            int(value): int(count)
            for value, count in zip(values, counts, strict=True)
            if not 0 <= value <= 255 or self.table[int(value)] == UNKNOWN
        }

    def _unknown(self, unknown: Mapping[int, int], path: Path) -> DataError:
        listed = ", ".join(f"{value} ({count} pixels)" for value, count in [*unknown.items()][:8])
        return DataError(
            f"{path}: has unknown ids {listed}; expected {self.expected}. "
            "Map them to classes or to void."
        )


@dataclass(frozen=True)
class Frame:
    """The files of one frame."""

    name: str
    image: Path
    label: Path
    labels: LabelFormat


class FileSplit:
    """Frames read from image and label files, at native size.

    Args:
        frames: in the order of the split.
        any_orientation: EXIF orientations other than 1 pass the check. Where the labels were drawn
            on the stored pixels they are harmless; they are never applied.
        note: what a reader of scores must know about these frames, one sentence, or "".
    """

    def __init__(
        self, frames: Sequence[Frame], *, any_orientation: bool = False, note: str = ""
    ) -> None:
        self.frames, self.note = list(frames), note
        self.any_orientation = any_orientation
        self._sizes: dict[int, tuple[int, int]] = {}

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, index: int) -> Sample:
        image, target = self.read_bytes(index)
        return Sample(image, target.long())

    def read_bytes(self, index: int) -> Sample:
        """Return a frame with its target as uint8."""
        frame = self.frames[index]
        pixels, target = read_image(frame.image), self._read_target(frame)
        compare_sizes(frame, pixels.shape[:2], target.shape)
        image = torch.from_numpy(pixels).permute(2, 0, 1)
        return Sample(image, torch.from_numpy(target))

    def target(self, index: int) -> torch.Tensor:
        """Return a frame's target alone, (H, W) int64, 255 = void."""
        return torch.from_numpy(self._read_target(self.frames[index])).long()

    def frame_name(self, index: int) -> str:
        return self.frames[index].name

    def size(self, index: int) -> tuple[int, int]:
        if index not in self._sizes:
            self._sizes[index] = picture_size(self.frames[index].image)
        return self._sizes[index]

    def files(self, index: int) -> tuple[Path, ...]:
        frame = self.frames[index]
        return frame.image, frame.label

    def check(self, index: int) -> None:
        frame = self.frames[index]
        for path in self.files(index):
            if path.suffix.lower() in SUFFIXES:
                verify_picture(path)
        if not self.any_orientation and (turned := orientation(frame.image)) != 1:
            raise DataError(
                f"{frame.image}: has EXIF orientation {turned}, which viewers apply and labkit "
                "does not; expected 1 or none. Save the picture as it is to be seen, without EXIF."
            )
        _, target = self[index]
        if not frame.labels.all_void and bool((target == IGNORE_INDEX).all()):
            raise DataError(
                f"{frame.label}: void at every pixel; expected some labelled pixels. "
                "Remove the frame and its label."
            )

    def _read_target(self, frame: Frame) -> np.ndarray:
        return frame.labels.target(frame.labels.read(frame.label), frame.label)


def compare_sizes(frame: Frame, image: tuple[int, int], label: tuple[int, int]) -> None:
    """Compare (height, width) of a frame's image and label.

    Raises:
        DataError: they differ.
    """
    if image == label:
        return
    turned = orientation(frame.image)
    exif = f" Its EXIF orientation {turned} is never applied." if turned != 1 else ""
    raise DataError(
        f"{frame.label}: has size {label[0]} x {label[1]}; expected the image's, "
        f"{image[0]} x {image[1]}.{exif} Bring it to that size without interpolating ids."
    )
