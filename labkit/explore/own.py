"""A picture of one's own, with or without its label, in place of a split's frames."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from labkit.datasets import DatasetInfo
from labkit.datasets.base import Sample
from labkit.datasets.pictures import read_label, read_upright
from labkit.errors import DataError
from labkit.method import IGNORE_INDEX
from labkit.records import runs_folder, write_bytes

FOLDER = "own"  # folder within the runs folder: uploaded pictures, named by their content


@dataclass(frozen=True)
class OwnFrame:
    """A split of one frame that is read upright from files; without a label every pixel is void."""

    image: Path
    label: Path | None
    info: DatasetInfo

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> Sample:
        pixels = read_upright(self.image)
        size = pixels.shape[:2]
        target = np.full(size, IGNORE_INDEX)
        if self.label is not None:
            target = read_label(self.label, size=size, num_classes=self.info.num_classes)
        return Sample(torch.from_numpy(pixels).permute(2, 0, 1), torch.from_numpy(target))

    def frame_name(self, index: int) -> str:
        return self.image.stem

    def size(self, index: int) -> tuple[int, int]:
        height, width = read_upright(self.image).shape[:2]
        return height, width

    def files(self, index: int) -> tuple[Path, ...]:
        return tuple(filter(None, (self.image, self.label)))

    def check(self, index: int) -> None:
        self[index]


def open_own(image: str, label: str, info: DatasetInfo) -> OwnFrame:
    """The frame of an image file and, where it is not "", a label file of class ids.

    Raises:
        DataError: a file cannot be read, or the label does not fit; when a frame is taken.
    """
    return OwnFrame(Path(image), Path(label) if label else None, info)


def keep_upload(content: bytes, *, runs: str) -> str:
    """Write an uploaded file below the runs folder, so that a line to paste can name it.

    Raises:
        DataError: it is neither PNG nor JPEG.
    """
    kinds = {b"\x89PNG": ".png", b"\xff\xd8\xff": ".jpg"}
    suffix = next((one for start, one in kinds.items() if content.startswith(start)), None)
    if suffix is None:
        raise DataError("the uploaded file is neither PNG nor JPEG; expected a picture of 8 bits.")
    folder = runs_folder(runs) / FOLDER
    path = folder / f"{hashlib.sha256(content).hexdigest()[:12]}{suffix}"
    write_bytes(path, content)
    return str(path)
