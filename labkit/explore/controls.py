"""Controls of a state's fields: sliders with numeric entries, lists and boxes to tick."""

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import ipywidgets
import traitlets

from labkit.errors import LabkitError
from labkit.explore.view import SWITCH, Control, Explorer

STYLE = f"<style>{Path(__file__).with_name('explorer.css').read_text(encoding='utf-8')}</style>"
LABEL_WIDTH = "100px"
BUTTON = {"width": "120px"}
TICK = {"width": "104px"}


class Controls:
    """Widgets for every field of an explorer's state, and the state they show."""

    def __init__(
        self,
        explorer: Explorer,
        changed: Callable[[Any], None],
        failed: Callable[[BaseException], None],
    ) -> None:
        """Controls at the explorer's first state.

        Args:
            changed: called with every new state, on any thread.
            failed: called with the fault of an uploaded file.
        """
        self._failed = failed
        self._explorer, self._state, self._changed = explorer, explorer.state, changed
        self._lock = threading.RLock()
        self._inputs: dict[str, ipywidgets.Widget] = {}
        self._rows: dict[str, ipywidgets.Widget] = {}
        self._links: list[traitlets.link] = []
        for control in explorer.controls:
            row = self._row(control, getattr(explorer.state, control.name))
            self._rows[control.name] = row
        rows = list(self._rows.values())
        if "seed" in self._inputs:
            rows.append(self._button("Draw again", "the next seed", self._next_seed))
        if "image" in self._rows:
            rows.append(self._button("Split's frames", "leave the own image", self._without_upload))
        self.box = ipywidgets.Box(rows)
        self.box.add_class("labkit-controls")
        for name, widget in self._inputs.items():
            widget.observe(self._turned, "value", type="change")
            widget.labkit_name = name
        self._disable()

    @property
    def state(self) -> Any:
        return self._state

    def set(self, values: dict[str, Any]) -> None:
        """Change fields of the state together, and the controls that show them."""
        with self._lock:
            self._state = replace(self._state, **values)
            for name, value in values.items():
                if name in self._inputs:
                    self._inputs[name].value = _shown(value)
            self._disable()
            self._changed(self._state)

    def close(self) -> None:
        for link in self._links:
            link.unlink()
        for widget in self._inputs.values():
            widget.unobserve_all()

    def _turned(self, change: dict[str, Any]) -> None:
        value = change["new"]
        if isinstance(value, bool):
            value = SWITCH[not value]
        elif isinstance(value, float):
            value = _rounded(value)
        with self._lock:  # two controls may change on two threads
            state = replace(self._state, **{change["owner"].labkit_name: value})
            if state != self._state:
                self._state = state
                self._disable()
                self._changed(state)

    def _disable(self) -> None:
        unused = self._explorer.unused(self._state)
        for name, row in self._rows.items():
            for widget in getattr(row, "children", (row,)):
                widget.disabled = name in unused

    def _row(self, control: Control, value: Any) -> ipywidgets.Widget:
        style = {"description_width": LABEL_WIDTH}
        if control.kind == "file":
            return self._upload(control)
        if control.options == SWITCH:
            row = ipywidgets.Checkbox(
                value=value == SWITCH[0],
                description=control.label,
                indent=False,
                layout=TICK,
            )
        elif control.kind == "choice":
            names = control.names or control.options
            row = ipywidgets.Dropdown(
                options=list(zip(names, control.options, strict=True)),
                value=value,
                description=control.label,
                style=style,
                layout={"width": "258px"},
            )
        else:
            return self._number(control, value)
        self._inputs[control.name] = row
        return row

    def _number(self, control: Control, value: float) -> ipywidgets.Widget:
        entry_type = ipywidgets.BoundedIntText if control.whole else ipywidgets.BoundedFloatText
        span = {
            "min": min(control.low, value),
            "max": max(control.high, value),
            "step": control.step,
            "value": value,
        }
        if control.kind == "point":
            layout = ipywidgets.Layout(width="172px")
            style = {"description_width": LABEL_WIDTH}
            entry = entry_type(**span, description=control.label, layout=layout, style=style)
            self._inputs[control.name] = entry
            return entry
        entry = entry_type(
            **span, description=f"{control.label}, number", layout=ipywidgets.Layout(width="60px")
        )
        entry.add_class("labkit-entry")
        slider_type = ipywidgets.IntSlider if control.whole else ipywidgets.FloatSlider
        slider = slider_type(
            **span,
            description=control.label,
            readout=False,
            style={"description_width": LABEL_WIDTH},
            tooltip=control.label,
            layout=ipywidgets.Layout(width="194px"),
        )
        both = (slider, "value"), (entry, "value")
        self._links.append(traitlets.link(*both, transform=(_rounded, _rounded)))
        self._inputs[control.name] = slider
        return ipywidgets.HBox([slider, entry], layout=ipywidgets.Layout(overflow="visible"))

    def _upload(self, control: Control) -> ipywidgets.Widget:
        row = ipywidgets.FileUpload(
            accept=".png,.jpg,.jpeg" if control.name == "image" else ".png",
            description=control.label,
            icon="",
            layout=BUTTON,
        )
        row.labkit_name = control.name
        row.observe(self._uploaded, "value", type="change")
        return row

    def _uploaded(self, change: dict[str, Any]) -> None:
        if not change["new"]:
            return
        try:
            path = self._explorer.keep(bytes(change["new"][0].content))
        except LabkitError as error:
            self._failed(error)
            return
        name = change["owner"].labkit_name
        self.set({"image": path, "label": ""} if name == "image" else {name: path})

    def _without_upload(self) -> None:
        self.set({"image": "", "label": ""})

    def _button(self, text: str, hint: str, clicked: Callable[[], None]) -> ipywidgets.Widget:
        button = ipywidgets.Button(description=text, tooltip=hint, layout=BUTTON)
        button.on_click(lambda button: clicked())
        return button

    def _next_seed(self) -> None:
        seed = self._inputs["seed"]
        seed.value = seed.value + 1 if seed.value < seed.max else seed.min


def _rounded(value: float) -> float:
    """To six digits: a slider in the page answers 1.0 with 0.9999999999999999."""
    return round(value, 6)


def _shown(value: Any) -> Any:
    """A field's value as its widget has it."""
    return value == SWITCH[0] if value in SWITCH else value
