"""An explorer in a notebook: live where there is a front end, a still picture elsewhere."""

import asyncio
import os
from collections import Counter
from typing import Any

import ipywidgets
from IPython.core.getipython import get_ipython
from IPython.display import HTML, display

from labkit.errors import LabkitError
from labkit.explore.canvas import Canvas
from labkit.explore.controls import BUTTON, STYLE, Controls
from labkit.explore.film import Player, Still
from labkit.explore.markup import view_html
from labkit.explore.redraw import Redraw
from labkit.explore.save import view_png
from labkit.explore.view import Explorer, Missing, View

STATIC = "LABKIT_STATIC"  # environment variable: any value but "" or 0 means still pictures
POLL_SECONDS = 0.5
_open: dict[
    str, "_Live | _Offer"
] = {}  # what is live, by name: shown again, the earlier one is closed
_renders: Counter[str] = (
    Counter()
)  # over the kernel's life, so that doubled callbacks would count double


def show_explorer(explorer: Explorer | Missing) -> None:
    """Show an explorer, or how to make what is missing; one of a name at a time."""
    earlier = _open.pop(explorer.name, None)
    if earlier:
        earlier.close()
    if has_front_end():
        kind = _Live if isinstance(explorer, Explorer) else _Offer
        _open[explorer.name] = kind(explorer, asyncio.get_running_loop())
        display(_open[explorer.name].box)
    elif isinstance(explorer, Missing):
        display(HTML(f"<p>{explorer.sentence}</p>"))
    else:
        display(HTML(_still(explorer)))


def has_front_end() -> bool:
    """Whether the client of this kernel can answer: JupyterLab says so in every request, papermill
    and nbclient say no.

    The protocol's allow_stdin is the only fact a kernel has about its client. LABKIT_STATIC
    overrides it.
    """
    if os.environ.get(STATIC, "0") not in ("", "0"):
        return False
    kernel = getattr(get_ipython(), "kernel", None)
    request = kernel.get_parent("shell") if kernel else {}
    return bool(request.get("content", {}).get("allow_stdin", False))


def _still(explorer: Explorer) -> str:
    _renders[explorer.name] += 1
    view = explorer.draw(explorer.state)
    return view_html(view, name=explorer.name, renders=_renders[explorer.name])


class _Live:
    """Controls, pictures with a cursor, busy mark and lines to copy."""

    def __init__(self, explorer: Explorer, loop: asyncio.AbstractEventLoop) -> None:
        self._explorer = explorer
        self._redraw = Redraw(
            explorer.draw, shown=self._shown, failed=self._failed, busy=self._busy, loop=loop
        )
        self._controls = Controls(explorer, self._redraw.ask, self._failed)
        self._mark, self._view = ipywidgets.HTML(), explorer.draw(explorer.state)
        self._canvas = Canvas(look=self._look, choose=self._choose, gesture=explorer.gesture)
        self._canvas.add_class("labkit-pictures")
        save = ipywidgets.Button(description="Save picture", tooltip="PNG, 300 dpi", layout=BUTTON)
        save.on_click(lambda button: self._save())
        self._controls.box.children += (save,)
        heading = ipywidgets.HTML(f"{STYLE}<b>{explorer.title}</b>")
        columns = ipywidgets.Box([self._controls.box, self._canvas])
        columns.add_class("labkit-columns")
        self._player = self._film_player(loop) if explorer.film else None
        parts = [ipywidgets.HBox([heading, self._mark]), columns]
        self.box = ipywidgets.VBox([*parts, *([self._player.box] if self._player else [])])
        self.box.layout.width = "100%"
        self.box.add_class("labkit-explorer")
        self._shown(explorer.state, self._view)

    def close(self) -> None:
        """Leave no callback and no model behind."""
        self._redraw.close()
        self._controls.close()
        if self._player:
            self._player.close()
        _close_all(self.box)

    def _film_player(self, loop: asyncio.AbstractEventLoop) -> Player:
        name = f"{self._explorer.name}.gif"
        return Player(
            lambda: [Still(*one) for one in self._explorer.film(self._controls.state)],
            title=self._explorer.film_title,
            keep=lambda content: self._canvas.download(content, name, "image/gif"),
            failed=self._failed,
            loop=loop,
        )

    def _shown(self, state: Any, view: View) -> None:
        name = self._explorer.name
        _renders[name] += 1
        self._view = view
        with self._canvas.hold_sync():
            self._canvas.point = list(self._explorer.point(state))
            self._canvas.html = view_html(view, name=name, renders=_renders[name], live=True)
            self._canvas.lines = self._explorer.commands(state)
        self._set_status("ready")

    def _look(self, x: float, y: float) -> str:
        return self._view.look(x, y) if self._view.look else ""

    def _choose(self, x: float, y: float) -> None:
        try:
            changes = self._explorer.choose(self._controls.state, x, y)
        except LabkitError as error:  # an own label that does not fit, for one
            self._failed(error)
        else:
            self._controls.set(changes)

    def _save(self) -> None:
        self._canvas.download(view_png(self._view), f"{self._explorer.name}.png", "image/png")

    def _failed(self, error: BaseException) -> None:
        kind = "" if isinstance(error, LabkitError) else f"{type(error).__name__}: "
        self._set_status(f"Not drawn: {kind}{error}")

    def _busy(self) -> None:
        self._set_status("drawing …")

    def _set_status(self, text: str) -> None:
        busy = str(text == "drawing …").lower()
        safe = text.replace("&", "&amp;").replace("<", "&lt;")
        self._mark.value = (
            f'<span class="labkit-status" role="status" aria-busy="{busy}" '
            f'style="font-size:13px;margin-left:12px">{safe}</span>'
        )


