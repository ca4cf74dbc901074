"""How much of a label its noised channel reveals: the best decoders, and a histogram by class."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from labkit.explore.decoder import ThresholdDecoder, best_threshold_decoder, decode, decode_jointly
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
    decoder: ThresholdDecoder  # of the first channel; its classes are positions in `classes`

    def answer(self, value: float) -> int:
        """The class that the best thresholds read from a value of the first channel."""
        return int(self.classes[decode(self.decoder, np.array(value))])


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
        present, codes[0, present], shares, decoder.accuracy, float(drawn), float(jointly), lost,
        decoder,
    )  # fmt: skip


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
        f"The best thresholds read {100 * readback.accuracy:.1f} % of the label back from {read}.",
        f"Of the pixels drawn {100 * readback.drawn:.1f} %; {usual}; void counts as a class.",
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
    image: np.ndarray,
    *,
    std: float,
    palette: Sequence[tuple[int, int, int]],
    followed: int | None,
    height: int,
) -> Panel:
    """One row per class in its colour, in the order of the codes, over the image's own histogram,
    in std of the image.

    Args:
        values, ids: (H, W), of one channel, and class ids, void = K.
        image: (3, H, W), normalised.
        std: of the pixel noise, scaled.
        followed: id of the class whose name is emphasised; None: none.
        height: of the panel, pixels; more classes than fit make it higher.
    """
    rows = readback.classes[:MOST_ROWS]
    counts = _histograms(values, ids)
    backdrop = _heights(_histograms(image, np.zeros(image.shape, dtype=np.int64))[0])
    tall, left, right = max(20, (height - 26) // len(rows)), 110, 124
    picture = Image.new("RGB", (LARGE, max(tall * len(rows) + 26, height)), PAPER)
    pen = ImageDraw.Draw(picture)
    bin_width = (LARGE - left - right) / BINS
    size = min(19, tall - 3)
    for row, number in enumerate(rows):
        base = tall * (row + 1)
        _draw_bars(pen, (tall - 4) * backdrop, left, base, bin_width, BACKDROP)
        pen.line((left, base, LARGE - right, base), fill=(170, 170, 170))
        heights = (tall - 4) * _heights(counts[number])
        shown = np.where(heights > 0, np.maximum(heights, 3), 0)
        _draw_bars(pen, np.where(shown > 0, shown + 1, 0), left, base, bin_width, INK, margin=1)
        colour = tuple(palette[number]) if number < len(palette) else INK
        _draw_bars(pen, shown, left, base, bin_width, colour)
        name, weight = (left - 8, base - tall / 2), int(number == followed)
        pen.text(
            name, names[number], font=font(size), anchor="rm", fill=INK, stroke_width=weight,
            stroke_fill=INK,
        )  # fmt: skip
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
        "colour: channel, pale: the image's own values; right: gap to the next code, in noise std"
    )
    if len(readback.classes) > MOST_ROWS:
        note += f"; the first {MOST_ROWS} of {len(readback.classes)}"
    alt = (
        f"Histogram of the channel by class over that of the image, {-RANGE:g} to {RANGE:g} std of "
        f"the image. Codes: {codes}. "
        f"Best thresholds read {100 * readback.accuracy:.1f} % of the pixels."
    )
    return panel("channel by class", np.asarray(picture), alt=alt, note=note, pointable=False)


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
    *,
    margin: int = 0,
) -> None:
    for i in np.flatnonzero(heights > 0):
        x = left + i * width
        pen.rectangle((x - margin, base - heights[i], x + width + margin, base), fill=colour)
