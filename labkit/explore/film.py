"""Pictures that are drawn once and then played in the page, with a slider and a GIF to keep."""

import asyncio
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import anywidget
import ipywidgets
import traitlets
from PIL import Image

FRAME_MILLISECONDS = 400
_SCRIPT = Path(__file__).with_name("film.js")


class Still(NamedTuple):
    """One picture of a film."""

    caption: str
    content: bytes  # PNG


class Film(anywidget.AnyWidget):
    """The picture of a number."""

    _esm = _SCRIPT
    frames = traitlets.List(traitlets.Bytes()).tag(sync=True)
    captions = traitlets.List(traitlets.Unicode()).tag(sync=True)
    index = traitlets.Int(0).tag(sync=True)


class Player:
    """A button that draws a film, and then a player, a slider and a button for its GIF."""

    def __init__(
        self,
        draw: Callable[[], Sequence[Still]],
        *,
        title: str,
        keep: Callable[[bytes], None],
        failed: Callable[[BaseException], None],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        """Nothing is drawn yet.

        Args:
            draw: the film of the present state; called away from the loop's thread.
            title: of the button.
            keep: called with the bytes of a GIF.
            failed: called with what `draw` raised.
        """
        self._draw, self._keep, self._failed, self._loop = draw, keep, failed, loop
        self._stills: Sequence[Still] = ()
        self._closed = False
        self._start = ipywidgets.Button(
            description=title, layout={"width": "auto", "align_self": "flex-start"}
        )
        self._start.on_click(lambda button: loop.call_soon_threadsafe(self._begin))
        self._film = Film()
        self._play = ipywidgets.Play(interval=FRAME_MILLISECONDS, description=title)
        self._slider = ipywidgets.IntSlider(description="level", readout=False)
        self._links = [
            ipywidgets.jslink((self._play, "value"), (self._slider, "value")),
            ipywidgets.jslink((self._slider, "value"), (self._film, "index")),
        ]
        gif = ipywidgets.Button(description="Save GIF", layout={"width": "120px"})
        gif.on_click(lambda button: keep(gif_of(self._stills)))
        self._row = ipywidgets.HBox([self._play, self._slider, gif])
        self.box = ipywidgets.VBox([self._start, self._row, self._film])
        self._row.layout.display = "none"

    def close(self) -> None:
        self._closed = True
        for link in self._links:
            link.close()

    def _begin(self) -> None:
        self._start.disabled = True
        drawn = self._loop.run_in_executor(None, self._draw)
        drawn.add_done_callback(self._end)

    def _end(self, drawn: asyncio.Future) -> None:
        error = drawn.exception()
        if self._closed:
            return
        self._start.disabled = False
        if error is not None:
            self._failed(error)
            return
        self._stills = drawn.result()
        self._play.max = self._slider.max = len(self._stills) - 1
        with self._film.hold_sync():
            self._film.captions = [one.caption for one in self._stills]
            self._film.frames = [one.content for one in self._stills]
        self._row.layout.display = ""


def gif_of(stills: Sequence[Still]) -> bytes:
    """A film as an endless GIF."""
    first, *others = [
        Image.open(io.BytesIO(one.content), formats=("PNG",)).quantize() for one in stills
    ]
    buffer = io.BytesIO()
    options: dict[str, Any] = {"duration": FRAME_MILLISECONDS, "loop": 0, "disposal": 2}
    first.save(buffer, "GIF", save_all=True, append_images=others, **options)
    return buffer.getvalue()
