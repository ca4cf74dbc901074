"""Every student over its twin: paired over the same seeds and frames, over all pixels, by class, near boundaries and inside."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from labkit.datasets import dataset_info
from labkit.records import RecordError
from labkit.statistics import block_length, paired_class_gains, paired_gain
from labkit.studies.regions import RegionConfusions
from labkit.studies.rows import LABELS, Pair, Study, pairs

REGIONS = ("boundary", "interior")


def gains_table(study: Study, measured: Mapping[str, RegionConfusions], *, draws: int) -> pd.DataFrame:
    """A line per pair of `pairs`.

    Args:
        measured: by run id, of every complete student.
        draws: of the bootstrap; see `statistics.paired_gain`.

    Returns:
        The row's labels; over (the other's method); n seeds complete in both; gain, ci_low, ci_high in points of mIoU; p_bootstrap,
        p_t; by_seed as text; seeds; for boundary and interior pixels <region>_gain, <region>_low, <region>_high. NaN for n = 0.

    Raises:
        RecordError: two runs were scored by different protocols.
    """
    return pd.DataFrame([_line(pair, measured, draws) for pair in pairs(study)])


def class_gains_table(study: Study, measured: Mapping[str, RegionConfusions], *, draws: int) -> pd.DataFrame:
    """Gain of every class over the first baseline, for every other student row with a seed complete in both.

    Returns:
        The row's labels, over, class, n, gain, ci_low, ci_high in points of IoU; NaN for a class absent from label or prediction.
    """
    lines, seen = [], set()
    for pair in pairs(study):
        if not pair.over.baseline or id(pair.row) in seen:
            continue
        seen.add(id(pair.row))
        if not pair.seeds():
            continue
        counts, block = _counts(pair, measured)
        found = paired_class_gains(*(np.stack([part.whole for part in side]) for side in counts), draws=draws, block=block)
        names = dataset_info(pair.row.labels["dataset"]).class_names
        for name, gain, low, high in zip(names, *found, strict=True):
            lines.append(_names(pair) | {"class": name, "n": len(pair.seeds()), "gain": gain, "ci_low": low, "ci_high": high})
    return pd.DataFrame(lines, columns=[*LABELS, "over", "class", "n", "gain", "ci_low", "ci_high"])


def frames_together(dataset: str, frames: int) -> int:
    """Consecutive frames that one draw of the bootstrap keeps together."""
    return block_length(frames) if dataset_info(dataset).is_video else 1


def _line(pair: Pair, measured: Mapping[str, RegionConfusions], draws: int) -> dict:
    seeds = pair.seeds()
    line = _names(pair) | {"n": len(seeds), "gain": np.nan, "ci_low": np.nan, "ci_high": np.nan, "p_bootstrap": np.nan, "p_t": np.nan}
    line |= {"by_seed": "", "seeds": " ".join(map(str, seeds))}
    line |= {f"{region}_{name}": np.nan for region in REGIONS for name in ("gain", "low", "high")}
    if not seeds:
        return line
    counts, block = _counts(pair, measured)
    for region in ("whole", *REGIONS):
        found = paired_gain(*(np.stack([getattr(part, region) for part in side]) for side in counts), draws=draws, block=block)
        if region == "whole":
            line |= {"gain": found.value, "ci_low": found.low, "ci_high": found.high, "p_bootstrap": found.p_bootstrap, "p_t": found.p_t}
            line["by_seed"] = " ".join(f"{gain:+.1f}" for gain in found.by_seed)
        else:
            line |= {f"{region}_gain": found.value, f"{region}_low": found.low, f"{region}_high": found.high}
    return line


def _names(pair: Pair) -> dict[str, str]:
    return {name: pair.row.labels[name] for name in LABELS} | {"over": pair.over.labels["method"]}


def _counts(pair: Pair, measured: Mapping[str, RegionConfusions]) -> tuple[list[list[RegionConfusions]], int]:
    """Counts of the row and of the other by seed, and the length of a block of frames."""
    for seed in pair.seeds():
        one, other = pair.row.runs[seed], pair.over.runs[seed]
        protocols = [run.metrics()["protocol"] for run in (one, other)]
        if protocols[0] != protocols[1]:
            raise RecordError(
                f"gain of {one.run_id} over {other.run_id}: scored on {protocols[0]}, and on {protocols[1]}. "
                "Give both rows of the matrix the same val_size, height and width."
            )
    counts = [[measured[row.runs[seed].run_id] for seed in pair.seeds()] for row in pair]
    return counts, frames_together(pair.row.labels["dataset"], len(counts[0][0].boundary))
