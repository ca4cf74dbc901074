"""When to draw: after the last of a burst, never an outdated state, never on the thread that
receives changes.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

QUIET_SECONDS = 0.12  # without a change, before it is drawn
LONGEST_SECONDS = 0.8  # somebody who keeps turning a control sees a picture after this


class Redraw:
    """Draws the newest state asked for.

    Widgets may call from another thread than the one their cell ran on: JupyterLab sends their
        messages to a subshell of the kernel.
    So `ask` may be called on any thread; all else is done on the loop's, and `draw` on one of its
    own.
    """

    def __init__(
        self,
        draw: Callable[[Any], Any],
        *,
        shown: Callable[[Any, Any], None],
        failed: Callable[[BaseException], None],
        busy: Callable[[], None],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        """Nothing is drawn yet.

        Args:
            draw: state -> result.
            shown: (state, result), called with the newest state's alone.
            failed: called with what drawing the newest state raised.
            busy: called when something is about to be drawn.
        """
        self._draw, self._shown, self._failed, self._busy, self._loop = (
            draw,
            shown,
            failed,
            busy,
            loop,
        )
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="labkit-explorer")
        self._state: Any = None
        self._number = 0  # of the newest state
        self._since: float | None = None  # the first change of the burst
        self._timer: asyncio.TimerHandle | None = None
        self._drawing = self._closed = False

    def ask(self, state: Any) -> None:
        """Draw a state, unless a newer one comes first; on any thread."""
        self._loop.call_soon_threadsafe(self._ask, state)

    def close(self) -> None:
        """Nothing is shown from here on."""
        self._closed = True
        if self._timer:
            self._timer.cancel()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _ask(self, state: Any) -> None:
        if self._closed:
            return
        now = self._loop.time()
        self._state, self._number = state, self._number + 1
        self._since = now if self._since is None else self._since
        if self._timer:
            self._timer.cancel()
        wait = max(0.0, min(QUIET_SECONDS, self._since + LONGEST_SECONDS - now))
        self._timer = self._loop.call_later(wait, self._start)
        self._busy()

    def _start(self) -> None:
        self._timer = None
        if self._drawing or self._closed:
            return  # the end of the one being drawn starts the next
        self._drawing, self._since = True, None
        number, state = self._number, self._state
        drawn = self._loop.run_in_executor(self._pool, self._draw, state)
        drawn.add_done_callback(lambda future: self._end(number, state, future))

    def _end(self, number: int, state: Any, future: asyncio.Future) -> None:
        self._drawing = False
        error = None if future.cancelled() else future.exception()
        if self._closed or future.cancelled():
            return
        if number != self._number:  # outdated: dropped
            if self._timer is None:
                self._start()
        elif error is not None:
            self._failed(error)
        else:
            self._shown(state, future.result())
