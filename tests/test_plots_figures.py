"""Figures are drawn from plain values, without a warning, and hold what they claim."""

from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch

from labkit import plots
from labkit.datasets import dataset_info
from labkit.method import LabelNoising, stream_generator
from labkit.plots.contribution import local_share, stage_names
from labkit.plots.frames import frame_miou

INFO = dataset_info("streets")
IMAGE = torch.zeros(3, 32, 64, dtype=torch.uint8)


@pytest.fixture(autouse=True)
def no_figure_left():
    yield
    plt.close("all")


@pytest.fixture
def outline():
    region = torch.zeros(32, 64, dtype=torch.bool)
    region[8:16, 8:16] = True
    return region


def drawn_titles(figure):
    return [axes.get_title() for axes in figure.axes if axes.images]


def sizes(axes):
    return {
        tuple(np.round(one.get_position().size * one.figure.get_size_inches(), 3)) for one in axes
    }


def test_colours_are_the_palettes_and_void_is_black():
    ids = torch.tensor([[0, 7, 255]])
    expected = [INFO.palette[0], INFO.palette[7], (0, 0, 0)]
    np.testing.assert_array_equal(plots.colourise(ids, INFO)[0], expected)


def test_the_miou_of_a_frame_is_over_its_labelled_pixels_and_present_classes():
    prediction, target = torch.tensor([[0, 0, 1, 2]]), torch.tensor([[0, 1, 1, 255]])
    assert frame_miou(prediction, target, 4) == pytest.approx(50)


def test_the_contribution_figure_draws_both_branches_on_one_scale_in_equal_panels(outline):
    figure = plots.contribution_figure(
        [IMAGE, torch.zeros(3, 40, 48, dtype=torch.uint8)],
        [outline, torch.zeros(40, 48, dtype=torch.bool)],
        [torch.rand(16, 32), torch.rand(20, 24)],
        [0.01 * torch.rand(16, 32), torch.rand(20, 24)],
        [0.01, 0.5], [0.001, float("nan")], category="car", limit=0.8,
    )  # fmt: skip
    figure.canvas.draw()
    panels = {axes.get_title(): axes for axes in figure.axes if axes.images and axes.get_title()}
    limits = {title: axes.images[0].get_clim() for title, axes in panels.items()}
    assert limits["through the image"] == limits["through the label"] == (0, 0.8)
    assert limits["label share"] == (0, 1)
    assert len(sizes(panels.values())) == 1


def test_a_share_needs_evidence():
    share = local_share(torch.tensor([[3.0, 0.01]]), torch.tensor([[1.0, 0.01]]), 1.0)
    np.testing.assert_allclose(share, [[0.25, np.nan]])


def test_a_class_that_is_predicted_nowhere_draws_without_a_warning(outline):
    nothing = torch.full((16, 32), torch.nan)
    figure = plots.contribution_figure(
        [IMAGE],
        [outline],
        [nothing],
        [nothing],
        [float("nan")],
        [float("nan")],
        category="car",
        limit=1.0,
    )
    figure.canvas.draw()


def test_the_noising_figure_shows_every_class_and_void():
    target = torch.randint(0, 8, (1, 32, 64), generator=torch.Generator().manual_seed(0))
    noising = LabelNoising(num_classes=8)
    steps = noising.steps(target, generator=stream_generator("t", 0))
    codes = noising.draw_codes(1, generator=stream_generator("t", 0))[0, 0]
    figure = plots.noising_figure(IMAGE, target[0], steps, codes, INFO)
    titles = [axes.get_title() for part in figure.subfigs for axes in part.axes]
    assert {*INFO.class_names, "void", "image", "label"} <= set(titles)


def test_predictions_carry_the_miou_of_their_frame():
    target = torch.zeros(32, 64, dtype=torch.int64)
    predictions = {"right": [target], "wrong": [target + 1]}
    figure = plots.predictions_figure([IMAGE], [target], predictions, INFO)
    first = ["image 1", "label; the others with their mIoU"]
    assert drawn_titles(figure) == [*first, "right: 100 %", "wrong: 0 %"]
    assert len(sizes(axes for axes in figure.axes if axes.images)) == 1


def test_the_hero_shows_image_noised_label_and_what_follows_from_them():
    target = torch.zeros(32, 64, dtype=torch.int64)
    predictions = {"teacher with label": target, "teacher without": target + 1, "student": target}
    figure = plots.hero_figure(IMAGE, target, torch.rand(32, 64), predictions, INFO)
    titles = drawn_titles(figure)
    assert titles[0] == "image"
    assert titles[3:] == [
        "teacher with label: mIoU 100 %",
        "teacher without: mIoU 0 %",
        "student: mIoU 100 %",
    ]


def test_curves_draw_every_term_and_reading_of_runs_however_short():
    rows = [
        {
            "step": 1,
            "seconds": 0.1,
            "learning_rate": 1.0,
            "loss": 3.0,
            "ce_a": 1.0,
            "ce_b": 2.0,
            "waiting": 0.1,
            "images_per_second": 9.0,
        },
        {"step": 1, "seconds": 0.2, "miou": {"true_label": 10.0, "foreign_label": 9.0}},
    ]
    plain = [rows[0] | {"ce": 1.0}, {"step": 1, "seconds": 0.2, "miou": {"image": 10.0}}]
    figure = plots.curves_figure({"assisted": rows, "plain": plain}, kinds={"assisted": "assisted"})
    figure.canvas.draw()
    scores, reliance, *terms = figure.axes
    assert [line.get_label() for line in scores.lines] == [
        "assisted, true label",
        "assisted, foreign label",
        "plain",
    ]
    assert [line.get_label() for line in reliance.lines][:2] == [
        "assisted, reliance",
        "assisted, label gain",
    ]
    assert [line.get_label() for line in terms[0].lines] == ["ce_a", "ce_b"]
    for line in [*scores.lines, *terms[0].lines]:
        assert line.get_marker() != "None", "a single point is visible by its marker alone"
    assert len(plots.curves_figure({"plain": plain}).axes) == 2


