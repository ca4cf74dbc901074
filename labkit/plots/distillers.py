"""Where distillers push a student's logits on a small map."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from torch import Tensor

from labkit.plots.panels import SMALL, Panels, ratio, show
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
