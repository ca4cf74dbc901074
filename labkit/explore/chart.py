"""Line charts drawn with Pillow: a few milliseconds each, so that they can be drawn in training."""

from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw

from labkit.explore.pictures import INK, LARGE, PAPER, font

HEIGHT = 240
LEFT, RIGHT, TOP, BOTTOM = 58, 176, 14, 28  # margins, pixels; names stand on the right
COLOURS = ((0, 114, 178), (213, 94, 0), (204, 121, 167), (0, 128, 96), (120, 120, 120), INK)
MARKER = 3  # pixels
GRID = (205, 205, 205)
LETTERS = 18  # pixels; legible where a chart is shrunk to half


def chart(series: Mapping[str, Sequence[tuple[float, float]]], *, last_x: float) -> np.ndarray:
    """Lines over a common x from 0 to `last_x`: (240, 480, 3) uint8.

    Args:
        series: points (x, y) by name; a line is named where it ends, with its last value.
    """
    picture = Image.new("RGB", (LARGE, HEIGHT), PAPER)
    pen = ImageDraw.Draw(picture)
    values = [y for points in series.values() for _, y in points if np.isfinite(y)]
    low, high = (min(values), max(values)) if values else (0, 1)
    low, high = min(low, 0), high if high > low else low + 1
    width, height = LARGE - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def place(x: float, y: float) -> tuple[float, float]:
        return (
            LEFT + width * x / max(last_x, 1),
            TOP + height * (high - y) / (high - low),
        )

    for value in np.linspace(low, high, 4):
        y = place(0, value)[1]
        pen.line((LEFT, y, LEFT + width, y), fill=GRID)
        pen.text((LEFT - 6, y), f"{value:.3g}", font=font(LETTERS), anchor="rm", fill=INK)
    pen.text((LEFT, HEIGHT - 4), "step 0", font=font(LETTERS), anchor="ls", fill=INK)
    pen.text((LEFT + width, HEIGHT - 4), f"{last_x:.0f}", font=font(LETTERS), anchor="rs", fill=INK)
    ends = []
    for number, (name, points) in enumerate(series.items()):
        finite = [place(x, y) for x, y in points if np.isfinite(y)]
        if not finite:
            continue
        colour = COLOURS[number % len(COLOURS)]
        pen.line(finite, fill=colour, width=2)
        for x, y in finite if len(finite) <= 20 else ():
            pen.ellipse((x - MARKER, y - MARKER, x + MARKER, y + MARKER), fill=colour)
        ends.append((finite[-1][1], f"{name} {points[-1][1]:.3g}", colour))
    ends.sort()
    rows = [y for y, *_ in ends]
    for i in range(1, len(rows)):  # names never cover each other, nor leave the picture
        rows[i] = max(rows[i], rows[i - 1] + LETTERS)
    excess = max(0, rows[-1] - (HEIGHT - BOTTOM)) if rows else 0
    for y, (_, text, colour) in zip(rows, ends, strict=True):
        at = (LEFT + width + 6, y - excess)
        pen.text(at, text, font=font(LETTERS), anchor="lm", fill=colour)
    return np.asarray(picture)
