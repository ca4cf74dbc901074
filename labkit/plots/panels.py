"""Grids of equal pictures with titles, notes and colour bars, measured in inches."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from torch import Tensor

from labkit.records.text import figure_text

WIDTH = 7.2  # inches: the width of a page's text, so that letters keep their size
TITLE, SMALL = 8.5, 7.5  # points
GAP = 0.08  # inches between panels


class Panels:
    """A grid of equal pictures, `WIDTH` inches wide; every row as high as its frame's shape asks
    for.

    Attributes:
        figure: the figure.
        axes: (rows, columns) axes without ticks.
    """

    def __init__(
        self,
        ratios: Sequence[float],
        columns: int,
        *,
        left: float = 0.05,
        top: float = 0.28,
        between: float | None = None,
        note: float = 0.05,
        bottom: float = 0.05,
    ) -> None:
        """An empty grid.

        Args:
            ratios: height / width of the pictures of each row.
            columns: pictures per row.
            left: inches before the first picture, for row names.
            top: above the first row, for titles.
            between: above every other row; None: as `top`.
            note: below every row.
            bottom: below all rows, for colour bars and legends.
        """
        self.width = (WIDTH - left - 0.05 - (columns - 1) * GAP) / columns
        heights = [self.width * ratio for ratio in ratios]
        between = top if between is None else between
        total = sum(heights) + top + (len(ratios) - 1) * between + len(ratios) * note + bottom
        self.figure = plt.figure(figsize=(WIDTH, total))
        self.bottom, self._left = bottom, left
        rows, y = [], total
        for number, height in enumerate(heights):
            y -= (between if number else top) + height
            rows.append([self._axes(column, y, height) for column in range(columns)])
            y -= note
        self.axes = np.array(rows, dtype=object).reshape(len(ratios), columns)

    def colour_bar(
        self, drawn: ScalarMappable, first: int, last: int, label: str, *, raised: float = 0.38
    ) -> None:
        """A colour bar below columns first to last, `raised` inches above the lower edge."""
        x = self._left + first * (self.width + GAP)
        span = (last - first + 1) * (self.width + GAP) - GAP
        inset = 0.12 * span
        place = self._add(x + inset, raised, span - 2 * inset, 0.09)
        bar = self.figure.colorbar(drawn, cax=place, orientation="horizontal")
        bar.set_label(figure_text(label), fontsize=SMALL, labelpad=2)
        bar.ax.locator_params(axis="x", nbins=4)
        bar.ax.tick_params(labelsize=SMALL, length=2, pad=1)

    def _axes(self, column: int, y: float, height: float) -> Axes:
        axes = self._add(self._left + column * (self.width + GAP), y, self.width, height)
        axes.set_xticks([])
        axes.set_yticks([])
        return axes

    def _add(self, x: float, y: float, width: float, height: float) -> Axes:
        across, up = self.figure.get_size_inches()
        return self.figure.add_axes((x / across, y / up, width / across, height / up))


def show(axes: Axes, values: np.ndarray | Tensor | None, title: str = "", **options) -> None:
    """Draw a picture without ticks, its title above it."""
    if values is not None:
        axes.imshow(np.asarray(values), **options)
    lines = [figure_text(line) for line in title.split("\n")]
    axes.set_title("\n".join(lines), fontsize=TITLE, pad=3)
    axes.set_xticks([])
    axes.set_yticks([])


def draw_outline(axes: Axes, outline: Tensor) -> None:
    """The border of a region (H, W) bool, white on black, visible on every ground."""
    if outline.any() and not outline.all():
        line = axes.contour(outline.float().numpy(), levels=[0.5], colors=["white"], linewidths=0.8)
        line.set_path_effects([withStroke(linewidth=1.6, foreground="black")])


def extent(outline: Tensor) -> tuple[float, float, float, float]:
    """Where a coarser map lies on the pixels of a frame (H, W)."""
    height, width = outline.shape
    return (-0.5, width - 0.5, height - 0.5, -0.5)


def ratio(image: Tensor) -> float:
    """Height / width of an image (..., H, W)."""
    return image.shape[-2] / image.shape[-1]


def class_legend(figure: Figure, names: Sequence[str], palette: Sequence, *, columns: int) -> None:
    """The classes' colours below a figure."""
    handles = [
        plt.Rectangle((0, 0), 1, 1, facecolor=np.array(colour) / 255, edgecolor="0.6", lw=0.3)
        for colour in palette
    ]
    figure.legend(
        handles, [figure_text(name) for name in names], loc="lower center", ncols=columns,
        fontsize=SMALL, frameon=False, handlelength=1.2, columnspacing=1.2,
    )  # fmt: skip


def row_height(usual: float, rows: int) -> float:
    """Inches for a row of a picture: less than usual where there are many."""
    return usual if rows <= 24 else 0.6 * usual
