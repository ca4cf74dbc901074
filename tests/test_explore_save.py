"""An explorer's state as a command: the line, run, gives the bytes of the state's picture."""

import io
import shlex
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from labkit import explore
from labkit.cli import app
from labkit.cli.models import Explorer as Choice
from labkit.errors import SettingsError
from labkit.explore.markup import view_html
from labkit.explore.save import (
    EXPLORERS,
    save_picture,
    state_from_options,
    state_options,
    view_png,
)
from labkit.explore.view import panel
from labkit.settings import AttributionSettings, parse_sets
from labkit.training.fit import fit
from tests.explorers import explorer_of, settings_of
from tests.training import teacher

SIZES = {"train_steps": 3, "val_size": 6, "resize": "32x64", "crop_height": 32, "crop_width": 64}
STATES = {
    "noising": (
        {},
        {"pixel_std": 0.3, "label_scale": 1.5, "frame": 299, "seed": 7},
        {"class_codes": "fixed", "void_policy": "zero", "class_std": 0.1 + 0.2},
    ),
    "teacher": (
        {},
        {"frame": 3, "x": 20, "y": 80, "edit": "removed (void)", "errors_of": "zero label"},
        {"pixel_std": 1.25, "seed": 12, "category": "road", "edit": "sky"},
    ),
    "contribution": (
        {},
        {"category": "road", "region": "true", "frame": 2, "noisings": 2},
        {"attribution_layer": "raw", "pixel_std": 0.5, "seed": 3, "region": "true"},
    ),
    "compare": (
        {},
        {"frame": 4, "category": "road", "names": "off", "outlines": "off"},
        {"pick": "A's best of the class", "category": "sky", "confusion": "on"},
    ),
    "distiller": (
        {},
        {"distiller": "at", "shift": 2, "bump": 1.5, "bump_class": "sky", "seed": 3},
        {"distiller": "kd", "temperature": 4.0, "row": 5, "column": 0, "offset": -2.5},
    ),
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("save")
    fit(teacher(folder, score_size="32x64", **SIZES))
    return str(folder)


@pytest.mark.parametrize("name", STATES)
def test_the_line_to_paste_gives_the_picture_s_bytes(name, runs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    explorer = explorer_of(name, runs)
    for number, values in enumerate(STATES[name]):
        state = replace(explorer.state, **values)
        words = shlex.split(explorer.commands(state)["this picture"])
        assert words[:3] == ["labkit", "explore", name]
        words[-1] = f"{number}.png"
        done = CliRunner().invoke(app, words[1:])
        assert done.exit_code == 0, done.output
        assert (tmp_path / f"{number}.png").read_bytes() == view_png(explorer.draw(state))
        assert done.stdout.startswith(f"{number}.png\n")


def test_every_explorer_is_a_command_and_has_states_here():
    assert list(EXPLORERS) == list(STATES) == [one.value for one in Choice]


@pytest.mark.parametrize("name", STATES)
def test_a_state_survives_its_options(name, runs):
    explorer = explorer_of(name, runs)
    for values in STATES[name]:
        state = replace(explorer.state, **values)
        assert state_from_options(explorer, state_options(state)) == state


def test_a_picture_is_as_wide_as_a_page_and_holds_every_panel(runs):
    explorer = explorer_of("teacher", runs)
    view = explorer.draw(explorer.state)
    with Image.open(io.BytesIO(view_png(view))) as picture:
        assert round(picture.info["dpi"][0]) == 300
        assert 6 < picture.width / 300 < 7.2
        longer = picture.height
    fewer = explore.View(view.panels[:2], view.readout)
    with Image.open(io.BytesIO(view_png(fewer))) as picture:
        assert picture.height < longer / 2


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"frme": "1"}, "did you mean frame?"),
        ({"frame": "6"}, "expected a number from 0 to 5"),
        ({"seed": "x"}, "got 'x'; expected a whole number"),
        ({"frame": "1.5"}, "got '1.5'; expected a whole number"),
        ({"pixel_std": "nan"}, "expected a number from 0 to 2"),
        ({"category": "p"}, "several begin so: pavement, pole, person"),
        ({"category": "bus"}, "known:"),
        ({"runs": "nowhere at all"}, "no complete assisted teacher"),
    ],
)
def test_a_value_outside_its_control_is_refused(values, words, runs, tmp_path):
    with pytest.raises((SettingsError, ValueError)) as caught:
        save_picture("teacher", {"runs": runs} | values, tmp_path / "x.png")
    assert words in str(caught.value)
    assert not (tmp_path / "x.png").exists()


def test_the_figures_of_a_small_teacher_are_those_of_its_folder(tmp_path):
    run = teacher(tmp_path / "small", score_size="32x64", **SIZES | {"train_steps": 1})
    fit(run)
    explorer = explore.contribution(AttributionSettings(runs=str(tmp_path)))
    line = shlex.split(explorer.commands(explorer.state)["all figures"])
    assert f"runs={tmp_path / 'small'}" in line


def test_the_beginning_of_a_run_s_id_is_enough(runs):
    explorer = explorer_of("teacher", runs)
    assert state_from_options(explorer, {"run": "streets-teacher"}).run == explorer.state.run


def test_what_a_click_does_stands_in_a_live_page_alone(runs):
    explorer = explorer_of("teacher", runs)
    view = explorer.draw(explorer.state)
    (label,) = [one for one in view.panels if one.title == "label"]
    assert label.hint in view_html(view, name="teacher", renders=1, live=True)
    assert label.hint not in view_html(view, name="teacher", renders=1)
    without = replace(view, panels=tuple(replace(one, hint="") for one in view.panels))
    assert view_png(view) == view_png(without)


def test_a_picture_to_swipe_is_saved_with_both_halves():
    left, right = (np.full((40, 60, 3), value, np.uint8) for value in (20, 220))
    swiped = replace(panel("A over B", left, alt="1"), over=panel("B", right, alt="1").content)
    with Image.open(io.BytesIO(view_png(explore.View((swiped,), ())))) as picture:
        row = np.asarray(picture.convert("L"))[400]
    assert (row[80:480] == 20).all()
    assert (row[560:960] == 220).all()


@pytest.mark.parametrize(
    ("name", "settings", "values"),
    [
        ("noising", {"seed": 1234, "class_std": 5, "label_channels": 9}, {}),
        ("contribution", {"seed": 1234, "noisings": 17}, {}),
        ("teacher", {}, {"seed": 1234}),
        ("distiller", {"seed": 1234}, {}),
    ],
)
def test_values_of_a_notebook_beyond_a_slider_are_drawn_by_the_line(
    name, settings, values, runs, tmp_path
):
    explorer = getattr(explore, name)(settings_of(name)(runs=runs, **settings))
    state = replace(explorer.state, **values)
    words = shlex.split(explorer.commands(state)["this picture"])
    path = tmp_path / "x.png"
    save_picture(name, parse_sets(words[4:-2:2]), path)
    assert path.read_bytes() == view_png(explorer.draw(state))


def test_only_a_png_is_saved(tmp_path):
    with pytest.raises(SettingsError, match=r"expected the name of a \.png file"):
        save_picture("teacher", {}, tmp_path / "picture.jpg")
