"""The class at a point of a label, and regions: the pixels of one class connected to a point, or
the largest region of a class.
"""

import numpy as np
from scipy.ndimage import label
from torch import Tensor


def class_at(target: Tensor, x: float, y: float) -> int:
    """The class id of a target (H, W) at a point, x and y in 0-1."""
    height, width = target.shape
    return int(target[min(int(y * height), height - 1), min(int(x * width), width - 1)])


def value_at(values: Tensor, x: float, y: float) -> float:
    """A map's value (h, w) at a point, x and y in 0-1."""
    height, width = values.shape
    return float(values[int(y * height), int(x * width)])


def region_at(class_ids: np.ndarray, y: int, x: int) -> np.ndarray:
    """(H, W) bool: the pixels of one class connected to (y, x), over neighbours up, down, left,
    right.
    """
    numbers, _ = label(class_ids == class_ids[y, x])
    return numbers == numbers[y, x]


def largest_region(class_ids: np.ndarray, category: int) -> tuple[int, int] | None:
    """A point (y, x) inside the largest region of a class: the middle of its widest row; None
    without one.
    """
    numbers, count = label(class_ids == category)
    if count == 0:
        return None
    region = numbers == 1 + np.bincount(numbers.ravel())[1:].argmax()
    row = int(region.sum(1).argmax())
    columns = np.flatnonzero(region[row])
    return row, int(columns[len(columns) // 2])
