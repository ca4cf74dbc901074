"""Pixels by lookup table: class ids, scalars and kinds of error become PNG without a plotting
library.
"""

import io
from collections.abc import Sequence
from functools import lru_cache

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from labkit.plots.colours import SCORES, SHARES
from labkit.plots.contribution import EVIDENCE
from labkit.plots.frames import CHANNEL

SMALL, LARGE = (
    384,
    480,
)  # pixels: narrower panels are enlarged by a whole factor, wider ones thinned out
MOST_NAMED = 12
NAME_SIZE = 18  # of letters, legible where a panel is shrunk to two thirds
LEAST_NAMED = 0.004  # of a panel's pixels, for a class to be named in it
INK, PAPER = (20, 20, 20), (250, 250, 250)


def _table(name: str) -> np.ndarray:
    """(256, 3) uint8 of a colour map."""
    return (255 * matplotlib.colormaps[name](np.arange(256))[:, :3]).round().astype(np.uint8)


SCALAR, EVIDENCE_COLOURS, SHARE_COLOURS = _table(CHANNEL), _table(EVIDENCE), _table(SHARES)
SCORE_COLOURS = _table(SCORES)


def fitted(values: np.ndarray) -> np.ndarray:
    """Nearest neighbour to a panel's width: (H, W) or (H, W, 3) -> (h, w) or (h, w, 3)."""
    height, width = values.shape[:2]
    if width < SMALL:
        factor = (
            -(-SMALL // width) if -(-SMALL // width) * width <= LARGE else max(1, SMALL // width)
        )
        return values.repeat(factor, 0).repeat(factor, 1)
    if width <= LARGE:
        return values
    tall = max(1, round(height * LARGE / width))
    return values[(np.arange(tall) * height) // tall][:, (np.arange(LARGE) * width) // LARGE]


def fitted_at(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A coarser map (h, w) by nearest neighbour at a frame's size (H, W), then at a panel's."""
    rows = (np.arange(size[0]) * values.shape[0]) // size[0]
    columns = (np.arange(size[1]) * values.shape[1]) // size[1]
    return fitted(values[rows][:, columns])


def png(pixels: np.ndarray, table: np.ndarray | None = None) -> bytes:
    """(H, W, 3) uint8, or (H, W) uint8 with a (256, 3) table, which is faster and a third of the
    size.
    """
    picture = Image.fromarray(pixels)
    if table is not None:
        picture.putpalette(table.tobytes())
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def levels(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Scalars as indices 0-255 of a table, clipped; what is not finite becomes 0."""
    span = max(high - low, 1e-12)
    scaled = np.nan_to_num((values - low) * (255 / span), nan=0.0)
    return np.clip(scaled, 0, 255).astype(np.uint8)


def striped(
    pixels: np.ndarray, where: np.ndarray, colour: tuple[int, int, int], *, width: int = 3
) -> np.ndarray:
    """Diagonal stripes over part of a picture: (H, W, 3) uint8, (H, W) bool."""
    rows, columns = np.indices(where.shape, sparse=True)
    out = pixels.copy()
    out[where & ((rows + columns) // width % 2 == 0)] = colour
    return out


def edges(values: np.ndarray) -> np.ndarray:
    """(H, W) bool: pixels whose right or lower neighbour differs."""
    found = np.zeros(values.shape, dtype=bool)
    found[:, :-1] |= values[:, :-1] != values[:, 1:]
    found[:-1] |= values[:-1] != values[1:]
    return found


def outlined(pixels: np.ndarray, region: np.ndarray) -> np.ndarray:
    """A white line with a black one outside it around a region: seen on every ground.

    Sizes agree.
    """
    out = pixels.copy()
    line = edges(region)
    out[_grown(line)] = 0
    out[line] = 255
    return out


def class_picture(
    class_ids: np.ndarray,
    palette: Sequence[tuple[int, int, int]],
    names: Sequence[str],
    *,
    named: bool = True,
    lines: bool = True,
) -> np.ndarray:
    """(H, W) ids, void last = len(palette), -> a panel with every class in its colour, on request
    with lines between them and their names on them.
    """
    shown = fitted(class_ids)
    table = np.zeros((len(palette) + 1, 3), dtype=np.uint8)
    table[:-1] = palette
    pixels = table[shown]
    if lines:
        pixels[edges(shown)] //= 3
    if not named:
        return pixels
    picture = Image.fromarray(pixels)
    pen = ImageDraw.Draw(picture)
    pixel_count = np.bincount(shown.ravel(), minlength=len(names))
    written = np.zeros(shown.shape, dtype=bool)
    for number in np.argsort(pixel_count, kind="stable")[
        -MOST_NAMED:
    ]:  # the smallest first: large ones have room left
        if pixel_count[number] >= LEAST_NAMED * shown.size:
            x, y = _roomiest(shown == number, written, names[number])
            pen.text(
                (x, y),
                names[number],
                font=font(NAME_SIZE),
                anchor="mm",
                fill="white",
                stroke_width=2,
                stroke_fill="black",
            )
    return np.asarray(picture)


def error_picture(
    prediction: np.ndarray, target: np.ndarray, category: int, void: int
) -> np.ndarray:
    """One class: hit grey, miss black, false alarm striped, neither pale, void white.

    Sizes (H, W) -> a panel.
    """
    predicted, true = fitted(prediction) == category, fitted(target)
    kind = np.where(true == category, np.where(predicted, 1, 2), 0)
    shades = np.array([[228, 228, 228], [140, 140, 140], [15, 15, 15]], dtype=np.uint8)
    pixels = shades[kind]
    pixels[true == void] = 255
    return striped(pixels, predicted & (true != category) & (true != void), (190, 70, 0))


def difference_picture(differ: np.ndarray) -> np.ndarray:
    """(H, W) bool -> a panel: equal pale, different dark."""
    return np.where(fitted(differ)[..., None], np.uint8(30), np.uint8(228)).repeat(3, 2)


def right_picture(first: np.ndarray, second: np.ndarray, void: np.ndarray) -> np.ndarray:
    """Which of two predictions is right: both pale, neither dark, the first alone blue, the second
    alone striped orange, void white.

    Sizes (H, W) bool -> a panel.
    """
    first, second, void = fitted(first), fitted(second), fitted(void)
    shades = np.array([[60, 60, 60], [0, 114, 178], [230, 159, 0], [228, 228, 228]], dtype=np.uint8)
    pixels = shades[first + 2 * second.astype(np.int64)]
    pixels = striped(pixels, second & ~first, (120, 70, 0))
    pixels[void] = 255
    return pixels


@lru_cache(maxsize=8)
def font(size: int) -> ImageFont.FreeTypeFont:
    """Pillow's own font, so that every machine draws the same."""
    return ImageFont.load_default(size=size)


def _grown(mask: np.ndarray) -> np.ndarray:
    """One pixel to every side."""
    padded = np.pad(mask, 1)
    return (
        padded[1:-1, 1:-1]
        | padded[:-2, 1:-1]
        | padded[2:, 1:-1]
        | padded[1:-1, :-2]
        | padded[1:-1, 2:]
    )


def _roomiest(mask: np.ndarray, written: np.ndarray, text: str) -> tuple[int, int]:
    """Where a word covers most of a region, no other word, and stays in the picture: its centre (x,
    y); marked as written.
    """
    left, top, right, bottom = font(NAME_SIZE).getbbox(text)
    tall, wide = min(bottom - top + 6, mask.shape[0]), min(right - left + 6, mask.shape[1])
    sums = np.zeros((mask.shape[0] + 1, mask.shape[1] + 1), dtype=np.int32)
    worth = mask.astype(np.int32) - 3 * written
    worth.cumsum(0).cumsum(1, out=sums[1:, 1:])
    covered = sums[tall:, wide:] - sums[:-tall, wide:] - sums[tall:, :-wide] + sums[:-tall, :-wide]
    y, x = np.unravel_index(covered.argmax(), covered.shape)
    written[y : y + tall, x : x + wide] = True
    return int(x + wide // 2), int(y + tall // 2)
