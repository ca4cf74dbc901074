"""Paired gains over the same seeds and frames: of all pixels, by class, near boundaries, inside."""

from collections.abc import Sequence
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


class Scored(NamedTuple):
    """One run under one reading, over all frames and over every draw."""

    regions: dict[str, Resampled]  # whole, boundary, interior
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
            self._known[key] = Scored(regions, labels_hash(counts["whole"]), frames, block)
        return self._known[key]

    def sides(self, pair: Pair, region: str = "whole") -> list[list[Resampled]]:
        """The row's and the other's runs by seed; `pair` has at least one seed."""
        sides = ((pair.row, pair.reading), (pair.over, pair.over_reading))
        return [
            [self.score(row.runs[seed], reading).regions[region] for seed in pair.seeds()]
            for row, reading in sides
        ]

    def check(self, pair: Pair) -> None:
        """Refuse to compare runs that were not scored alike.

        Raises:
            RecordError: another protocol, or other frames or labels; both runs are named.
        """
        for seed in pair.seeds():
            run, over = pair.row.runs[seed], pair.over.runs[seed]
            protocols = [one.metrics().get("protocol", "") for one in (run, over)]
            names = f"gain of {run.run_id} over {over.run_id}"
            if protocols[0] != protocols[1]:
                raise RecordError(
                    f"{names}: scored on {protocols[0]}, and on {protocols[1]}. "
                    "Give both the same dataset, val_size and score_size."
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
        tried; gain, ci_low, ci_high in points of mIoU; p_bootstrap, p_t; by_seed ("seed: gain");
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
    names, lines, seen = label_names(study.students), [], set()
    for pair in student_pairs(study):
        if not pair.over.baseline or id(pair.row) in seen:
            continue
        seen.add(id(pair.row))
        if not pair.seeds():
            continue
        resampler.check(pair)
        gains = paired_class_gains(*resampler.sides(pair), seed=resampler.seed)
        counts = frame_counts(pair.row.runs[pair.seeds()[0]], pair.reading)
        for name, *values in zip(class_names(pair), *class_shares(counts), *gains, strict=True):
            line = _labels(pair, names) | {"class": name, "n": len(pair.seeds())}
            lines.append(line | dict(zip(CLASS_VALUES, values, strict=True)))
    columns = [*names, "over", "class", "n", *CLASS_VALUES]
    return pd.DataFrame(lines, columns=columns)


def class_names(pair: Pair) -> Sequence[str]:
    """Names of the classes, in the order of their ids."""
    metrics = pair.row.runs[pair.seeds()[0]].metrics()
    return list(metrics["readings"][pair.reading]["iou"])


def _table(pairs: Sequence[Pair], names: Sequence[str], resampler: Resampler) -> pd.DataFrame:
    lines = [_line(pair, names, resampler) for pair in pairs]
    return pd.DataFrame(lines, columns=[*names, "over", *_EMPTY])


_EMPTY = {
    "reads": "", "over_reads": "", "n": 0, "tried": 0, "gain": np.nan, "ci_low": np.nan,
    "ci_high": np.nan, "p_bootstrap": np.nan, "p_t": np.nan, "by_seed": "",
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
    line |= {"p_bootstrap": gain.p_bootstrap, "p_t": gain.p_t}
    by_seed = zip(seeds, gain.by_seed, strict=True)
    line |= {"by_seed": ", ".join(f"{seed}: {value:+.1f}" for seed, value in by_seed)}
    line |= {"train_frames": train_frames(pair.row.runs[seeds[0]])}
    for region in REGIONS[1:]:
        sides = resampler.sides(pair, region)
        value, low, high, *_ = paired_gain(*sides, seed=resampler.seed)
        line |= {f"{region}_gain": value, f"{region}_low": low, f"{region}_high": high}
    return line


def _labels(pair: Pair, names: Sequence[str]) -> dict[str, str]:
    return labels_of(pair.row, names) | {"over": pair.over.method}
