"""A canvas for generated scenes: boxes and ellipses in a target and in an image."""

from functools import lru_cache
from typing import NamedTuple

import numpy as np


class Region(NamedTuple):
    """Pixels of a scene, all of them within a window; only the window is painted."""

    rows: slice
    columns: slice
    mask: np.ndarray  # (H, W) bool


class Canvas:
    """Target (H, W) int64 and colour (3, H, W) float64 while a scene is painted.

    y (H, 1) runs 0-1 down, x (W,) 0-2 to the right.

    Args:
        category, colour: of the background; RGB.
    """

    def __init__(self, height: int, width: int, category: int, colour: np.ndarray) -> None:
        self.y, self.x = axes(height, width)
        self.target = np.full((height, width), category, dtype=np.int64)
        self.colour = np.empty((3, height, width))
        self.colour[:] = colour[:, None, None]

    def fill(self, region: Region, category: int, colour: np.ndarray) -> None:
        """Set class and colour (RGB) of a region."""
        rows, columns = region.rows, region.columns
        inside = region.mask[rows, columns]
        np.copyto(self.target[rows, columns], category, where=inside)
        np.copyto(self.colour[:, rows, columns], colour[:, None, None], where=inside)

    def shade(self, region: Region, mask: np.ndarray, amount: float) -> None:
        """Add to the colour where the mask (H, W) holds, which lies within the region's window."""
        window = self.colour[:, region.rows, region.columns]
        np.add(window, amount, out=window, where=mask[region.rows, region.columns])

    def box(self, left: float, right: float, top: float, bottom: float) -> Region:
        """Pixels with left <= x < right and top <= y < bottom."""
        rows, columns = _between(self.y[:, 0], top, bottom), _between(self.x, left, right)
        mask = np.zeros(self.target.shape, dtype=bool)
        mask[rows, columns] = True
        return Region(rows, columns, mask)

    def ellipse(self, x: float, y: float, radius_x: float, radius_y: float) -> Region:
        """Pixels within an ellipse."""
        rows = _between(self.y[:, 0], y - radius_y, y + radius_y, margin=1)
        columns = _between(self.x, x - radius_x, x + radius_x, margin=1)
        across, down = (self.x[columns] - x) / radius_x, (self.y[rows] - y) / radius_y
        mask = np.zeros(self.target.shape, dtype=bool)
        mask[rows, columns] = across**2 + down**2 < 1
        return Region(rows, columns, mask)


@lru_cache(maxsize=8)
def axes(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """y (H, 1) and x (W,) of the pixels' centres."""
    return (np.arange(height)[:, None] + 0.5) / height, 2 * (np.arange(width) + 0.5) / width


def _between(axis: np.ndarray, first: float, last: float, *, margin: int = 0) -> slice:
    """Positions of an axis with first <= value < last, and a margin against rounding."""
    start, stop = axis.searchsorted((first, last)).tolist()
    return slice(max(0, start - margin), stop + margin)
