"""How much of a label its noised channel reveals: the best decoders, and a histogram by class."""

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from labkit.explore.decoder import best_threshold_decoder, decode, decode_jointly
from labkit.explore.pictures import INK, LARGE, PAPER, font
from labkit.explore.view import Panel, panel

BINS = 160
BACKDROP = (214, 214, 214)
RANGE = 8.0  # of grey and histogram, in std of the normalised image; fixed, so that scale shows
MOST_ROWS = 24  # classes in the histogram


@dataclass(frozen=True)
class Readback:
    """How a channel reveals its label.

    Classes are those in the frame, void included, in the order of their codes.
    """

    classes: np.ndarray  # (M,) ids, void = K
    codes: np.ndarray  # (M,), of the first channel, scaled
    shares: np.ndarray  # (M,) of the pixels
    accuracy: float  # 0-1, of the best thresholds, expected over the noise
    drawn: float  # 0-1, of the same thresholds on the pixels drawn
    jointly: float  # 0-1, of all channels together on the pixels drawn
    lost: np.ndarray  # (L,) ids the thresholds never answer


def read_back(channel: np.ndarray, ids: np.ndarray, codes: np.ndarray, std: float) -> Readback:
    """How well the best decoders read the label from a channel.

    Args:
        channel: (C, H, W), scaled.
        ids: (H, W), void = K.
        codes: (C, K+1), scaled.
        std: of the pixel noise, scaled.
    """
    counts = np.bincount(ids.ravel(), minlength=codes.shape[1])
    present = np.flatnonzero(counts)
    present = present[np.argsort(codes[0, present], kind="stable")]
    shares = counts[present] / ids.size
    decoder = best_threshold_decoder(codes[0, present].astype(np.float64), shares, std)
    drawn = (present[decode(decoder, channel[0])] == ids).mean()
    jointly = drawn
    if len(channel) > 1:
        answers = decode_jointly(
            channel.reshape(len(channel), -1), codes[:, present].astype(np.float64), shares, std
        )
        jointly = (present[answers] == ids.ravel()).mean()
    lost = np.setdiff1d(present, present[decoder.classes])
    return Readback(
        present, codes[0, present], shares, decoder.accuracy, float(drawn), float(jointly), lost
    )


def readout(
    readback: Readback, names: list[str], *, std: float, channels: int, wanted: int
) -> tuple[str, ...]:
    """Sentences on how much of the label can be read back.

    Args:
        std: of the pixel noise, scaled.
        channels: label channels drawn; wanted: asked for.
    """
    common = readback.classes[readback.shares.argmax()]
    read = "the channel" if channels == 1 else "channel 1"
    usual = f"always answering {names[common]}: {100 * readback.shares.max():.1f} %"
    lines = [
        f"Read back from {read} alone, best thresholds: {100 * readback.accuracy:.1f} % of the "
        f"pixels ({100 * readback.drawn:.1f} % of those drawn; {usual}; void counts as a class)."
    ]
    if channels > 1:
        lines.append(
            f"Read back from all {channels} channels together: {100 * readback.jointly:.1f} % of "
            "the pixels drawn."
        )
    elif wanted > 1:
        lines.append(
            "The fixed ramp is one code, so one channel is drawn; several need random class codes."
        )
    gaps = np.diff(readback.codes)
    if len(gaps):
        i = int(gaps.argmin())
        noise = (
            f"{gaps[i] / std:.1f} times the pixel noise"
            if std > 0
            else "and there is no pixel noise"
        )
        one, other = (names[k] for k in readback.classes[i : i + 2])
        lines.append(f"Closest codes: {one} and {other}, {gaps[i]:.3f} apart, {noise}.")
    if len(readback.lost):
        lost = ", ".join(names[k] for k in readback.lost)
        lines.append(f"Lost in the noise, never the best answer: {lost}.")
    return tuple(lines)


def histogram_panel(
    values: np.ndarray,
    ids: np.ndarray,
    readback: Readback,
    names: list[str],
    std: float,
    image: np.ndarray,
) -> Panel:
    """One row per class in the order of the codes, over the image's own histogram, in std of
    the image.
    """
    rows = readback.classes[:MOST_ROWS]
    counts = _histograms(values, ids)
    backdrop = _heights(_histograms(image, np.zeros(image.shape, dtype=np.int64))[0])
    tall, left, right = 34 if len(rows) <= 10 else 22, 110, 124
    picture = Image.new("RGB", (LARGE, tall * len(rows) + 30), PAPER)
    pen = ImageDraw.Draw(picture)
    bin_width = (LARGE - left - right) / BINS
    for row, number in enumerate(rows):
        base = tall * (row + 1)
        _draw_bars(pen, (tall - 6) * backdrop, left, base, bin_width, BACKDROP)
        pen.line((left, base, LARGE - right, base), fill=(170, 170, 170))
        heights = (tall - 6) * _heights(counts[number])
        _draw_bars(
            pen, np.where(heights > 0, np.maximum(heights, 2), 0), left, base, bin_width, INK
        )
        pen.text((left - 8, base - tall / 2), names[number], font=font(19), anchor="rm", fill=INK)
        if row + 1 < len(rows):
            gap = readback.codes[row + 1] - readback.codes[row]
            in_std = f" = {min(gap / std, 999):.{int(gap < 10 * std)}f} std" if std > 0 else ""
            place = (LARGE - right + 6, base)
            pen.text(place, f"{gap:.2f}{in_std}", font=font(16), anchor="lm", fill=INK)
    bottom = tall * len(rows) + 4
    for x, text in ((left, f"{-RANGE:g}"), (LARGE - right, f"{RANGE:g} std")):
        pen.text((x, bottom), text, font=font(16), anchor="mt", fill=INK)
    codes = ", ".join(
        f"{names[k]} {code:+.2f}" for k, code in zip(readback.classes, readback.codes, strict=True)
    )
    note = (
        "dark: channel, pale: the image's own values; right: gap to the next code, in std of the "
        "pixel noise"
    )
    if len(readback.classes) > MOST_ROWS:
        note += f"; the first {MOST_ROWS} of {len(readback.classes)}"
    alt = (
        f"Histogram of the channel by class over that of the image, {-RANGE:g} to {RANGE:g} std of "
        f"the image. Codes: {codes}. "
        f"Best thresholds read {100 * readback.accuracy:.1f} % of the pixels."
    )
    return panel("channel by class", np.asarray(picture), alt=alt, note=note)


def _histograms(values: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """(ids, BINS) counts over -RANGE to RANGE; what lies outside is in the first or last bin."""
    bins = ((values + RANGE) * (BINS / (2 * RANGE))).astype(np.int64).clip(0, BINS - 1)
    counts = np.bincount((ids * BINS + bins).ravel(), minlength=(ids.max() + 1) * BINS)
    return counts.reshape(-1, BINS)


def _heights(counts: np.ndarray) -> np.ndarray:
    """Heights in 0-1, the square root of counts over the largest."""
    return np.sqrt(counts / max(counts.max(), 1))


def _draw_bars(
    pen: ImageDraw.ImageDraw,
    heights: np.ndarray,
    left: float,
    base: float,
    width: float,
    colour: tuple[int, int, int],
) -> None:
    for i in np.flatnonzero(heights > 0):
        x = left + i * width
        pen.rectangle((x, base - heights[i], x + width, base), fill=colour)
