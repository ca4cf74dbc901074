"""Gestures on the explorers' pictures, in a real JupyterLab: click, hover, keyboard, upload."""

from dataclasses import replace
from importlib.resources import files

import numpy as np
import pytest

from labkit.explore.save import view_png
from tests import lab
from tests.explorers import (
    NAMES,
    OF_FRAMES,
    ROAD,
    SKY,
    explorer_of,
    png,
    settings_of,
    train_two_teachers,
)

pytestmark = lab.MARKS
CODE = """\
from labkit import explore
from labkit.settings import {settings}

explore.show(explore.{name}({settings}(runs={runs!r})))
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A folder with an assisted and a plain teacher, barely trained."""
    return train_two_teachers(tmp_path_factory.mktemp("gestures") / "runs")


@pytest.fixture(scope="module")
def shown(tmp_path_factory, runs):
    """name -> a notebook with that explorer, at 1280 x 800, its file browser closed."""
    folder, private = tmp_path_factory.mktemp("served"), tmp_path_factory.mktemp("lab")
    for name in NAMES:
        code = CODE.format(name=name, settings=settings_of(name).__name__, runs=runs)
        lab.write_cell(code, folder / f"{name}.ipynb")
    lab.write_cell("1 + 1", folder / "empty.ipynb")
    opened = {}
    with lab.jupyter_lab(folder, private) as address, lab.browser_open() as browser:

        def show(name):
            if name not in opened:
                one = lab.Notebook(browser, address, name, width=1280, height=800)
                one.command("application:toggle-left-area")
                one.command("notebook:hide-cell-code")
                assert one.run_all() == []
                if name in NAMES:
                    one.settle(0)
                one.page.set_default_timeout(60_000)  # all that was imported and drawn once
                opened[name] = one
            opened[name].page.bring_to_front()
            return opened[name]

        yield show
        for one in opened.values():
            one.close()


def point_at(notebook, x, y, *, click=False):
    """Move the mouse to a point of the first picture, x and y in 0-1; click there."""
    box = notebook.page.locator(".labkit-pointable").first.bounding_box()
    place = box["x"] + x * box["width"], box["y"] + y * box["height"]
    notebook.page.mouse.move(*place)
    if click:
        notebook.page.mouse.click(*place)


def wait_for_look(notebook, text):
    notebook.page.wait_for_function(
        "text => document.querySelector('.labkit-look').textContent.includes(text)",
        arg=text, polling=lab.POLL,
    )  # fmt: skip


def shown_at_sky(shown, name):
    """A notebook whose cursor is in the sky."""
    notebook = shown(name)
    point_at(notebook, *SKY)
    wait_for_look(notebook, "labelled sky")
    return notebook


def chosen(notebook, name):
    """What a click on the road must have set."""
    if name == "teacher":
        return "the road region of" in notebook.readout()[1]
    if name == "distiller":
        return notebook.entry("cell: row").input_value() == "5"
    label = "class followed" if name == "noising" else "class"
    choice = notebook.page.locator(f'.widget-dropdown:has(> label:text-is("{label}")) select')
    return choice.evaluate("one => one.selectedOptions[0].text") == "road"


@pytest.mark.parametrize("name", NAMES)
def test_verdict_and_pictures_are_in_one_window_and_panels_are_equal(name, shown):
    notebook = shown(name)
    notebook.page.locator(".labkit-explorer").evaluate("one => one.scrollIntoView()")
    window, verdict, pictures = notebook.page.evaluate(
        "() => { const box = one => { const {top, bottom, width} = one.getBoundingClientRect();"
        " return [top, bottom, width] };"
        " return [box(document.querySelector('.jp-WindowedPanel-outer')),"
        " box(document.querySelector('.labkit-verdict')),"
        " [...document.querySelectorAll('.labkit-view img')].map(box)] }"
    )
    assert verdict[0] >= window[0]
    assert max(bottom for _, bottom, _ in pictures) <= window[1]
    assert len({round(width) for *_, width in pictures}) == 1


@pytest.mark.parametrize("width", [1280, 800])
def test_controls_stay_in_view_while_the_pictures_are_scrolled(width, shown):
    notebook = shown("distiller")
    notebook.page.set_viewport_size({"width": width, "height": 800})
    notebook.page.locator(".labkit-explorer").evaluate("one => one.scrollIntoView()")
    window, explorer, controls, pictures = notebook.page.evaluate(
        "() => { const scrolled = document.querySelector('.jp-WindowedPanel-outer');"
        " scrolled.scrollTop += 150;"
        " return [scrolled, ...['explorer', 'controls', 'pictures'].map("
        " name => document.querySelector(`.labkit-${name}`))]"
        ".map(one => one.getBoundingClientRect().toJSON()) }"
    )
    notebook.page.set_viewport_size({"width": 1280, "height": 800})
    notebook.page.locator(".labkit-explorer").evaluate("one => one.scrollIntoView()")
    assert explorer["top"] < window["top"] - 100
    assert controls["top"] == pytest.approx(window["top"], abs=1)
    assert controls["bottom"] <= window["bottom"]
    beside = controls["right"] <= pictures["left"]
    assert beside == (width == 1280)


