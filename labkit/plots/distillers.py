"""Where distillers push a student's logits on a small map, and what students gained by them."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from torch import Tensor

from labkit.plots.colours import AXIS, FAMILIES, MARKERS
from labkit.plots.panels import SMALL, WIDTH, Panels, ratio, show
from labkit.records.text import figure_text

PUSH = "RdBu"  # colour map: red = the logit goes down, blue = up
COLUMNS = 5  # distillers side by side


def push_figure(pushes: Mapping[str, Tensor], names: Sequence[str]) -> Figure:
    """Minus the gradient for the logits of each class, a column per distiller, each at its own
    scale: the greatest push is in the title.

    Args:
        pushes: (K, h, w) by distiller.
        names: of the K classes, a row each.
    """
    listed = list(pushes)
    blocks = [listed[first : first + COLUMNS] for first in range(0, len(listed), COLUMNS)]
    shape = ratio(next(iter(pushes.values())))
    rows = len(blocks) * len(names)
    panels = Panels([shape] * rows, COLUMNS, left=0.3, between=0.22, bottom=0.5)
    for number, block in enumerate(blocks):
        cells = panels.axes[number * len(names) : (number + 1) * len(names)]
        for row, name in enumerate(names):
            cells[row, 0].set_ylabel(figure_text(name), fontsize=SMALL)
            for column, distiller in enumerate(block):
                values = np.asarray(pushes[distiller])
                limit = max(float(np.abs(values).max()), 1e-12)
                title = f"{distiller}, {limit:.2g}" if row == 0 else ""
                options = {"cmap": PUSH, "vmin": -limit, "vmax": limit}
                show(cells[row, column], values[row], title, **options)
            for axes in cells[row, len(block) :]:
                axes.set_axis_off()
    scale = ScalarMappable(cmap=PUSH)
    scale.set_clim(-1, 1)
    label = "push on the student's logits, as a share of the greatest, which the title gives"
    panels.colour_bar(scale, 1, COLUMNS - 2, label)
    return panels.figure


def teachers_figure(gains: pd.DataFrame) -> Figure:
    """Gain of the student of a plain and of an assisted teacher, a row per distiller; the line
    between them is their difference.

    Args:
        gains: mIoU in percent over the student without a teacher, index distiller, columns "plain"
            and "assisted"; NaN = no run.
    """
    size = (WIDTH * 0.6, 0.8 + 0.24 * len(gains))
    figure, axes = plt.subplots(figsize=size, layout="constrained")
    rows = np.arange(len(gains))
    axes.axvline(0, **AXIS)
    axes.hlines(rows, gains["plain"], gains["assisted"], color="0.7", lw=1.5)
    for teacher, marker in zip(("plain", "assisted"), MARKERS, strict=False):
        colour = FAMILIES[teacher][0]
        axes.plot(gains[teacher], rows, marker, color=colour, ms=5, label=f"{teacher} teacher")
    axes.tick_params(labelsize=SMALL)
    axes.set_yticks(rows, [figure_text(name) for name in gains.index])
    axes.invert_yaxis()
    figure.legend(loc="outside upper center", ncols=2, fontsize=SMALL)
    axes.set_xlabel("gain over the student without a teacher, points of mIoU", fontsize=SMALL)
    return figure