def label_shares(**changed):
    columns = {"layercam": [10.0, 20, 15], "shapley": [30.0, 40, 35], "removal": [50.0, 60, 55]}
    table = pd.DataFrame({"class": ["road", "car", "all classes"], **columns})
    return table.assign(layercam_std=[1.0, np.nan, 2], **changed)


def test_label_shares_stand_side_by_side_and_absent_classes_are_named():
    figure = plots.label_share_figure(label_shares())
    (axes,) = figure.axes
    assert [text.get_text() for text in axes.get_yticklabels()] == ["all classes", "car", "road"]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [
        "LayerCAM at the stem",
        "Shapley values",
        "removal",
    ]
    table = label_shares()
    table.loc[1, ["layercam", "shapley", "removal"]] = np.nan
    assert [text.get_text() for text in plots.label_share_figure(table).axes[0].texts] == ["absent"]


def test_the_noise_sweep_marks_training_s_value():
    rows = [
        {"varied": varied, "value": value, "trained": value == 1}
        for varied in ("pixel_std", "label_scale")
        for value in (0, 1, 3)
    ]
    names = ("reliance", "label_gain", "layercam", "shapley", "removal")
    table = pd.DataFrame(rows).assign(**{name: np.arange(6.0) for name in names})
    figure = plots.noise_sweep_figure(table)
    figure.canvas.draw()
    labels = [axes.get_xlabel().split(",")[0] for axes in figure.axes[2:]]
    assert labels == ["pixel noise std", "label scale"]
    for axes in figure.axes:
        assert "as in training" in [line.get_label() for line in axes.lines]


def test_layers_use_one_scale_and_name_the_stem(outline):
    layers = {"encoder.conv1": [torch.rand(32, 64)], "decoder.blocks.1": [0.1 * torch.rand(32, 64)]}
    strides = {"encoder.conv1": 2, "decoder.blocks.1": 4}
    figure = plots.layers_figure([IMAGE], [outline], layers, strides, [torch.rand(32, 64)])
    panels = [axes for axes in figure.axes if axes.images and axes.get_title()]
    titles = [axes.get_title() for axes in panels]
    assert titles == ["frame", "stem\nstride 2", "decoder\nstride 4", "maximum\nof all"]
    assert {axes.images[0].get_clim() for axes in panels[1:]} == {(0, 1)}


def test_the_library_figure_keeps_both_scales(outline):
    library = [{"image": np.random.default_rng(0).random((32, 64)), "label": np.ones((32, 64))}]
    figure = plots.library_figure(
        [IMAGE], [torch.rand(16, 32)], [torch.rand(16, 32)], library, category="car", limit=0.3
    )
    limits = {
        axes.get_title(): axes.images[0].get_clim() for axes in figure.axes if axes.get_title()
    }
    assert limits["ours: image"] == limits["ours: label"] == (0, 0.3)
    assert limits["library: image"] == limits["library: label"] == (0, 1)


class Step(NamedTuple):
    kind: str
    name: str
    image_map: torch.Tensor
    label_map: torch.Tensor
    image: float
    label: float


def test_the_sanity_figure_leads_with_the_correlations_and_draws_ranks(outline):
    steps = [
        Step(
            "weights",
            f"step {i}",
            10.0**i * torch.rand(16, 32),
            torch.rand(16, 32),
            1 - i / 20,
            1 - i / 10,
        )
        for i in range(12)
    ]
    steps += [Step("label", f"part {i}", *steps[0][2:]) for i in range(3)]
    figure = plots.sanity_figure(outline, steps)
    figure.canvas.draw()
    top, *strips = figure.subfigs
    assert [len(axes.lines) for axes in top.axes] == [3, 3]
    shown = [axes for part in strips for axes in part.axes if axes.images]
    assert {axes.images[0].get_clim() for axes in shown} == {(0, 1)}
    titles = [axes.get_title() for axes in shown if axes.get_title()]
    assert titles[0] == "step 0"
    assert {"step 11", "part 2"} <= set(titles)


def test_the_histogram_names_every_class_that_occurs():
    target = torch.tensor([[0, 6, 255, 255]])
    channel = torch.tensor([[0.1, 0.2, 0.3, 0.4]])
    figure = plots.code_histogram_figure(channel, target, INFO)
    assert [text.get_text() for text in figure.axes[0].texts] == ["road", "car", "void"]


def test_layers_are_named_by_their_stage():
    names = ["encoder.model.conv_stem", "encoder.model.blocks.2", "encoder.layer3", "decoder.bn"]
    titles = ["stem", "encoder block 3", "encoder layer 3", "decoder"]
    assert list(stage_names(names).values()) == titles
    twice = ["encoder.stem", "decoder.first", "decoder.second"]
    assert list(stage_names(twice).values()) == ["stem", "decoder.first", "decoder.second"]
    deep = ["encoder.layer3.0", "decoder.bn"]
    assert list(stage_names(deep).values()) == ["encoder layer 3", "decoder"]
