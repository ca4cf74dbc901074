"""Per-frame pixel counts of a run: frames.npz."""

import io
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from labkit.errors import FileError
from labkit.records.files import read_bytes
from labkit.records.schema import damaged
from labkit.records.text import terminal_text

LARGEST_COUNTS = 2**30  # bytes, packed and unpacked: 5000 frames of 171 classes need 0.2 GB
COUNTS = ("hits", "labelled", "predicted")
REGIONS = ("whole", "boundary", "interior")
DAMAGE = (  # what zipfile and numpy raise for a file that is damaged or another program's
    ValueError,
    LookupError,
    OSError,
    EOFError,
    RuntimeError,
    MemoryError,
    ArithmeticError,
    SyntaxError,
    TypeError,
    zipfile.BadZipFile,
    zlib.error,
)


def read_counts(path: Path, *, run: str) -> dict[str, Any]:
    """Return the arrays of frames.npz.

    Returns:
        "frames" (F,) names, and "{reading}.{region}.{count}" (F, K) int64, at least 0.

    Raises:
        RecordError: the file is missing, too large, or holds anything else.
    """
    try:
        content = read_bytes(path, limit=LARGEST_COUNTS)
    except FileError as error:
        raise damaged(run, str(error).removeprefix(f"{path}: "), file=path.name) from error
    try:
        arrays = _unpack(content)
        _check(arrays)
    except DAMAGE as error:
        reason = terminal_text(str(error))[:80] or type(error).__name__
        raise damaged(run, f"holds no counts ({reason}).", file=path.name) from error
    return arrays


def _unpack(content: bytes) -> dict[str, Any]:
    with zipfile.ZipFile(io.BytesIO(content)) as packed:
        if sum(entry.file_size for entry in packed.infolist()) > LARGEST_COUNTS:
            raise ValueError("too large")
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


def _check(arrays: dict[str, Any]) -> None:
    frames = arrays["frames"]
    if frames.ndim != 1 or frames.dtype.kind != "U":
        raise ValueError("frames: expected names")
    shapes = set()
    for name, array in arrays.items():
        if name == "frames":
            continue
        _, region, count = name.rsplit(".", 2)
        if region not in REGIONS or count not in COUNTS:
            raise ValueError("unknown array")
        if array.dtype != np.int64 or array.ndim != 2 or len(array) != len(frames):
            raise ValueError("expected (frames, classes) int64")
        if array.size and array.min() < 0:
            raise ValueError("a count below 0")
        shapes.add(array.shape)
    if len(shapes) != 1:
        raise ValueError("expected equal shapes")
