"""Paired differences of mIoU with intervals from a crossed bootstrap over seeds and frames.

A method and its baseline were trained with the same seeds and scored on the same frames. One draw
resamples the seeds and, independently, the frames; every drawn frame serves all seeds and both
methods, so that effects common to both cancel.

Source: Owen 2007, The pigeonhole bootstrap; Künsch 1989 (moving blocks).
Differs: the statistic is a difference of mIoU, computed from counts summed over the drawn frames.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from scipy.stats import t as student_t

LEVEL = 0.95  # of every interval


class Resampled(NamedTuple):
    """IoU of one run in percent, over all frames and over the frames of every draw; NaN = absent.

    A class is absent where neither label nor prediction holds it (union 0); a class that is
    predicted but not labelled has IoU 0.
    """

    iou: np.ndarray  # (K,)
    drawn: np.ndarray  # (draws, K)


class Gain(NamedTuple):
    """A paired gain in points of mIoU; NaN where it is not defined."""

    value: float  # mean over seeds
    low: float
    high: float
    p_bootstrap: float  # two-sided, of no gain
    p_t: float  # paired t-test over seeds, two-sided; NaN for one seed, as are its limits
    t_low: float
    t_high: float
    by_seed: tuple[float, ...]


class ClassGains(NamedTuple):
    """Paired gains in points of IoU, each (K,); NaN for an absent class."""

    value: np.ndarray
    low: np.ndarray
    high: np.ndarray


def block_length(frames: int) -> int:
    """Consecutive frames of one block where neighbours are alike: the cube root of their number."""
    return max(1, round(frames ** (1 / 3)))


@lru_cache(maxsize=8)
def frame_resamples(frames: int, *, draws: int, block: int = 1, seed: int = 0) -> np.ndarray:
    """How often each frame is drawn: (draws, frames) float64, rows sum to `frames`. Read only.

    Blocks start anywhere they fit; the last one drawn is cut so that the sum is right.

    Raises:
        ValueError: draws or block are out of range.
    """
    if draws < 1 or not 1 <= block <= frames:
        raise ValueError(
            f"frame_resamples: got draws={draws}, block={block} of {frames} frames; "
            f"expected draws >= 1 and block in 1..{frames}."
        )
    generator = np.random.default_rng([seed, 0])
    starts = generator.integers(frames - block + 1, size=(draws, -(-frames // block)))
    drawn = (starts[:, :, None] + np.arange(block)).reshape(draws, -1)[:, :frames]
    return _multiplicities(drawn, frames)


@lru_cache(maxsize=32)
def seed_resamples(seeds: int, *, draws: int, seed: int = 0) -> np.ndarray:
    """How often each training seed is drawn: (draws, seeds) float64. Read only."""
    drawn = np.random.default_rng([seed, 1]).integers(seeds, size=(draws, seeds))
    return _multiplicities(drawn, seeds)


def resampled_iou(hits: np.ndarray, union: np.ndarray, frame_weights: np.ndarray) -> Resampled:
    """IoU of one run over all frames and over every draw.

    Args:
        hits: (F, K) pixels per frame and class that are predicted and labelled so.
        union: (F, K) pixels that are predicted or labelled so.
        frame_weights: (draws, F), of `frame_resamples`.
    """
    hits, union = (np.asarray(part, dtype=np.float64) for part in (hits, union))
    if hits.shape != union.shape or hits.ndim != 2 or frame_weights.shape[1:] != hits.shape[:1]:
        raise ValueError(
            f"resampled_iou: got shapes {hits.shape}, {union.shape} and {frame_weights.shape}; "
            "expected (F, K) twice and (draws, F)."
        )
    drawn = _percent(frame_weights @ hits, frame_weights @ union)
    return Resampled(_percent(hits.sum(0), union.sum(0)), drawn)


def paired_gain(
    method: Sequence[Resampled], baseline: Sequence[Resampled], *, seed: int = 0
) -> Gain:
    """Gain in mIoU of a method over its baseline: mean over seeds, 95 % intervals and p-values.

    The bootstrap's interval is too narrow with few seeds: the deviation of resampled means is
    sqrt((S - 1) / S) of the unbiased one, and three seeds have ten distinct resamples. p_t, t_low
    and t_high take the number of seeds into account (but not the frames). With one seed only frames
    are resampled: the interval then says nothing about another training run.

    Args:
        method: one entry per seed.
        baseline: the same seeds in the same order, the same frames and draws.
        seed: of the resampling of seeds.

    Returns:
        Gain. Absent classes are left out of a mIoU, anew in every draw; a draw without a labelled
        pixel is left out. p_bootstrap = 2 min(1 + #(gain <= 0), 1 + #(gain >= 0)) / (draws + 1),
        at most 1.

    Raises:
        ValueError: the numbers of seeds, draws or classes differ, or there is no seed.
    """
    _check_paired(method, baseline)
    by_seed = np.array([_mean(a.iou) - _mean(b.iou) for a, b in zip(method, baseline, strict=True)])
    drawn = np.stack(
        [_mean(a.drawn) - _mean(b.drawn) for a, b in zip(method, baseline, strict=True)], axis=1
    )  # (draws, S)
    gains = _mean_over_seeds(drawn, seed_resamples(len(method), draws=len(drawn), seed=seed))
    low, high = _interval(gains)
    value = float(_mean(by_seed[None])[0])
    limits = _t_interval(by_seed)
    p_values = _p_bootstrap(gains), _p_t(by_seed)
    return Gain(value, low, high, *p_values, *limits, tuple(by_seed.tolist()))


def paired_class_gains(
    method: Sequence[Resampled], baseline: Sequence[Resampled], *, seed: int = 0
) -> ClassGains:
    """Gain in IoU of every class; arguments and errors as for `paired_gain`.

    A class counts for the seeds in which both methods have an IoU. It is absent where there is no
    such seed, and left out of draws whose frames do not hold it.
    """
    _check_paired(method, baseline)
    values = np.stack([a.iou - b.iou for a, b in zip(method, baseline, strict=True)])  # (S, K)
    drawn = np.stack([a.drawn - b.drawn for a, b in zip(method, baseline, strict=True)], axis=1)
    weights = seed_resamples(len(method), draws=len(drawn), seed=seed)
    gains = _mean_over_seeds(drawn, weights)  # (draws, K)
    low, high = np.array([_interval(column) for column in gains.T]).T
    return ClassGains(_mean(values.T), low, high)


def _multiplicities(drawn: np.ndarray, count: int) -> np.ndarray:
    """(draws, n) indices as (draws, count) multiplicities."""
    rows = np.arange(len(drawn))[:, None] * count
    counted = np.bincount((rows + drawn).ravel(), minlength=len(drawn) * count)
    weights = counted.reshape(len(drawn), count).astype(np.float64)
    weights.flags.writeable = False
    return weights


def _check_paired(method: Sequence[Resampled], baseline: Sequence[Resampled]) -> None:
    shapes = [[run.drawn.shape for run in side] for side in (method, baseline)]
    if not method or shapes[0] != shapes[1] or len(set(shapes[0])) > 1:
        raise ValueError(
            f"paired gain: got draws and classes {shapes[0]} and {shapes[1]}; expected the same "
            "for every run of both. Compare runs with the same seeds on the same frames."
        )


def _percent(hits: np.ndarray, union: np.ndarray) -> np.ndarray:
    return np.divide(100 * hits, union, out=np.full_like(hits, np.nan), where=union > 0)


def _mean(values: np.ndarray) -> np.ndarray:
    """Mean over the last axis of what is not NaN; NaN where nothing is."""
    present = ~np.isnan(values)
    count = present.sum(-1)
    total = np.where(present, values, 0).sum(-1)
    return np.divide(total, count, out=np.full(count.shape, np.nan), where=count > 0)


def _mean_over_seeds(values: np.ndarray, seed_weights: np.ndarray) -> np.ndarray:
    """(draws, S, ...) -> (draws, ...): mean weighted by (draws, S), over what is not NaN."""
    present = ~np.isnan(values)
    weights = seed_weights.reshape(*seed_weights.shape, *[1] * (values.ndim - 2)) * present
    total = weights.sum(1)
    weighted = (np.where(present, values, 0) * weights).sum(1)
    return np.divide(weighted, total, out=np.full(total.shape, np.nan), where=total > 0)


def _interval(gains: np.ndarray) -> tuple[float, float]:
    defined = gains[~np.isnan(gains)]
    if not len(defined):
        return np.nan, np.nan
    low, high = np.quantile(defined, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def _p_bootstrap(gains: np.ndarray) -> float:
    defined = gains[~np.isnan(gains)]
    if not len(defined):
        return np.nan
    fewer = min((defined <= 0).sum(), (defined >= 0).sum())
    return float(min(1.0, 2 * (1 + fewer) / (len(defined) + 1)))


def _t_interval(by_seed: np.ndarray) -> tuple[float, float]:
    """Limits of the mean that the t-test does not refuse; NaN for one seed."""
    if len(by_seed) < 2:
        return np.nan, np.nan
    error = by_seed.std(ddof=1) / np.sqrt(len(by_seed))
    reach = error * student_t.ppf((1 + LEVEL) / 2, len(by_seed) - 1)
    return float(by_seed.mean() - reach), float(by_seed.mean() + reach)


def _p_t(by_seed: np.ndarray) -> float:
    """Two-sided p of a mean of 0; 1 where every gain is 0, 0 where all are the same other value."""
    if len(by_seed) < 2 or np.isnan(by_seed).any():
        return np.nan
    if not by_seed.any():
        return 1.0
    error = by_seed.std(ddof=1) / np.sqrt(len(by_seed))
    if error == 0:
        return 0.0
    return float(2 * student_t.sf(abs(by_seed.mean()) / error, len(by_seed) - 1))
