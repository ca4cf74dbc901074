"""Figures of a study, from tables made by hand."""

import itertools

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from labkit.plots import study as plots
from labkit.plots import study_lines
from labkit.plots.colours import FAMILIES, row_styles
from labkit.plots.study_maps import class_gains_figure, noise_diagram_figure, overview_figure

LABELS = ("dataset", "teacher_network", "student_network", "noise")


@pytest.fixture(autouse=True)
def no_figure_left():
    yield
    plt.close("all")


@pytest.fixture
def gains():
    """Three lines over alone, of which the last has no run, and one over another student."""
    lines = [
        ("of plain", "plain", "alone", 3, -0.9, "0: -1.0, 1: -0.9, 2: -0.8"),
        ("of assisted", "assisted", "alone", 1, 0.8, "0: +0.8"),
        ("waiting", "", "alone", 0, np.nan, ""),
        ("of assisted", "assisted", "of plain", 3, 1, "0: +1.0, 1: +1.0, 2: +1.0"),
    ]
    columns = ["method", "taught_by", "over", "n", "gain", "by_seed"]
    table = pd.DataFrame(lines, columns=columns).assign(**dict.fromkeys(LABELS, ""))
    table["reads"] = table["over_reads"] = "image"
    table["t_low"], table["t_high"] = table.gain - 1.5, table.gain + 1.5
    table.loc[table.n < 2, ["t_low", "t_high"]] = np.nan
    table["train_frames"], table["pixels"] = 400.0, 20.0
    for region in ("ci", "boundary", "interior"):
        table[f"{region}_low"], table[f"{region}_high"] = table.gain - 0.5, table.gain + 0.5
        table[f"{region}_gain"] = table.gain
    return table


def texts(artists):
    return [text.get_text() for text in artists]


def test_a_forest_has_a_panel_per_baseline_and_a_row_per_student(gains):
    figure = plots.gains_figure(gains)
    figure.canvas.draw()
    assert [axis.get_title(loc="left") for axis in figure.axes] == ["over alone", "over of plain"]
    first = figure.axes[0]
    assert texts(first.get_yticklabels()) == ["of plain", "of assisted"]  # "waiting" has no run
    assert texts(first.texts) == ["-0.9  (n 3)", "+0.8  (n 1)"]
    dots = [line for line in first.lines if line.get_marker() == "o"]
    rings = [line.get_markerfacecolor() == "white" for line in dots]
    assert rings == [False, True]  # one seed: an open ring
    assert [dot.get_color() for dot in dots] == [FAMILIES[k][0] for k in ("plain", "assisted")]
    bars = [bar.get_segments()[0] for bar in first.collections]
    ends = [bar[:, 0].tolist() for bar in bars[:3]]
    assert ends == [[-1.4, -0.4], [-2.4, 0.6], pytest.approx([0.3, 1.3])]  # bootstrap, then t-test
    assert not len(bars[3])  # of one seed
    assert [bar.get_linewidth()[0] for bar in first.collections] == [3, 1, 3, 1]


def test_a_forest_of_teachers_names_what_the_other_side_reads(gains):
    figure = plots.gains_figure(gains[:1].assign(over_reads="foreign_label", taught_by=""))
    assert figure.axes[0].get_title(loc="left") == "over alone, foreign label"


def test_class_gains_name_every_class_and_set_sure_ones_in_bold(gains):
    names = ("road", "car", "fence")
    table = pd.concat([gains[:2].assign(**{"class": name}) for name in names], ignore_index=True)
    table.loc[table["class"] == "fence", ["gain", "ci_low", "ci_high"]] = np.nan
    table.loc[table["class"] == "car", "ci_low"] = -5.0
    table.loc[table["class"] == "car", "ci_high"] = 5.0
    figure = class_gains_figure(table)
    figure.canvas.draw()
    axis = figure.axes[0]
    assert texts(axis.get_yticklabels()) == ["road (20 %)", "car (20 %)", "fence (20 %)"]
    assert texts(axis.get_xticklabels()) == ["of plain", "of assisted"]
    assert texts(axis.texts) == ["-0.9", "+0.8", "-0.9", "+0.8", "absent", "absent"]
    assert [text.get_weight() for text in axis.texts][:4] == ["bold", "bold", "normal", "normal"]


