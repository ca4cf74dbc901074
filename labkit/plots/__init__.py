"""What people see. Values come in as they are; scales are chosen here, one per figure, and shown."""

from labkit.plots.contribution import contribution_figure, layers_figure, library_figure, sanity_figure, shared_limit
from labkit.plots.curves import SHORT, curves_figure, opinions_figure, reliance_figure
from labkit.plots.frames import code_histogram_figure, colourise, error_map, noising_figure, picture, predictions_figure
from labkit.plots.study import class_gains_figure, gains_figure, noise_diagram_figure, region_gains_figure

__all__ = [
    "SHORT", "class_gains_figure", "code_histogram_figure", "colourise", "contribution_figure", "curves_figure", "error_map",
    "gains_figure", "layers_figure", "library_figure", "noise_diagram_figure", "noising_figure", "opinions_figure", "picture",
    "predictions_figure", "region_gains_figure", "reliance_figure", "sanity_figure", "shared_limit",
]  # fmt: skip
