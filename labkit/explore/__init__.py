"""Explorers: controls, a frozen state, and pure functions from a state to pictures and numbers.

view: what an explorer is.  noised_frame, teacher_frame, contribution_frame, compare_frame: the
explorers.  pictures, regions, decoder: pixels, regions and the best decoder.  teachers: finished
runs.  own: uploaded pictures.  page, controls, canvas, film: widgets.  redraw: when to draw.
live: a run while it trains.  save: pictures and states as files and options.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from labkit.explore.view import Explorer, Missing

_MODULES = {  # imported at first use: an explorer of label noising needs no attribution
    "compare_frame": ("CompareState", "compare"),
    "distiller_field": ("distiller", "draw_distiller"),
    "distiller_map": ("DistillerState",),
    "contribution_frame": ("ContributionState", "contribution", "draw_contribution"),
    "live": ("live_training",),
    "markup": ("view_html",),
    "noised_frame": ("NoisingState", "draw_noising", "noising", "noising_of", "open_frame"),
    "teacher_frame": ("TeacherState", "draw_teacher", "teacher"),
    "view": ("Control", "Explorer", "Missing", "Panel", "Table", "View"),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return ["show", *_HOMES]


def show(explorer: "Explorer | Missing") -> None:
    """Show an explorer in a notebook: live in a front end, as a still picture elsewhere."""
    from labkit.explore.page import show_explorer

    show_explorer(explorer)