def test_of_many_classes_those_that_changed_most_are_drawn(gains):
    many = [gains[:1].assign(**{"class": f"c{i}", "gain": float(i)}) for i in range(60)]
    figure = class_gains_figure(pd.concat(many, ignore_index=True))
    labels = texts(figure.axes[0].get_yticklabels())
    assert labels == [f"c{i} (20 %)" for i in range(20, 60)]


def test_of_many_methods_classes_go_across(gains):
    methods = [
        gains[:1].assign(method=f"m{i}", gain=float(i), **{"class": name})
        for i in range(13)
        for name in ("road", "car")
    ]
    figure = class_gains_figure(pd.concat(methods, ignore_index=True))
    axis = figure.axes[0]
    assert texts(axis.get_xticklabels()) == ["road (20 %)", "car (20 %)"]
    assert texts(axis.get_yticklabels()) == [f"m{i}" for i in range(13)]
    assert texts(axis.texts)[2:4] == ["+1.0", "+1.0"]


def test_regions_show_every_row_over_its_first_baseline(gains):
    figure = plots.region_gains_figure(gains)
    figure.canvas.draw()
    axis = figure.axes[0]
    assert texts(axis.get_yticklabels()) == ["of plain", "of assisted"]
    assert texts(axis.get_legend().get_texts()) == ["inside", "near boundaries"]


def test_gain_over_training_size_is_a_line_per_method(gains):
    table = pd.concat([gains.assign(train_frames=float(size)) for size in (50, 100, 400)])
    figure = study_lines.size_gains_figure(table)
    figure.canvas.draw()
    assert texts(figure.axes[0].get_xticklabels()) == ["50", "100", "400"]
    assert texts(figure.legends[0].get_texts()) == ["of plain", "of assisted"]
    bars = figure.axes[0].collections  # of each method: bootstrap, then t-test
    assert [bar.get_linewidth()[0] for bar in bars] == [3, 1, 3, 1]
    plain, assisted = bars[1::2]  # the latter of one seed
    assert [line[:, 1].tolist() for line in plain.get_segments()] == 3 * [[-2.4, 0.6]]
    assert not any(map(len, assisted.get_segments()))


def test_gain_over_area_is_a_line_per_method_with_the_areas_in_order(gains):
    areas = ("below 0.25", "0.25 to 1", "16 and more")
    table = pd.concat([gains[:2].assign(area=area) for area in areas])
    table.loc[(table.area == "0.25 to 1") & (table.method == "of plain"), "gain"] = np.nan
    figure = study_lines.area_gains_figure(table)
    figure.canvas.draw()
    axis = figure.axes[0]
    assert texts(axis.get_xticklabels()) == [f"{area}\n(20 %)" for area in areas]
    assert texts(figure.legends[0].get_texts()) == ["of plain", "of assisted"]
    assert axis.get_ylabel() == "gain over alone, points of IoU\n(bar: 95 %, bootstrap)"


def test_learning_curves_have_a_panel_per_role(gains):
    steps = [{"step": step, "miou": 10.0 + step, "low": 9.0, "high": 90.0} for step in (1, 2)]
    row = {"dataset": "streets", "method": "alone", "taught_by": "nobody", "reads": "image"}
    lines = [row | {"role": role} | step for role in ("teacher", "student") for step in steps]
    figure = study_lines.learning_curves_figure(pd.DataFrame(lines))
    figure.canvas.draw()
    assert [axis.get_title() for axis in figure.axes] == ["teachers", "students"]
    assert figure.axes[1].lines[0].get_color() == FAMILIES["nobody"][0]
    assert figure.axes[0].lines[0].get_color() == FAMILIES["plain"][0]


