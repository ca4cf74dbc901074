import itertools

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from labkit import plots
from labkit.plots.study import row_names, style
from labkit.studies import LABELS


@pytest.fixture(autouse=True)
def no_figure_left():
    yield
    plt.close("all")


@pytest.fixture
def gains():
    """Three lines over the twin, of which the last waits, and one over another student."""
    lines = [
        ("of plain", "alone", 3, -0.9),
        ("of assisted", "alone", 1, 0.8),
        ("waiting", "alone", 0, np.nan),
        ("of assisted", "of plain", 3, 1),
    ]
    table = pd.DataFrame(lines, columns=["method", "over", "n", "gain"]).assign(**dict.fromkeys(LABELS[:-1], ""))
    table["by_seed"] = ["-1.0 -0.9 -0.8", "+0.8", "", "+1.0 +1.0 +1.0"]
    for region in ("ci", "boundary", "interior"):
        table[f"{region}_low"], table[f"{region}_high"], table[f"{region}_gain"] = table.gain - 0.5, table.gain + 0.5, table.gain
    return table


def titles(figure):
    return [axes.get_title(loc="left") for axes in figure.axes]


def test_a_forest_has_a_panel_per_twin_and_a_row_per_student(gains):
    figure = plots.gains_figure(gains)
    figure.canvas.draw()
    assert titles(figure) == ["over alone", "over of plain"]
    first = figure.axes[0]
    assert [text.get_text() for text in first.get_yticklabels()] == ["of plain", "of assisted", "waiting"]
    assert [text.get_text() for text in first.texts] == ["-0.9  (n 3)", "+0.8  (n 1)", "–  (n 0)"]
    dots = [line for line in first.lines if line.get_marker() == "o"]
    assert [line.get_markerfacecolor() == "white" for line in dots] == [False, True]  # one seed: an open ring


def test_class_gains_name_every_class_and_the_absent_one(gains):
    table = pd.concat([gains[:2].assign(**{"class": name}) for name in ("road", "car", "fence")], ignore_index=True)
    table.loc[table["class"] == "fence", ["gain", "ci_low", "ci_high"]] = np.nan
    figure = plots.class_gains_figure(table)
    figure.canvas.draw()
    (place,) = figure.axes
    assert [text.get_text() for text in place.get_xticklabels()] == ["road", "car", "fence"]
    assert [(text.get_text(), text.get_position()[0]) for text in place.texts] == [("absent", 2)]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["of plain", "of assisted"]


def test_regions_show_every_row_over_its_first_twin(gains):
    figure = plots.region_gains_figure(gains)
    figure.canvas.draw()
    words = [text.get_text() for text in figure.legends[0].get_texts()]
    assert words == ["as much near boundaries as inside", "of plain over alone", "of assisted over alone"]
    assert figure.axes[0].get_xlim() == figure.axes[0].get_ylim()


def test_the_noise_diagram_writes_every_value_and_hatches_what_is_missing():
    cells = pd.DataFrame({"class_std": [0.3, 0.3, 1, 1], "pixel_std": [0, 0.1, 0, 0.1]})
    cells = cells.assign(miou=[60.0, 61, 62, np.nan], reliance=[1.0, 2, 3, np.nan])
    figure = plots.noise_diagram_figure(cells, title="streets")
    figure.canvas.draw()
    score, reliance = figure.axes[:2]
    assert [text.get_text() for text in score.texts] == ["60.0", "61.0", "62.0", "–"]
    assert [text.get_text() for text in reliance.texts] == ["1.0", "2.0", "3.0", "–"]
    assert [patch.get_hatch() for patch in score.patches] == ["////"]
    assert [text.get_text() for text in score.get_xticklabels()] == ["0", "0.1"]


def test_names_tell_what_rows_differ_in(gains):
    assert row_names(gains)[:2] == ["of plain", "of assisted"]
    networks = ["unet", "pspnet", "unet", "unet"]
    assert row_names(gains.assign(student_network=networks, noise=["", "low", "", ""]))[:2] == ["of plain (unet)", "of assisted (pspnet)"]


def test_no_two_of_many_rows_look_alike():
    looks = [(style(number)["color"], style(number)["marker"]) for number in range(64)]
    assert not [pair for pair in itertools.combinations(looks, 2) if pair[0] == pair[1]]
