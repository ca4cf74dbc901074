"""Check every file of a data set: layout, pairs, readability, sizes, ids, shares, duplicates."""

import multiprocessing
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import numpy as np
from tqdm import tqdm

from labkit.datasets import check_split, dataset_info, open_module
from labkit.datasets.base import DatasetInfo
from labkit.datasets.examine import FrameFacts, examine_frame
from labkit.datasets.files import FileSplit
from labkit.datasets.pairing import PairingError
from labkit.errors import DataError

FEW = 64  # frames below which no processes are started
CHUNK = 8  # frames handed to a process at a time
FAULTS_LISTED = 20
FILES_LISTED = 3


@dataclass
class SplitReport:
    """What the check found in one split."""

    frames: int
    published: int | None
    height: tuple[int, int] | None = None  # least, largest
    width: tuple[int, int] | None = None
    distinct_sizes: int = 0
    class_shares: dict[str, float] = field(default_factory=dict)  # of labelled pixels
    void_share: float = 0.0  # of all pixels
    unknown_ids: dict[int, int] = field(default_factory=dict)  # raw value -> pixels
    note: str = ""


@dataclass
class CheckReport:
    """Result of `check_dataset`.

    Attributes:
        faults: what makes the data unusable, each naming a file.
        warnings: what a user should know, such as split sizes other than the published.
    """

    name: str
    splits: dict[str, SplitReport] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Whether there is no fault."""
        return not self.faults

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain values."""
        return {"passed": self.passed} | asdict(self)

    def lines(self) -> list[str]:
        """Return the report as text; the first twenty faults."""
        lines = [line for item in self.splits.items() for line in _split_lines(*item)]
        lines += [f"warning: {warning}" for warning in self.warnings]
        lines += [f"fault: {fault}" for fault in self.faults[:FAULTS_LISTED]]
        if len(self.faults) > FAULTS_LISTED:
            lines.append(f"... and {len(self.faults) - FAULTS_LISTED} more faults.")
        count = len(self.faults)
        verdict = "passed" if self.passed else f"{count} fault{'s' if count > 1 else ''}"
        return [*lines, f"{self.name}: {verdict}"]


def check_dataset(
    name: str,
    root: str = "",
    *,
    splits: Sequence[str] = (),
    workers: int = 0,
    progress: bool = False,
) -> CheckReport:
    """Check every file of a data set.

    Args:
        root: folder that holds the data sets; "" = environment variable LABKIT_DATA.
        splits: those to check; () = all.
        workers: processes; 0 = one per core.
        progress: whether a progress bar is drawn on stderr.

    Raises:
        SettingsError: no such data set.
        DataError: it has no such split.
    """
    report = CheckReport(name)
    try:
        info = dataset_info(name, root=root)
    except DataError as error:
        report.faults.append(str(error))
        return report
    for split in splits:
        check_split(info, split)
    seen: dict[str, tuple[str, str]] = {}  # content -> split, image
    for split in splits or info.splits:
        frames = _open(report, info, split, root)
        if frames is None:
            continue
        facts = _examined(frames, workers or os.cpu_count() or 1)
        with closing(facts):
            bar = tqdm(facts, total=len(frames), desc=f"{name} {split}", disable=not progress)
            report.splits[split] = _summarise(report, info, split, bar, frames, seen)
        _compare_with_published(report, info, split)
    return report


def _open(report: CheckReport, info: DatasetInfo, split: str, root: str) -> FileSplit | None:
    """The split's frames; those that pair up where not all do."""
    try:
        frames = open_module(info.name).open_split(split, root=root, size=0)
    except PairingError as error:
        report.faults += error.faults
        return FileSplit(error.frames, any_orientation=True) if error.frames else None
    except DataError as error:
        optional = split == "test" and {"train", "val"} <= report.splits.keys()
        (report.warnings if optional else report.faults).append(f"{info.name} {split}: {error}")
        return None
    if not isinstance(frames, FileSplit):
        report.splits[split] = SplitReport(len(frames), None, note="generated, no files")
        return None
    return frames


