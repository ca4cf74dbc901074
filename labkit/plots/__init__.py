"""Figures from plain values. Scales are chosen here, one per figure, and shown; nothing is
displayed or saved.

panels: grids of equal pictures.  colours: one palette.  frames, contribution, sheet, distillers:
pictures.  curves, study, study_lines, study_maps: charts.
"""

from labkit.plots.contribution import (
    contribution_figure,
    layers_figure,
    library_figure,
    sanity_figure,
)
from labkit.plots.curves import curves_figure, label_share_figure, noise_sweep_figure
from labkit.plots.distillers import push_figure, teachers_figure
from labkit.plots.frames import (
    code_histogram_figure,
    colourise,
    hero_figure,
    noising_figure,
    picture,
    predictions_figure,
)
from labkit.plots.sheet import sheet_figure
from labkit.plots.study import (
    gains_figure,
    label_use_figure,
    region_gains_figure,
)
from labkit.plots.study_lines import area_gains_figure, learning_curves_figure, size_gains_figure
from labkit.plots.study_maps import class_gains_figure, noise_diagram_figure, overview_figure

__all__ = [
    "area_gains_figure",
    "class_gains_figure",
    "code_histogram_figure",
    "colourise",
    "contribution_figure",
    "curves_figure",
    "gains_figure",
    "hero_figure",
    "label_share_figure",
    "label_use_figure",
    "layers_figure",
    "learning_curves_figure",
    "library_figure",
    "noise_diagram_figure",
    "noise_sweep_figure",
    "noising_figure",
    "overview_figure",
    "picture",
    "predictions_figure",
    "push_figure",
    "region_gains_figure",
    "sanity_figure",
    "sheet_figure",
    "size_gains_figure",
    "teachers_figure",
]
