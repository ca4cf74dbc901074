"""A region of a label: found by a point in it, given another class."""

import numpy as np


def region_at(class_ids: np.ndarray, y: int, x: int) -> np.ndarray:
    """(H, W) bool: the pixels of one class that hang together with (y, x), neighbours up, down, left and right.

    Grown by whole runs along rows and columns in turn, which takes as many rounds as the shape has bends.
    """
    same = class_ids == class_ids[y, x]
    along, down = _runs(same), _runs(same.T).T
    region = np.zeros(same.shape, dtype=bool)
    region[y, x] = True
    size = 0
    while size != (size := int(region.sum())):
        for runs in (along, down):
            taken = np.zeros(runs.max() + 1, dtype=bool)
            taken[runs[region]] = True
            region = taken[runs] & same
    return region


def largest_region(class_ids: np.ndarray, category: int) -> tuple[int, int] | None:
    """A point (y, x) inside the largest region of a class: the middle of its widest row. None where there is none."""
    left = class_ids == category
    best, best_size = None, 0
    while left.any():
        y, x = np.argwhere(left)[0]
        region = region_at(class_ids, y, x)
        left &= ~region
        if region.sum() > best_size:
            best, best_size = region, region.sum()
    if best is None:
        return None
    row = int(best.sum(1).argmax())
    places = np.flatnonzero(best[row])
    return row, int(places[len(places) // 2])


def _runs(mask: np.ndarray) -> np.ndarray:
    """(H, W) int: a number for every run of equal values along a row."""
    starts = np.ones(mask.shape, dtype=np.int64)
    starts[:, 1:] = mask[:, 1:] != mask[:, :-1]
    return starts.cumsum().reshape(mask.shape)