def test_the_noise_diagram_writes_every_value_and_hatches_what_is_missing():
    cells = pd.DataFrame({"class_std": [0.3, 0.3, 1, 1], "pixel_std": [0, 0.1, 0, 0.1]})
    cells = cells.assign(miou=[60.0, 61, 62, np.nan], reliance=[1.0, 2, 3, np.nan])
    figure = noise_diagram_figure(cells, title="streets")
    figure.canvas.draw()
    score, reliance = figure.axes[:2]
    assert texts(score.texts) == ["60.0", "61.0", "62.0", "–"]
    assert texts(reliance.texts) == ["1.0", "2.0", "3.0", "–"]
    assert [patch.get_hatch() for patch in score.patches] == ["////"]
    assert texts(score.get_xticklabels()) == ["0", "0.1"]


def test_an_overview_has_a_row_per_student_and_its_gain(gains):
    students = pd.DataFrame({"method": ["alone", "of plain", "of assisted"]})
    students = students.assign(
        teacher_mean=[np.nan, 60.0, 70.0],
        teacher_reliance_mean=[np.nan, np.nan, 17.0],
        last_mean=[60.0, 59.1, 60.8],
    )
    figure = overview_figure(students, gains)
    figure.canvas.draw()
    columns = [texts(axis.texts) for axis in figure.axes]
    assert columns[0] == ["", "60.0", "70.0"]
    assert columns[2] == ["60.0", "59.1", "60.8"]
    assert columns[3] == ["", "-0.9", "+0.8"]


def test_a_row_s_first_baseline_is_not_replaced_by_one_that_waits_for_its_runs(gains):
    sized = gains[gains.method == "of assisted"][:1].assign(train_size="50", train_frames=50.0)
    waiting = sized.assign(over="compute-matched", gain=np.nan, train_frames=np.nan)
    first = plots.first_baseline(pd.concat([sized, waiting], ignore_index=True))
    assert list(first.over) == ["alone"]


def test_students_of_assisted_teachers_stand_over_the_use_of_the_label(gains):
    students = pd.DataFrame({"method": ["alone", "of plain", "of assisted"]}).assign(
        teacher_mean=[np.nan, 60.0, 70.0],
        teacher_reliance_mean=[np.nan, np.nan, 17.0],
        teacher_label_gain_mean=[np.nan, np.nan, 9.0],
    )
    figure = plots.label_use_figure(students, gains)
    figure.canvas.draw()
    places = [axis.collections[0].get_offsets().tolist() for axis in figure.axes]
    assert places == [[[17.0, 0.8]], [[9.0, 0.8]], [[70.0, 0.8]]]
    assert texts(figure.legends[0].get_texts()) == ["1 of assisted"]


def test_students_of_one_of_several_networks_find_their_gain(gains):
    gains = pd.concat([gains.assign(student_network=name) for name in ("unet", "fpn")])
    students = pd.DataFrame({"method": ["of assisted"], "student_network": ["fpn"]}).assign(
        teacher_mean=70.0, teacher_reliance_mean=17.0, teacher_label_gain_mean=9.0
    )
    points = plots.label_use(students, gains)
    assert points.gain.tolist() == [0.8]


def test_names_hold_what_rows_of_a_method_differ_in_and_no_mathtext(gains):
    assert plots.row_names(gains)[:2] == ["of plain", "of assisted"]
    networks = ["unet", "pspnet", "unet", "unet"]
    other = gains.assign(student_network=networks, noise=["", "low", "", ""])
    assert plots.row_names(other)[:2] == ["of plain (unet)", "of assisted (pspnet)"]
    assert plots.row_names(other[:3]) == ["of plain", "of assisted", "waiting"]
    assert plots.row_names(gains.assign(method="a$b$"))[0] == r"a\$b\$"


def test_no_two_of_many_rows_look_alike():
    for kind in FAMILIES:
        looks = [(style["color"], style["marker"]) for style in row_styles([kind] * 32)]
        assert not [pair for pair in itertools.combinations(looks, 2) if pair[0] == pair[1]]
