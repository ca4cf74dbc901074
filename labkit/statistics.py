"""Is a gain more than the luck of seeds and frames? Paired differences of mIoU, with intervals from a crossed bootstrap.

A method and its twin were trained with the same seeds and scored on the same frames. One draw resamples the seeds and, independently,
the frames; every drawn frame serves all seeds and both methods, so that what seeds or frames do to both cancels.
Source: Owen 2007, The pigeonhole bootstrap; Künsch 1989 (moving blocks).  Differs: the statistic is a difference of mIoU, read off the
confusion matrices summed over the drawn frames.
"""

from typing import NamedTuple

import numpy as np
from scipy.stats import t as student_t

LEVEL = 0.95  # of every interval


class Gain(NamedTuple):
    """A paired gain in points of mIoU; NaN marks what cannot be said."""

    value: float  # mean over seeds
    low: float
    high: float
    p_bootstrap: float  # two-sided, of no gain
    p_t: float  # paired t-test over seeds, two-sided; NaN for one seed
    by_seed: tuple[float, ...]


class ClassGains(NamedTuple):
    """Paired gains in points of IoU, each (K,); NaN for an absent class."""

    value: np.ndarray
    low: np.ndarray
    high: np.ndarray


def paired_gain(confusions: np.ndarray, twin: np.ndarray, *, draws: int = 2000, block: int = 1, seed: int = 0) -> Gain:
    """Gain in mIoU of a method over its twin: mean over seeds, 95 % percentile interval and p-values.

    Too narrow with few seeds: the deviation of resampled means is sqrt((S - 1) / S) of the honest one, and three seeds have ten
    distinct resamples. Read p_t, which knows how few seeds there are (but nothing of frames), and each seed's own gain beside it.
    With one seed only frames are resampled: the interval then says nothing about another training run.

    Args:
        confusions: (S, F, K, K) counts per seed and frame, rows = label, columns = prediction.
        twin: the same shape, seeds and frames in the same order.
        draws: resamples.
        block: consecutive frames drawn together; 1 = singly. See `block_length` for video.
        seed: of the generator; the same inputs give the same numbers.

    Returns:
        Gain. Classes are left out of a mIoU as `metrics.scores_from_confusion` does, anew in every resample; a resample without a
        labelled pixel is left out. p_bootstrap = 2 min(1 + #(gain <= 0), 1 + #(gain >= 0)) / (draws + 1), at most 1.

    Raises:
        ValueError: the shapes differ or are not (S, F, K, K), or draws or block are out of range.
    """
    seeds, frames = _checked(confusions, twin)
    by_seed = (_miou(_iou(confusions, np.ones((1, frames)))) - _miou(_iou(twin, np.ones((1, frames)))))[0]
    seed_weights, frame_weights = resamples(seeds, frames, draws=draws, block=block, seed=seed)
    drawn = _miou(_iou(confusions, frame_weights)) - _miou(_iou(twin, frame_weights))
    gains = _mean_over_seeds(drawn, seed_weights)
    low, high = _interval(gains)
    return Gain(float(by_seed.mean()), low, high, _p_bootstrap(gains), _p_t(by_seed), tuple(by_seed.tolist()))


def paired_class_gains(confusions: np.ndarray, twin: np.ndarray, *, draws: int = 2000, block: int = 1, seed: int = 0) -> ClassGains:
    """Gain in IoU of every class, resampled as in `paired_gain`, whose arguments and errors these are.

    A class counts for the seeds in which both methods have an IoU; it is absent where there is none, and left out of resamples
    whose frames do not hold it.
    """
    seeds, frames = _checked(confusions, twin)
    every = np.ones((1, frames))
    value = _mean_over_seeds(_iou(confusions, every) - _iou(twin, every), np.ones((1, seeds)))[0]
    seed_weights, frame_weights = resamples(seeds, frames, draws=draws, block=block, seed=seed)
    drawn = _mean_over_seeds(_iou(confusions, frame_weights) - _iou(twin, frame_weights), seed_weights)
    low, high = np.array([_interval(gains) for gains in drawn.T]).T
    return ClassGains(value, low, high)


def block_length(frames: int) -> int:
    """Frames of a block where neighbours resemble each other: the cube root of their number, rounded."""
    return max(1, round(frames ** (1 / 3)))


