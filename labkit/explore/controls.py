"""Controls of a state's fields: sliders with numeric entries, and lists; all work by keyboard."""

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import ipywidgets
import traitlets

from labkit.explore.view import Control, Explorer

STYLE = (  # the entry's name is the slider's, so it is kept for screen readers alone
    "<style>.labkit-entry > .widget-label{position:absolute;width:1px!important;height:1px;"
    "overflow:hidden;clip-path:inset(50%)}"
    ".labkit-explorer :focus-visible{outline:2px solid var(--jp-brand-color1,#1976d2);"
    "outline-offset:2px}"
    ".labkit-explorer .widget-label{color:var(--jp-content-font-color1,inherit)}</style>"
)
LABEL_WIDTH = "128px"
LONG_OPTION = 24  # letters; longer ones get a row of their own


class Controls:
    """Widgets for every field of an explorer's state, and the state they show."""

    def __init__(self, explorer: Explorer, changed: Callable[[Any], None]) -> None:
        self._state, self._changed = explorer.state, changed
        self._lock = threading.Lock()
        self._inputs: dict[str, ipywidgets.Widget] = {}
        self._links: list[traitlets.link] = []
        rows = [
            self._row(control, getattr(explorer.state, control.name))
            for control in explorer.controls
        ]
        if "seed" in self._inputs:
            rows.append(self._draw_again())
        layout = ipywidgets.Layout(
            display="flex",
            flex_flow="row wrap",
            align_items="center",
            width="100%",
            max_width="960px",
        )
        self.box = ipywidgets.Box(rows, layout=layout)
        for name, widget in self._inputs.items():
            widget.observe(self._turned, "value", type="change")
            widget.labkit_name = name

    @property
    def state(self) -> Any:
        return self._state

    def close(self) -> None:
        for link in self._links:
            link.unlink()
        for widget in self._inputs.values():
            widget.unobserve_all()

    def _turned(self, change: dict[str, Any]) -> None:
        with self._lock:  # two controls may change on two threads
            self._state = replace(self._state, **{change["owner"].labkit_name: change["new"]})
            self._changed(self._state)

    def _row(self, control: Control, value: Any) -> ipywidgets.Widget:
        style = {"description_width": LABEL_WIDTH}
        if control.kind == "choice":
            long = max(map(len, control.options)) > LONG_OPTION
            layout = ipywidgets.Layout(
                width="98%" if long else "322px", max_width="644px" if long else "98%"
            )
            self._inputs[control.name] = ipywidgets.Dropdown(
                options=control.options,
                value=value,
                description=control.label,
                style=style,
                layout=layout,
            )
            return self._inputs[control.name]
        slider_type = ipywidgets.IntSlider if control.whole else ipywidgets.FloatSlider
        entry_type = ipywidgets.BoundedIntText if control.whole else ipywidgets.BoundedFloatText
        span = {
            "min": min(control.low, value),
            "max": max(control.high, value),
            "step": control.step,
            "value": value,
        }
        slider = slider_type(
            **span,
            description=control.label,
            readout=False,
            style=style,
            tooltip=control.label,
            layout=ipywidgets.Layout(width="250px"),
        )
        entry = entry_type(
            **span, description=f"{control.label}, number", layout=ipywidgets.Layout(width="72px")
        )
        entry.add_class("labkit-entry")
        self._links.append(traitlets.link((slider, "value"), (entry, "value")))
        self._inputs[control.name] = slider
        return ipywidgets.HBox(
            [slider, entry], layout=ipywidgets.Layout(width="326px", overflow="visible")
        )

    def _draw_again(self) -> ipywidgets.Widget:
        button = ipywidgets.Button(
            description="Draw again",
            tooltip="the next seed",
            layout=ipywidgets.Layout(margin="2px 8px"),
        )
        button.on_click(self._next_seed)
        return button

    def _next_seed(self, button: ipywidgets.Button) -> None:
        seed = self._inputs["seed"]
        seed.value = seed.value + 1 if seed.value < seed.max else seed.min
