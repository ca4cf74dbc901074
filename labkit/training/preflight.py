"""Checks of data against files and runs, and the fingerprint by which data enter a run's id."""

import contextlib
import hashlib
import json
import os
from collections.abc import MutableMapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from labkit.datasets import DatasetInfo, Split, check_scored, dataset_info, open_split
from labkit.datasets.pairing import shorten
from labkit.errors import DataError, FileError
from labkit.records import Run, file_hash, read_json, runs_folder, write_json

RULES = 2  # raised when `Split.check` changes: every file is then read again


def data_fingerprint(settings: Any, *, memory: MutableMapping | None = None) -> str:
    """Hash of everything about the data that a run's result depends on.

    Covers class names, normalisation, and the training and validation frames used: names, sizes
    and contents of their files; of a generated data set its first and last scene; of a `folder` its
    map from values to classes. Files are checked on the way.

    Args:
        settings: with dataset, data_root, train_size, score_split, val_size and runs.
        memory: keeps fingerprints of splits for the caller, where many runs share them.

    Raises:
        DataError: a file is missing or malformed, or the split is not to be scored.
    """
    info = dataset_info(settings.dataset, root=settings.data_root)
    cache = runs_folder(settings.runs) / ".preflight"
    memory = {} if memory is None else memory
    splits = []
    check_scored(info, settings.score_split)
    for split, size in (("train", settings.train_size), (settings.score_split, settings.val_size)):
        key = (settings.dataset, split, settings.data_root, size, cache)
        if key not in memory:
            memory[key] = check_data_files(
                settings.dataset, split, root=settings.data_root, size=size, cache=cache
            )
        splits.append(memory[key])
    facts = [list(info.class_names), list(info.mean), list(info.std), *splits]
    facts += [info.label_table.hex()] if info.label_table else []
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def check_data_files(
    dataset: str, split: str, *, root: str, size: int = 0, cache: Path | None = None
) -> str:
    """Read every frame of a split once and check it; files that passed are cached.

    Args:
        root: folder that holds the data sets; "" = environment variable LABKIT_DATA.
        size: the first so many frames; 0 = all.
        cache: folder for the cache, by path, size and times of change; None = read every file.

    Returns:
        Fingerprint of the split: hash over frame names, and sizes and contents of their files.

    Raises:
        DataError: every fault with file, what came, what was expected; the first ten in full.
    """
    info = dataset_info(dataset, root=root)
    frames = open_split(dataset, split, root=root, size=size)
    if not frames.files(0):
        return _generated_fingerprint(frames)
    path = cache / f"{dataset}-{split}.json" if cache else None
    known = _read_cache(path, info)
    passed: dict[str, list] = {}
    faults: list[str] = []
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        results = pool.map(lambda i: _check_frame(frames, i, known), range(len(frames)))
        for entries, fault in results:
            passed |= entries
            faults += [fault] if fault else []
    if path and any(known.get(name) != entry for name, entry in passed.items()):
        with contextlib.suppress(FileError):  # it only saves time
            write_json(path, _cache_header(info) | {"files": known | passed})
    if faults:
        raise DataError(_list_faults(f"{dataset} {split}", faults))
    rows = [
        [frames.frame_name(i), *(passed[_key(file)][::3] for file in frames.files(i))]  # size, hash
        for i in range(len(frames))
    ]
    return hashlib.sha256(json.dumps(sorted(rows)).encode()).hexdigest()


def check_class_names(run: Run, info: DatasetInfo) -> None:
    """Refuse a data set whose classes are no longer those of a complete run's training.

    Raises:
        DataError: the names or their order differ; names both lists.
    """
    trained_on = tuple(next(iter(run.metrics()["readings"].values()))["iou"])
    if trained_on != info.class_names:
        raise DataError(
            f"run {run.run_id}: its classes are {', '.join(trained_on)}; those of {info.name} are "
            f"now {', '.join(info.class_names)}; expected the run's, in its order. Restore them, "
            "choose the data folder it was trained on (data_root or LABKIT_DATA), or train again."
        )


def _check_frame(frames: Split, index: int, known: dict[str, list]) -> tuple[dict[str, list], str]:
    """Cache entries [size, mtime, ctime in ns, SHA-256] of a frame's files, and its fault or "".

    A copy with its old modification time has a new ctime.
    """
    try:
        stamps = {}
        for file in frames.files(index):
            status = file.stat()
            stamps[_key(file)] = [status.st_size, status.st_mtime_ns, status.st_ctime_ns]
        if all(known.get(key, [])[:3] == stamp for key, stamp in stamps.items()):
            return {key: known[key] for key in stamps}, ""
        frames.check(index)
        hashes = [file_hash(file) for file in frames.files(index)]
        return {key: [*stamp, hashes[n]] for n, (key, stamp) in enumerate(stamps.items())}, ""
    except DataError as error:
        return {}, str(error)
    except OSError as error:
        return {}, (
            f"{error.filename}: cannot be read ({error.strerror}); expected a readable file. "
            "Restore it or its permissions."
        )


def _generated_fingerprint(frames: Split) -> str:
    """Number of frames, and names and contents of the first and last scene."""
    digest = hashlib.sha256(f"generated {len(frames)}".encode())
    for i in (0, len(frames) - 1):
        sample = frames[i]
        digest.update(f"{frames.frame_name(i)} {tuple(sample.target.shape)}".encode())
        digest.update(sample.image.contiguous().numpy().tobytes())
        digest.update(sample.target.contiguous().numpy().tobytes())
    return digest.hexdigest()


def _key(file: Path) -> str:
    return str(file.absolute())


def _cache_header(info: DatasetInfo) -> dict[str, Any]:
    table = {"label_table": info.label_table.hex()} if info.label_table else {}
    return {"rules": RULES, "class_names": list(info.class_names)} | table


def _read_cache(path: Path | None, info: DatasetInfo) -> dict[str, list]:
    """Entries of files that passed before by the same rules; none from an unreadable cache."""
    if path is None or not path.is_file():
        return {}
    with contextlib.suppress(OSError):
        content = read_json(path)
        header, files = _cache_header(info), content.get("files")
        if {name: content.get(name) for name in header} == header and isinstance(files, dict):
            return {name: entry for name, entry in files.items() if _is_entry(entry)}
    return {}


def _is_entry(entry: Any) -> bool:
    return isinstance(entry, list) and [type(value) for value in entry] == [int, int, int, str]


def _list_faults(title: str, faults: list[str]) -> str:
    count = f" {len(faults)} faults in its files." if len(faults) > 1 else ""
    return "\n".join([f"{title}:{count}", *shorten(faults)])
