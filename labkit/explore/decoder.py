"""The best decoder of a label from its noised channel alone, exactly."""

import itertools
import math
from typing import NamedTuple

import numpy as np


class ThresholdDecoder(NamedTuple):
    """Cuts of one channel's values into intervals, one class each; no other cuts are right more
    often.

    A class without an interval is lost: answering it never raises the accuracy.
    """

    classes: np.ndarray  # (M,) int, the class of each interval, from low values to high
    thresholds: np.ndarray  # (M-1,), ascending, between them
    accuracy: float  # 0-1, expected over the noise


def best_threshold_decoder(codes: np.ndarray, shares: np.ndarray, std: float) -> ThresholdDecoder:
    """The decoder that is most often right when class k, seen with probability shares[k], has
    values N(codes[k], std^2).

    It answers argmax_k log shares[k] - (x - codes[k])^2 / (2 std^2), which is an upper envelope of
    lines in x of slope codes[k]: every class holds one interval at most, in the order of the codes.

    Args:
        codes: (K,), in the units of the channel.
        shares: (K,), at least 0, sum 1.
        std: of the pixel noise, in the same units; at 0 only equal codes are confused.
    """
    lines = [
        (float(w), std**2 * math.log(p) - float(w) ** 2 / 2, k)
        for k, (w, p) in enumerate(zip(codes, shares, strict=True))
        if p > 0
    ]
    lines.sort(key=lambda line: (line[0], shares[line[2]]))
    hull: list[tuple[float, float, int]] = []
    for line in lines:
        if hull and hull[-1][0] == line[0]:
            hull.pop()  # one code for two classes: the more frequent one, which is sorted last
        while len(hull) > 1 and _meet(hull[-2], line) <= _meet(hull[-2], hull[-1]):
            hull.pop()
        hull.append(line)
    thresholds = [_meet(a, b) for a, b in itertools.pairwise(hull)]
    bounds = [-math.inf, *thresholds, math.inf]
    accuracy = sum(
        shares[k] * (_below(bounds[i + 1] - slope, std) - _below(bounds[i] - slope, std))
        for i, (slope, _, k) in enumerate(hull)
    )
    return ThresholdDecoder(
        np.array([k for _, _, k in hull]), np.array(thresholds), float(accuracy)
    )


def decode(decoder: ThresholdDecoder, values: np.ndarray) -> np.ndarray:
    """Class of every value, same shape."""
    return decoder.classes[np.searchsorted(decoder.thresholds, values)]


def decode_jointly(
    values: np.ndarray, codes: np.ndarray, shares: np.ndarray, std: float
) -> np.ndarray:
    """The same answer from several channels of independent noise.

    Args:
        values: (C, P).
        codes: (C, K).

    Returns:
        (P,) class ids.
    """
    offset = std**2 * np.log(np.maximum(shares, 1e-300)) - (codes**2).sum(0) / 2
    slopes, offset = codes.T.astype(np.float32), offset.astype(np.float32)[:, None]
    chunks = np.array_split(values.astype(np.float32), max(1, values.shape[1] // 65536), axis=1)
    return np.concatenate([(slopes @ chunk + offset).argmax(0) for chunk in chunks])


def _meet(a: tuple[float, float, int], b: tuple[float, float, int]) -> float:
    """Where two lines (slope, offset) cross; the slopes differ."""
    return (a[1] - b[1]) / (b[0] - a[0])


def _below(distance: float, std: float) -> float:
    """Probability that noise stays below a distance."""
    if std == 0:
        return float(distance > 0)
    return 0.5 * math.erfc(-distance / (std * math.sqrt(2)))
