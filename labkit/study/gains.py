"""Paired gains over the same seeds and frames: of all pixels, by class, by area, by region."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from labkit.errors import RecordError
from labkit.records.counts import REGIONS
from labkit.records.run import Run
from labkit.study.bootstrap import (
    Resampled,
    frame_resamples,
    paired_class_gains,
    paired_gain,
    resampled_iou,
)
from labkit.study.counts import (
    Counts,
    class_shares,
    frame_counts,
    frames_per_block,
    labels_hash,
    train_frames,
)
from labkit.study.rows import Pair, Study, label_names, student_pairs, teacher_pairs
from labkit.study.scores import labels_of

DRAWS = 2000  # of the bootstrap behind every interval
CLASS_VALUES = ("pixels", "boundary", "gain", "ci_low", "ci_high")
AREAS = (0.25, 1.0, 4.0, 16.0)  # percent of a frame's labelled pixels, between the ranges of areas
AREA_NAMES = ("below 0.25", "0.25 to 1", "1 to 4", "4 to 16", "16 and more")
AREA_VALUES = ("pixels", "gain", "ci_low", "ci_high")


class Scored(NamedTuple):
    """One run under one reading, over all frames and over every draw."""

    regions: dict[str, Resampled]  # whole, boundary, interior; a number a class
    areas: Resampled  # a number a range of areas
    labels: str  # hash of the frames' labels
    frames: int
    block: int  # consecutive frames drawn together


class Resampler:
    """Scores of runs over the same draws of frames, each computed once."""

    def __init__(self, draws: int = DRAWS, *, seed: int = 0) -> None:
        self.draws, self.seed = draws, seed
        self._known: dict[tuple[str, str], Scored] = {}

    def score(self, run: Run, reading: str) -> Scored:
        """IoU of one run by class and region."""
        key = run.run_id, reading
        if key not in self._known:
            counts = frame_counts(run, reading)
            frames = len(counts["whole"].hits)
            block = frames_per_block(run, frames)
            weights = frame_resamples(frames, draws=self.draws, block=block, seed=self.seed)
            regions = {
                name: resampled_iou(of.hits, of.union, weights) for name, of in counts.items()
            }
            by_area = resampled_iou(*area_counts(counts["whole"])[:2], weights)
            labels = labels_hash(counts["whole"])
            self._known[key] = Scored(regions, by_area, labels, frames, block)
        return self._known[key]

    def sides(self, pair: Pair, region: str = "whole") -> list[list[Resampled]]:
        """The row's and the other's runs by seed; `pair` has at least one seed."""
        return [[scored.regions[region] for scored in side] for side in self._scored(pair)]

    def area_sides(self, pair: Pair) -> list[list[Resampled]]:
        """As `sides`, a number a range of `AREAS` instead of one a class."""
        return [[scored.areas for scored in side] for side in self._scored(pair)]

    def _scored(self, pair: Pair) -> list[list[Scored]]:
        sides = ((pair.row, pair.reading), (pair.over, pair.over_reading))
        return [
            [self.score(row.runs[seed], reading) for seed in pair.seeds()] for row, reading in sides
        ]

    def check(self, pair: Pair) -> None:
        """Refuse to compare runs that were not scored alike.

        Raises:
            RecordError: another protocol, or other frames or labels; both runs are named.
        """
        for seed in pair.seeds():
            run, over = pair.row.runs[seed], pair.over.runs[seed]
            protocols = [
                f"{one.metrics().get('protocol', '')}, boundary_width {one.settings.boundary_width}"
                for one in (run, over)
            ]
            names = f"gain of {run.run_id} over {over.run_id}"
            if protocols[0] != protocols[1]:
                raise RecordError(
                    f"{names}: scored on {protocols[0]}, and on {protocols[1]}. "
                    "Give both the same dataset, val_size, score_size and boundary_width."
                )
            scored = self.score(run, pair.reading), self.score(over, pair.over_reading)
            if scored[0].labels != scored[1].labels:
                raise RecordError(
                    f"{names}: the labels of their frames differ. "
                    "Score both on the same files: train the older run again."
                )


def gains_table(study: Study, resampler: Resampler) -> pd.DataFrame:
    """A line per pair of `student_pairs`.

    Returns:
        The row's labels; over (the other's method); reads, over_reads; n seeds complete in both;
        tried; gain, ci_low, ci_high (bootstrap), t_low, t_high (t-test) in points of mIoU;
        p_bootstrap, p_t; by_seed ("seed: gain");
        for boundary and interior pixels <region>_gain, <region>_low, <region>_high; train_frames.
        NaN for n = 0.

    Raises:
        RecordError: two runs were scored by different protocols or on different labels.
    """
    return _table(student_pairs(study), label_names(study.students), resampler)


def teacher_gains_table(study: Study, resampler: Resampler) -> pd.DataFrame:
    """A line per pair of `teacher_pairs`, with the columns of `gains_table`."""
    return _table(teacher_pairs(study), label_names(study.teachers), resampler)


def class_gains_table(study: Study, resampler: Resampler) -> pd.DataFrame:
    """Gain of every class over the first baseline, for every other student row.

    Returns:
        The row's labels, over, class, pixels (percent of all labelled ones) and boundary (percent
        of the class's pixels near a boundary), n, gain, ci_low, ci_high in points of IoU; NaN for
        a class absent from label and prediction. Rows without a seed complete in both are left out.
    """
    names, lines = label_names(study.students), []
    for pair in _first_pairs(study, resampler):
        gains = paired_class_gains(*resampler.sides(pair), seed=resampler.seed)
        counts = frame_counts(pair.row.runs[pair.seeds()[0]], pair.reading)
        for name, *values in zip(class_names(pair), *class_shares(counts), *gains, strict=True):
            line = _labels(pair, names) | {"class": name, "n": len(pair.seeds())}
            lines.append(line | dict(zip(CLASS_VALUES, values, strict=True)))
    columns = [*names, "over", "class", "n", *CLASS_VALUES]
    return pd.DataFrame(lines, columns=columns)


def area_gains_table(study: Study, resampler: Resampler) -> pd.DataFrame:
    """Gain over the first baseline by the area that a class fills in a frame.

    The IoU of a range of areas: hits over union, both summed over those classes of those frames
    whose area is in it. Predictions of a class in frames whose label does not hold it are left out.

    Returns:
        The row's labels, over, area (range, percent of the frame's labelled pixels), pixels
        (percent of all labelled ones), n, gain, ci_low, ci_high in points of IoU; NaN where no
        class of a frame has such an area. Rows without a seed complete in both are left out.
    """
    names, lines = label_names(study.students), []
    for pair in _first_pairs(study, resampler):
        gains = paired_class_gains(*resampler.area_sides(pair), seed=resampler.seed)
        counts = frame_counts(pair.row.runs[pair.seeds()[0]], pair.reading)["whole"]
        pixels = area_counts(counts)[2].sum(0)
        for name, *values in zip(AREA_NAMES, 100 * pixels / pixels.sum(), *gains, strict=True):
            line = _labels(pair, names) | {"area": name, "n": len(pair.seeds())}
            lines.append(line | dict(zip(AREA_VALUES, values, strict=True)))
    return pd.DataFrame(lines, columns=[*names, "over", "area", "n", *AREA_VALUES])


def area_counts(counts: Counts) -> np.ndarray:
    """(3, F, R) pixels: hits, union and labelled, summed over the classes of each range of areas.

    A class that a frame's label does not hold counts in no range.
    """
    labelled = counts.labelled
    share = 100 * labelled / np.maximum(labelled.sum(1, keepdims=True), 1)  # (F, K)
    in_range = np.digitize(share, AREAS)[None] == np.arange(len(AREA_NAMES))[:, None, None]
    in_range &= labelled > 0
    parts = np.stack([counts.hits, counts.union, labelled])
    return np.einsum("pfk,rfk->pfr", parts, in_range.astype(parts.dtype))


def _first_pairs(study: Study, resampler: Resampler) -> Iterator[Pair]:
    """Every row over its first baseline, where both are complete for a seed.

    Raises:
        RecordError: two runs were scored by different protocols or on different labels.
    """
    seen = set()
    for pair in student_pairs(study):
        if not pair.over.baseline or id(pair.row) in seen:
            continue
        seen.add(id(pair.row))
        if pair.seeds():
            resampler.check(pair)
            yield pair


def class_names(pair: Pair) -> Sequence[str]:
    """Names of the classes, in the order of their ids."""
    metrics = pair.row.runs[pair.seeds()[0]].metrics()
    return list(metrics["readings"][pair.reading]["iou"])


def _table(pairs: Sequence[Pair], names: Sequence[str], resampler: Resampler) -> pd.DataFrame:
    lines = [_line(pair, names, resampler) for pair in pairs]
    return pd.DataFrame(lines, columns=[*names, "over", *_EMPTY])


_EMPTY = {
    "reads": "", "over_reads": "", "n": 0, "tried": 0, "gain": np.nan, "ci_low": np.nan,
    "ci_high": np.nan, "t_low": np.nan, "t_high": np.nan, "p_bootstrap": np.nan, "p_t": np.nan,
    "by_seed": "",
    **{f"{region}_{part}": np.nan for region in REGIONS[1:] for part in ("gain", "low", "high")},
    "train_frames": np.nan,
}  # fmt: skip


def _line(pair: Pair, names: Sequence[str], resampler: Resampler) -> dict:
    seeds = pair.seeds()
    line = _labels(pair, names) | _EMPTY | {"n": len(seeds), "tried": pair.row.tried}
    line |= {"reads": pair.reading, "over_reads": pair.over_reading}
    if not seeds:
        return line
    resampler.check(pair)
    gain = paired_gain(*resampler.sides(pair), seed=resampler.seed)
    line |= {"gain": gain.value, "ci_low": gain.low, "ci_high": gain.high}
    line |= {"t_low": gain.t_low, "t_high": gain.t_high}
    line |= {"p_bootstrap": gain.p_bootstrap, "p_t": gain.p_t}
    by_seed = zip(seeds, gain.by_seed, strict=True)
    line |= {"by_seed": ", ".join(f"{seed}: {value:+.2f}" for seed, value in by_seed)}
    line |= {"train_frames": train_frames(pair.row.runs[seeds[0]])}
    for region in REGIONS[1:]:
        sides = resampler.sides(pair, region)
        value, low, high, *_ = paired_gain(*sides, seed=resampler.seed)
        line |= {f"{region}_gain": value, f"{region}_low": low, f"{region}_high": high}
    return line


def _labels(pair: Pair, names: Sequence[str]) -> dict[str, str]:
    return labels_of(pair.row, names) | {"over": pair.over.method}