def _examined(frames: FileSplit, workers: int) -> Iterator[FrameFacts]:
    examine = partial(examine_frame, any_orientation=frames.any_orientation)
    if workers == 1 or len(frames) < FEW:
        yield from map(examine, frames.frames)
        return
    fork = "fork" in multiprocessing.get_all_start_methods()  # torch need not be imported again
    context = multiprocessing.get_context("fork" if fork else None)
    pool = ProcessPoolExecutor(workers, mp_context=context)
    try:
        yield from pool.map(examine, frames.frames, chunksize=CHUNK)
    finally:
        pool.shutdown(cancel_futures=True)


def _summarise(
    report: CheckReport,
    info: DatasetInfo,
    split: str,
    facts: Iterator[FrameFacts],
    frames: FileSplit,
    seen: dict[str, tuple[str, str]],
) -> SplitReport:
    sizes, unknown, pixels = Counter(), Counter(), np.zeros(256, np.int64)
    notes: dict[str, list[str]] = {}
    for frame in facts:
        report.faults += frame.faults
        unknown.update(frame.unknown)
        for kind, path in frame.notes:
            notes.setdefault(kind, []).append(path)
        if frame.size:
            sizes[frame.size] += 1
        if frame.pixels is not None:
            pixels += frame.pixels
        if frame.content:
            _compare_content(report, notes, split, frame, seen)
    report.warnings += [
        f"{info.name} {split}: {kind}: {len(paths)} files, "
        f"{', '.join(paths[:FILES_LISTED])}{', ...' if len(paths) > FILES_LISTED else ''}"
        for kind, paths in notes.items()
        if not (split == "test" and not info.test_is_scored)
    ]
    if frames.note:
        report.warnings.append(frames.note)
    labelled = max(1, int(pixels[: info.num_classes].sum()))
    heights, widths = zip(*sizes, strict=True) if sizes else ((), ())
    return SplitReport(
        frames=len(frames),
        published=info.sizes.get(split),
        height=(min(heights), max(heights)) if heights else None,
        width=(min(widths), max(widths)) if widths else None,
        distinct_sizes=len(sizes),
        class_shares={n: int(pixels[i]) / labelled for i, n in enumerate(info.class_names)},
        void_share=int(pixels[255]) / max(1, int(pixels.sum())),
        unknown_ids=dict(sorted(unknown.items())),
        note=frames.note,
    )


def _compare_content(
    report: CheckReport,
    notes: dict[str, list[str]],
    split: str,
    frame: FrameFacts,
    seen: dict[str, tuple[str, str]],
) -> None:
    """A picture in two splits is a fault, twice in one split a note."""
    other_split, other = seen.setdefault(frame.content, (split, frame.image))
    if other == frame.image:
        return
    if other_split == split:
        notes.setdefault("the same picture twice in this split", []).append(frame.image)
    else:
        report.faults.append(
            f"{frame.image}: the same picture as {other} of {other_split}; expected every picture "
            "in one split. Remove it from one."
        )


def _compare_with_published(report: CheckReport, info: DatasetInfo, split: str) -> None:
    found = report.splits[split]
    if found.published not in (None, found.frames):
        report.warnings.append(
            f"{info.name} {split}: {found.frames} frames; {found.published} are published."
        )
    if split == "test" and not info.test_is_scored:
        return
    absent = [name for name, share in found.class_shares.items() if not share]
    if absent:
        listed = ", ".join(absent[:8]) + (", ..." if len(absent) > 8 else "")
        report.warnings.append(
            f"{info.name} {split}: {len(absent)} classes without a pixel: {listed}"
        )


def _split_lines(split: str, report: SplitReport) -> list[str]:
    count = f" of {report.published} published" if report.published else ""
    lines = [f"{split}: {report.frames} frames{count}"]
    if report.height and report.width:
        lines.append(
            f"  {report.distinct_sizes} sizes, height {report.height[0]}-{report.height[1]}, "
            f"width {report.width[0]}-{report.width[1]}; void {100 * report.void_share:.1f} %"
        )
        largest = sorted(report.class_shares.items(), key=lambda item: -item[1])[:8]
        lines.append("  " + ", ".join(f"{name} {100 * share:.1f} %" for name, share in largest))
    if report.unknown_ids:
        ids = ", ".join(f"{value} ({count})" for value, count in report.unknown_ids.items())
        lines.append(f"  unknown ids (pixels): {ids}")
    return lines
