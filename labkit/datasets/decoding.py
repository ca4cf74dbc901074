"""Size of a cache of decoded frames, and the loading time it saves."""

import time
from collections.abc import Sequence

import torch

from labkit.datasets import check_split, dataset_info, open_module
from labkit.datasets.augment import augment
from labkit.datasets.base import DatasetInfo
from labkit.datasets.cache import decoded_bytes
from labkit.datasets.files import FileSplit
from labkit.datasets.memory import BUDGET
from labkit.errors import DataError

FRAMES = 8  # decoded to measure
CROP, ZOOM = (512, 512), (0.5, 2.0)  # the usual crop of the benchmarks


def describe_cache(name: str, root: str = "", *, splits: Sequence[str]) -> list[str]:
    """Return a line per split: the cache's size, and how much of loading is decoding.

    Args:
        root: folder that holds the data sets; "" = environment variable LABKIT_DATA.

    Raises:
        SettingsError: no such data set.
        DataError: the data set is not there, has no such split or no files, or a file is malformed.
    """
    info = dataset_info(name, root=root)
    return [_describe(info, split, root) for split in splits]


def _describe(info: DatasetInfo, split: str, root: str) -> str:
    check_split(info, split)
    frames = open_module(info.name).open_split(split, root=root, size=0)
    if not isinstance(frames, FileSplit):
        raise DataError(f"{info.name}: is generated, it has no files to cache.")
    size = decoded_bytes(frames)
    title = f"{info.name} {split}: {len(frames)} frames, {size / 1e9:.2f} GB decoded"
    if size <= BUDGET:
        return (
            f"{title}. They stay in memory after their first use, so that a cache saves their "
            "first decoding alone."
        )
    decoding, crop = decoding_times(frames)
    return (
        f"{title}. Decoding takes {1000 * decoding:.1f} of {1000 * (decoding + crop):.1f} ms for "
        f"a crop of {CROP[0]} x {CROP[1]}: a cache saves at most "
        f"{100 * decoding / (decoding + crop):.0f} % of loading."
    )


def decoding_times(frames: FileSplit) -> tuple[float, float]:
    """Return seconds per frame on one core: to read and decode it; to zoom, crop and flip it."""
    count, threads = min(FRAMES, len(frames)), torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        times = [_frame_times(frames, i * len(frames) // count) for i in range(count)]
    finally:
        torch.set_num_threads(threads)
    return tuple(sum(column) / count for column in zip(*times, strict=True))


def _frame_times(frames: FileSplit, index: int) -> tuple[float, float]:
    start = time.process_time()
    sample = frames.read_bytes(index)
    decoded = time.process_time()
    augment(
        sample,
        size=tuple(sample.target.shape),
        crop=CROP,
        scale=ZOOM,
        brightness=0,
        fill=(0, 0, 0),
        generator=torch.Generator().manual_seed(index),
    )
    return decoded - start, time.process_time() - decoded