class _Offer:
    """A sentence, a button that trains what is missing, and how far that is."""

    def __init__(self, missing: Missing, loop: asyncio.AbstractEventLoop) -> None:
        self._missing, self._loop, self._closed = missing, loop, False
        self._button = ipywidgets.Button(
            description=missing.offer, layout=ipywidgets.Layout(width="auto")
        )
        self._bar = ipywidgets.FloatProgress(
            max=1,
            description="training",
            layout=ipywidgets.Layout(visibility="hidden", width="400px"),
        )
        self._message = ipywidgets.HTML()
        sentence = ipywidgets.HTML(f"{STYLE}<p>{missing.sentence}</p>")
        children = [sentence, *([self._button, self._bar] if missing.offer else []), self._message]
        self.box = ipywidgets.VBox(children)
        self.box.add_class("labkit-explorer")
        self._button.on_click(lambda button: loop.call_soon_threadsafe(self._start))

    def close(self) -> None:
        self._closed = True
        _close_all(self.box)

    def _start(self) -> None:
        self._button.disabled = True
        self._bar.layout.visibility = "visible"
        self._set_status("training …")
        training = self._loop.run_in_executor(None, self._missing.train)
        training.add_done_callback(self._end)
        self._loop.call_later(POLL_SECONDS, self._look, training)

    def _look(self, training: asyncio.Future) -> None:
        if not (training.done() or self._closed):
            self._bar.value = self._missing.progress()
            self._loop.call_later(POLL_SECONDS, self._look, training)

    def _end(self, training: asyncio.Future) -> None:
        error = training.exception()
        if self._closed:
            return
        found = None if error else self._missing.then()
        if isinstance(found, Explorer):
            live = _open[found.name] = _Live(found, self._loop)
            self.box.children = [live.box]
        else:
            self._button.disabled = False
            self._set_status(
                str(error).replace("<", "&lt;")
                if error
                else "trained, but there is still no complete teacher"
            )

    def _set_status(self, text: str) -> None:
        self._message.value = f'<span class="labkit-status" role="status">{text}</span>'


def _close_all(widget: ipywidgets.Widget) -> None:
    """A box and everything in it, with their layouts and styles, which are widgets of their own."""
    parts = [*getattr(widget, "children", ()), widget.layout, getattr(widget, "style", None)]
    for part in filter(None, parts):
        if isinstance(part, ipywidgets.DOMWidget):
            _close_all(part)
        else:
            part.close()
    widget.unobserve_all()
    widget.close()
