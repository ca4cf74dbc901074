"""When the explorers draw and what they leave behind, without a page."""

import asyncio
import threading
import time
from dataclasses import dataclass

import nbformat
import pytest
from ipywidgets.widgets.widget import _instances
from nbclient import NotebookClient

from labkit import explore
from labkit.explore import page
from labkit.explore.controls import Controls
from labkit.explore.film import Player, Still
from labkit.explore.redraw import QUIET_SECONDS, Redraw
from labkit.settings import DistillersSettings


@dataclass(frozen=True)
class State:
    seed: int = 0
    kind: str = "a"


def explorer(drawn=None):
    drawn = [] if drawn is None else drawn

    def draw(state):
        drawn.append(state)
        return explore.View((), (f"seed {state.seed}",))

    controls = (
        explore.Control(name="seed", label="seed", high=9),
        explore.Control(name="kind", label="kind", kind="choice", options=("a", "b")),
    )
    return explore.Explorer(
        "test",
        "A test",
        State(),
        controls,
        draw,
        lambda state: {"this state": f"--set seed={state.seed}"},
    )


async def settled(redraw):
    await asyncio.sleep(0.02)
    while redraw._timer or redraw._drawing:
        await asyncio.sleep(0.01)


def redraw_of(draw, shown, failed=None):
    failed = [] if failed is None else failed
    return Redraw(
        draw,
        shown=lambda *one: shown.append(one),
        failed=failed.append,
        busy=lambda: None,
        loop=asyncio.get_running_loop(),
    )


def test_a_burst_is_drawn_once_and_ends_on_the_last_state():
    async def work():
        drawn, shown = [], []
        redraw = redraw_of(lambda state: drawn.append(state) or -state, shown)
        for state in range(20):
            redraw.ask(state)
        await settled(redraw)
        redraw.close()
        assert drawn == [19]
        assert shown == [(19, -19)]

    asyncio.run(work())


def test_a_drawing_that_is_out_of_date_when_it_is_done_is_dropped():
    async def work():
        shown = []
        redraw = redraw_of(lambda state: time.sleep(0.4) or state, shown)
        redraw.ask("old")
        await asyncio.sleep(QUIET_SECONDS + 0.1)  # it is being drawn now
        redraw.ask("new")
        await settled(redraw)
        redraw.close()
        assert shown == [("new", "new")]

    asyncio.run(work())


def test_a_hand_that_keeps_turning_sees_something():
    async def work():
        shown = []
        redraw = redraw_of(lambda state: state, shown)
        for state in range(40):
            redraw.ask(state)
            await asyncio.sleep(QUIET_SECONDS / 3)
        seen_meanwhile = len(shown)
        await settled(redraw)
        redraw.close()
        assert seen_meanwhile >= 1
        assert shown[-1] == (39, 39)

    asyncio.run(work())


def test_what_cannot_be_drawn_is_told_and_the_next_state_is_drawn():
    async def work():
        shown, failed = [], []
        redraw = redraw_of(lambda state: 1 / state, shown, failed)
        redraw.ask(0)
        await settled(redraw)
        redraw.ask(2)
        await settled(redraw)
        redraw.close()
        assert isinstance(failed[0], ZeroDivisionError)
        assert shown == [(2, 0.5)]

    asyncio.run(work())


def test_a_state_may_be_asked_for_on_another_thread():
    async def work():
        shown, done = [], asyncio.Event()
        redraw = redraw_of(lambda state: state, shown)
        redraw._shown = lambda *one: shown.append(one) or done.set()
        asking = threading.Timer(
            0.3, redraw.ask, args=(7,)
        )  # by then the loop sleeps, and must be woken
        asking.start()
        await asyncio.wait_for(done.wait(), 20)
        redraw.close()
        assert shown == [(7, 7)]

    asyncio.run(work())


def test_after_closing_nothing_is_shown():
    async def work():
        shown = []
        redraw = redraw_of(lambda state: state, shown)
        redraw.ask(1)
        redraw.close()
        redraw.ask(2)
        await asyncio.sleep(3 * QUIET_SECONDS)
        assert shown == []

    asyncio.run(work())