@pytest.mark.parametrize("name", NAMES)
def test_pointing_says_what_is_there_and_a_click_chooses_it(name, shown):
    notebook = shown_at_sky(shown, name)
    before = notebook.renders()
    point_at(notebook, *ROAD, click=True)
    notebook.settle(before)
    wait_for_look(notebook, "labelled road")
    assert chosen(notebook, name)


@pytest.mark.parametrize("name", NAMES)
def test_the_keyboard_does_the_same(name, shown):
    notebook = shown_at_sky(shown, name)
    before = notebook.renders()
    point_at(notebook, *SKY, click=True)
    before = notebook.settle(before)
    cursor = notebook.page.locator("button.labkit-mark")
    cursor.focus()
    for _ in range(8):
        notebook.page.keyboard.press("Shift+ArrowDown")
    wait_for_look(notebook, "labelled road")
    notebook.page.keyboard.press("Enter")
    notebook.settle(before)
    assert chosen(notebook, name)
    assert cursor.evaluate("one => one === document.activeElement")


@pytest.mark.parametrize("theme", ["JupyterLab Light", "JupyterLab Dark"])
@pytest.mark.parametrize("name", NAMES)
def test_axe_finds_nothing_critical_in_both_themes(name, theme, shown):
    notebook = shown(name)
    notebook.command("apputils:change-theme", {"theme": theme})
    axe = files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")
    notebook.page.evaluate(axe)
    found = notebook.page.evaluate("axe.run('.labkit-explorer')")
    assert len(found["passes"]) > 5, "axe looked at nothing"
    critical = [
        (one["id"], [node["html"] for node in one["nodes"]])
        for one in found["violations"]
        if one["impact"] == "critical"
    ]
    assert critical == []


def test_a_line_is_copied_and_a_picture_saved(shown, runs, tmp_path):
    notebook, explorer = shown("compare"), explorer_of("compare", runs)
    notebook.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    line = notebook.page.locator(".labkit-line code").first.inner_text()
    notebook.page.locator(".labkit-copy").first.click()
    assert notebook.page.evaluate("navigator.clipboard.readText()") == line
    with notebook.page.expect_download() as download:
        notebook.page.locator('.labkit-explorer button:text-is("Save picture")').click()
    state = replace(explorer.state, category="road")
    assert download.value.path().read_bytes() == view_png(explorer.draw(state))


def test_two_predictions_are_swiped_and_take_turns(shown):
    notebook = shown("compare")
    over = notebook.page.locator(".labkit-over")
    notebook.page.locator(".labkit-swipe input").fill("20")
    assert "20%" in over.evaluate("one => one.style.clipPath")
    button = notebook.page.locator(".labkit-swipe button")
    button.press("Enter")
    assert button.inner_text() == "Stop"
    notebook.page.wait_for_function(
        "() => document.querySelector('.labkit-over').style.clipPath.includes('100%')",
        polling=lab.POLL,
    )
    button.press("Enter")
    assert "20%" in over.evaluate("one => one.style.clipPath")


def upload(notebook, label, name, content):
    button = notebook.page.locator(f'.labkit-explorer .widget-upload:has-text("{label}")')
    with notebook.page.expect_file_chooser() as chooser:
        button.click()
    chooser.value.set_files({"name": name, "mimeType": "image/png", "buffer": content})


@pytest.mark.parametrize("name", OF_FRAMES)
def test_an_own_image_takes_the_frame_s_place_and_a_bad_file_is_explained(name, shown):
    notebook = shown(name)
    before, frames = notebook.renders(), notebook.pictures()
    upload(notebook, "own image", "mine.png", png(np.full((40, 80, 3), 90, np.uint8)))
    before = notebook.settle(before)
    assert notebook.pictures()[0] != frames[0]
    upload(notebook, "its label", "ids.png", png(np.zeros((7, 7), np.uint8)))
    notebook.page.wait_for_selector("text=expected the picture's, (40, 80)")
    upload(notebook, "its label", "ids.png", png(np.zeros((40, 80), np.uint8)))
    before = notebook.settle(before)
    upload(notebook, "own image", "mine.png", b"no picture")
    notebook.page.wait_for_selector("text=neither PNG nor JPEG")
    notebook.page.locator('.labkit-explorer button:has-text("frames")').click()
    notebook.settle(before)
    assert notebook.pictures()[0] == frames[0]


def test_noise_levels_are_played_by_keyboard_and_kept_as_a_gif(shown):
    notebook = shown("noising")
    notebook.page.locator('.labkit-explorer button:text-is("Play through noise levels")').press(
        "Enter"
    )
    caption = notebook.page.locator(".labkit-film figcaption")
    notebook.page.wait_for_selector("text=Pixel noise std 0:")
    notebook.slider("level").focus()
    for _ in range(3):
        notebook.page.keyboard.press("ArrowRight")
    notebook.page.wait_for_selector("text=Pixel noise std 0.03:")
    notebook.page.locator(".widget-play button").first.press("Enter")
    notebook.page.wait_for_selector("text=Pixel noise std 2:")  # the last
    assert "The best thresholds read" in caption.inner_text()
    with notebook.page.expect_download() as download:
        notebook.page.locator('.labkit-explorer button:text-is("Save GIF")').click()
    assert download.value.path().read_bytes().startswith(b"GIF89a")


def test_the_console_holds_no_error(shown):
    usual = set(shown("empty").errors)
    assert {text for name in NAMES for text in shown(name).errors} - usual == set()