def resamples(seeds: int, frames: int, *, draws: int, block: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """How often each seed and each frame is drawn, (draws, seeds) and (draws, frames) float64; rows sum to seeds and frames.

    Blocks start anywhere they fit; the last one drawn is cut so that the sum is right.
    """
    if draws < 1 or not 1 <= block <= frames:
        raise ValueError(f"resamples: got draws={draws}, block={block} of {frames} frames; expected draws >= 1 and block in 1..{frames}.")
    generator = np.random.default_rng(seed)
    drawn_seeds = generator.integers(seeds, size=(draws, seeds))
    starts = generator.integers(frames - block + 1, size=(draws, -(-frames // block)))
    drawn_frames = (starts[:, :, None] + np.arange(block)).reshape(draws, -1)[:, :frames]
    return _counted(drawn_seeds, seeds), _counted(drawn_frames, frames)


def _counted(drawn: np.ndarray, things: int) -> np.ndarray:
    """(draws, n) indices as (draws, things) counts."""
    rows = np.arange(len(drawn))[:, None] * things
    return np.bincount((rows + drawn).ravel(), minlength=len(drawn) * things).reshape(len(drawn), things).astype(np.float64)


def _checked(confusions: np.ndarray, twin: np.ndarray) -> tuple[int, int]:
    """Number of seeds and frames."""
    square = confusions.ndim == 4 and confusions.shape[2] == confusions.shape[3] and confusions.size > 0
    if not square or confusions.shape != twin.shape:
        raise ValueError(
            f"paired gain: got shapes {confusions.shape} and {twin.shape}; expected (S, F, K, K) twice. "
            "Compare runs with the same seeds on the same frames."
        )
    return confusions.shape[0], confusions.shape[1]


def _iou(confusions: np.ndarray, frame_weights: np.ndarray) -> np.ndarray:
    """(draws, S, K) percent over the weighted frames; NaN where a class is in neither label nor prediction. Sums of counts are exact."""
    hits = np.diagonal(confusions, axis1=2, axis2=3)
    unions = confusions.sum(2) + confusions.sum(3) - hits
    hit, union = (np.tensordot(frame_weights, part.astype(np.float64), axes=(1, 1)) for part in (hits, unions))
    return np.divide(100 * hit, union, out=np.full_like(hit, np.nan), where=union > 0)


def _miou(iou: np.ndarray) -> np.ndarray:
    """Mean over the last axis of what is not NaN; NaN where nothing is."""
    present = ~np.isnan(iou)
    count = present.sum(-1)
    return np.divide(np.where(present, iou, 0).sum(-1), count, out=np.full(count.shape, np.nan), where=count > 0)


def _mean_over_seeds(values: np.ndarray, seed_weights: np.ndarray) -> np.ndarray:
    """(draws, S, ...) -> (draws, ...): mean weighted by (draws, S), over what is not NaN."""
    present = ~np.isnan(values)
    weights = seed_weights.reshape(*seed_weights.shape, *[1] * (values.ndim - 2)) * present
    total = weights.sum(1)
    return np.divide((np.where(present, values, 0) * weights).sum(1), total, out=np.full(total.shape, np.nan), where=total > 0)


def _interval(gains: np.ndarray) -> tuple[float, float]:
    said = gains[~np.isnan(gains)]
    if not len(said):
        return np.nan, np.nan
    low, high = np.quantile(said, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def _p_bootstrap(gains: np.ndarray) -> float:
    said = gains[~np.isnan(gains)]
    if not len(said):
        return np.nan
    fewer = min((said <= 0).sum(), (said >= 0).sum())
    return float(min(1.0, 2 * (1 + fewer) / (len(said) + 1)))


def _p_t(by_seed: np.ndarray) -> float:
    """Two-sided p of a mean of 0; 1 where every gain is 0, 0 where all are the same other number."""
    if len(by_seed) < 2 or np.isnan(by_seed).any():
        return np.nan
    if not by_seed.any():
        return 1.0
    error = by_seed.std(ddof=1) / np.sqrt(len(by_seed))
    return float(2 * student_t.sf(abs(by_seed.mean()) / error, len(by_seed) - 1)) if error > 0 else 0.0
