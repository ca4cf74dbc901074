"""The pictures of an explorer in a page: one cursor over all of them, by mouse and by keyboard.

Built on anywidget, because a hundred lines of JavaScript in one file are all that pointing needs:
ipyevents has no keyboard twin, and bokeh, plotly and ipympl would each bring a plotting library.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anywidget
import traitlets

_SCRIPT = Path(__file__).with_name("canvas.js")


class Canvas(anywidget.AnyWidget):
    """HTML of a view, its cursor, and lines to copy.

    Attributes:
        html: of `view_html`.
        lines: lines to copy, by their purpose.
        point: where the cursor is, x and y in 0-1.
        gesture: what the cursor does, in words; "": there is nothing to point at.
    """

    _esm = _SCRIPT
    html = traitlets.Unicode("").tag(sync=True)
    lines = traitlets.Dict().tag(sync=True)
    point = traitlets.List([0.5, 0.5]).tag(sync=True)
    gesture = traitlets.Unicode("").tag(sync=True)

    def __init__(
        self,
        *,
        look: Callable[[float, float], str],
        choose: Callable[[float, float], None],
        **values: Any,
    ) -> None:
        """Nothing is shown yet.

        Args:
            look: what there is to say of a point; called on any thread.
            choose: called with a clicked point, on any thread.
        """
        super().__init__(**values)
        self._look, self._choose = look, choose
        self.on_msg(self._answer)

    def download(self, content: bytes, name: str, kind: str) -> None:
        """Offer bytes of a MIME type as a file in the browser."""
        self.send({"kind": "save", "name": name, "type": kind}, [content])

    def _answer(self, widget: Any, message: dict[str, Any], buffers: list[bytes]) -> None:
        x, y = float(message["x"]), float(message["y"])
        if message["kind"] == "choose":
            self._choose(x, y)
        else:
            self.send({"kind": "look", "text": self._look(x, y)})
