"""An optional cache of decoded frames, for sets whose decoding bounds training (Cityscapes).

One file of bytes per split, mapped into memory: reading a crop touches the crop's pages alone. It
lies in the folder that environment variable LABKIT_CACHE names, and takes 4 bytes per pixel.
"""

import hashlib
import json
import os
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from labkit.datasets.base import Sample, Split, SplitOver
from labkit.datasets.files import FileSplit
from labkit.datasets.json_file import read_object
from labkit.errors import DataError

VARIABLE = "LABKIT_CACHE"
VERSION = 3
LARGEST_INDEX = 2**27  # bytes
NOTE = "Frames come from a cache of decoded files."
AHEAD = 16  # frames decoded ahead of the one written


@dataclass(frozen=True)
class CacheEntry:
    """Where a frame lies, and what it was read from."""

    offset: int  # bytes
    size: tuple[int, int]  # height, width
    stamps: list[list[int]]  # see `_stamps`


class CachedSplit(SplitOver):
    """A split whose frames come from a cache.

    A frame whose files or id table changed is read from its files.
    """

    def __init__(self, split: FileSplit, folder: Path, entries: dict[str, CacheEntry]) -> None:
        super().__init__(split)
        self.folder, self.entries = folder, entries
        self.note = " ".join(filter(None, (split.note, NOTE)))
        self._bytes: np.ndarray | None = None

    def read_bytes(self, index: int) -> Sample:
        """Return a frame with its target as uint8."""
        entry = self.entries.get(self.split.frame_name(index))
        if entry is None or entry.stamps != _stamps(self.split, index):
            return self.split.read_bytes(index)
        if self._bytes is None:  # mapped privately, so that nothing can change the file
            self._bytes = np.memmap(self.folder / "frames.bin", np.uint8, mode="c")
        height, width = entry.size
        pixels, end = 3 * height * width, entry.offset + 4 * height * width
        image = self._bytes[entry.offset : entry.offset + pixels].reshape(height, width, 3)
        target = self._bytes[entry.offset + pixels : end].reshape(height, width)
        return Sample(torch.from_numpy(image).permute(2, 0, 1), torch.from_numpy(target))

    def __getstate__(self) -> dict:
        return self.__dict__ | {"_bytes": None}  # each process maps the file itself


def cache_folder(title: str, split: FileSplit) -> Path | None:
    """Return the cache folder of a split, None where LABKIT_CACHE is not set.

    Args:
        title: data set and split, such as "voc-train".
    """
    parent = os.environ.get(VARIABLE, "")
    if not parent or not len(split):
        return None
    place = hashlib.sha256(str(split.files(0)[0].absolute().parent).encode()).hexdigest()[:12]
    return Path(parent).expanduser() / f"{title}-{place}"


def use_cache(title: str, split: FileSplit) -> FileSplit | CachedSplit:
    """Return the split with its cache, where there is one."""
    folder = cache_folder(title, split)
    if folder is None or not (folder / "index.json").is_file():
        return split
    try:
        entries = _read_index(folder)
    except (DataError, OSError, KeyError, TypeError, ValueError):
        return split  # a damaged cache only costs time
    return CachedSplit(split, folder, entries)


def decoded_bytes(split: Split) -> int:
    """Return the size of all frames decoded: 4 bytes per pixel; reads the headers of all images.

    Raises:
        DataError: a header cannot be read.
    """
    return sum(4 * h * w for h, w in (split.size(i) for i in range(len(split))))


def write_cache(title: str, split: FileSplit, *, progress: bool = False) -> Path:
    """Decode every frame of a split into its cache.

    Returns:
        The cache's folder.

    Raises:
        DataError: LABKIT_CACHE is not set, the disk has too little space, a frame is malformed, or
            the cache cannot be written.
    """
    folder = cache_folder(title, split)
    if folder is None:
        raise DataError(f"{title}: set the environment variable {VARIABLE} to a folder first.")
    wanted = decoded_bytes(split)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
        if free < 1.05 * wanted:
            raise DataError(
                f"{folder}: {wanted / 1e9:.1f} GB needed for {len(split)} frames, "
                f"{free / 1e9:.1f} GB free. Choose another folder in {VARIABLE}."
            )
        entries = _write_frames(folder, split, progress)
        index = {"version": VERSION, "frames": entries}
        _replace(folder / "index.json", iter([json.dumps(index).encode()]))
    except OSError as error:
        raise DataError(f"{folder}: cannot be written ({error.strerror}).") from error
    return folder


def _write_frames(folder: Path, split: FileSplit, progress: bool) -> dict[str, list]:
    entries: dict[str, list] = {}

    def contents() -> Iterator[bytes]:
        offset = 0
        frames = tqdm(_decoded(split), total=len(split), desc="cache", disable=not progress)
        for i, (stamps, sample) in enumerate(frames):
            height, width = sample.target.shape
            entries[split.frame_name(i)] = [offset, [height, width], stamps]
            yield sample.image.permute(1, 2, 0).contiguous().numpy().tobytes()
            yield sample.target.numpy().tobytes()
            offset += 4 * height * width

    (folder / "index.json").unlink(missing_ok=True)
    _replace(folder / "frames.bin", contents())
    return entries


def _decoded(split: FileSplit) -> Iterator[tuple[list[list[int]], Sample]]:
    """Frames in order, a few decoded ahead by threads (decoding releases Python's lock)."""

    def read(index: int) -> tuple[list[list[int]], Sample]:
        return _stamps(split, index), split.read_bytes(index)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        positions = iter(range(len(split)))
        waiting = [pool.submit(read, i) for i in islice(positions, AHEAD)]
        while waiting:
            yield waiting.pop(0).result()
            waiting += [pool.submit(read, i) for i in islice(positions, 1)]


def _replace(path: Path, contents: Iterator[bytes]) -> None:
    """Write a file under another name first, so that no reader sees half of it."""
    descriptor, part = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with open(descriptor, "wb") as file:
            file.writelines(contents)
        os.replace(part, path)
    except BaseException:
        Path(part).unlink(missing_ok=True)
        raise


def _read_index(folder: Path) -> dict[str, CacheEntry]:
    content = read_object(folder / "index.json", limit=LARGEST_INDEX)
    if content["version"] != VERSION:
        raise ValueError("another version")
    length = (folder / "frames.bin").stat().st_size
    entries = {
        name: CacheEntry(int(offset), (int(height), int(width)), stamps)
        for name, (offset, (height, width), stamps) in content["frames"].items()
    }
    for entry in entries.values():
        height, width = entry.size
        if min(entry.offset, height, width) < 0 or entry.offset + 4 * height * width > length:
            raise ValueError("outside the file")
    return entries


def _stamps(split: FileSplit, index: int) -> list[list[int]]:
    """Size and times of modification and change (ns) of a frame's files; CRC-32 of its id table."""
    try:
        files = [file.stat() for file in split.files(index)]
    except OSError:
        return []  # reading the file will report it
    stamps = [[file.st_size, file.st_mtime_ns, file.st_ctime_ns] for file in files]
    return [*stamps, [zlib.crc32(split.frames[index].labels.table)]]