@pytest.fixture
def live(monkeypatch):
    monkeypatch.setattr(page, "has_front_end", lambda: True)
    monkeypatch.setattr(page, "display", lambda box: None)


def test_shown_again_it_leaves_no_widget_and_no_callback_of_the_first(live):
    async def work():
        drawn = []
        counts = []
        for _ in range(3):
            explore.show(explorer(drawn))
            counts.append(len(_instances))
        assert counts[1] == counts[2]
        shown = page._open["test"]
        first = len(drawn)
        shown._controls._inputs["seed"].value = 3
        await settled(shown._redraw)
        assert len(drawn) == first + 1
        assert "seed 3" in shown._canvas.html
        shown.close()

    asyncio.run(work())


def test_every_control_has_a_name_and_every_number_an_entry(live):
    async def work():
        explore.show(explorer())
        shown = page._open["test"]
        *rows, again, _ = shown._controls.box.children
        for row in rows:
            parts = getattr(row, "children", [row])
            assert all(part.description for part in parts)
        slider, entry = shown._controls.box.children[0].children
        entry.value = 4
        assert slider.value == 4
        assert shown._controls.state.seed == 4
        again.click()
        assert shown._controls.state.seed == 5
        await settled(shown._redraw)
        assert shown._canvas.lines["this state"] == "--set seed=5"
        shown.close()

    asyncio.run(work())


def test_without_a_front_end_a_still_is_shown_and_nothing_waits(tmp_path):
    code = (
        "from labkit import explore\nfrom labkit.settings import NoisingSettings\n"
        "from labkit.explore.page import has_front_end\n"
        "explore.show(explore.noising(NoisingSettings()))\nhas_front_end()"
    )
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    done = NotebookClient(
        notebook, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    picture, answer = done.cells[0].outputs
    assert answer["data"]["text/plain"] == "False"
    assert set(picture["data"]) == {"text/html", "text/plain"}
    assert picture["data"]["text/html"].count('<img src="data:image/png;base64,') == 4
    assert "% of the pixels" in picture["data"]["text/html"]


def test_a_missing_teacher_is_trained_and_then_shown(live):
    async def work():
        trained = []
        found = explore.Missing(
            "test", "none", "train", lambda: trained.append(1), lambda: 0.5, explorer
        )
        explore.show(found)
        offer = page._open["test"]
        offer._button.click()
        while isinstance(page._open["test"], page._Offer):
            await asyncio.sleep(0.01)
        assert trained == [1]
        assert offer.box.children == (page._open["test"].box,)
        page._open["test"].close()

    asyncio.run(work())


def test_training_that_fails_is_told(live):
    async def work():
        def fails():
            raise ValueError("no disk <left>")

        explore.show(explore.Missing("test", "none", "train", fails, lambda: 0.5, explorer))
        offer = page._open["test"]
        offer._button.click()
        while "no disk" not in offer._message.value:
            await asyncio.sleep(0.01)
        assert "&lt;left>" in offer._message.value
        assert not offer._button.disabled
        offer.close()

    asyncio.run(work())


def test_digits_that_a_slider_in_the_page_loses_change_no_state():
    states = []
    controls = Controls(explore.distiller(DistillersSettings()), states.append, pytest.fail)
    slider = controls._inputs["temperature"]
    slider.value = 0.9999999999999999
    assert states == []
    slider.value = 2.0000000000000004
    assert [one.temperature for one in states] == [2.0]
    controls.close()


def test_a_film_that_is_drawn_when_its_player_is_closed_is_dropped():
    async def work():
        failed, begun = [], threading.Event()

        def draw():
            begun.set()
            time.sleep(0.1)
            return [Still("one", b"")]

        player = Player(
            draw, title="", keep=failed.append, failed=failed.append,
            loop=asyncio.get_running_loop(),
        )  # fmt: skip
        start, _, film = player.box.children
        start.click()
        await asyncio.to_thread(begun.wait)
        player.close()
        await asyncio.sleep(0.3)
        assert film.frames == []
        assert start.disabled
        assert failed == []

    asyncio.run(work())
