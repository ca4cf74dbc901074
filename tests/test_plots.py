import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch

from labkit import plots
from labkit.datasets import dataset_info
from labkit.lnm import LabelNoising
from labkit.streams import stream_generator

INFO = dataset_info("streets")


@pytest.fixture(autouse=True)
def no_figure_left():
    yield
    plt.close("all")


def test_colours_are_the_palettes_and_void_is_black():
    ids = torch.tensor([[0, 7, 255]])
    np.testing.assert_array_equal(plots.colourise(ids, INFO)[0], [INFO.palette[0], INFO.palette[7], (0, 0, 0)])


def test_an_error_map_is_light_where_right_dark_where_wrong_white_where_void():
    shades = plots.error_map(torch.tensor([[1, 1, 1]]), torch.tensor([[1, 2, 255]]))[0].mean(-1)
    assert shades[1] < 100 < 200 < shades[0] < shades[2] == 255


def test_one_limit_serves_both_branches():
    image, label = torch.rand(2, 8, 8), 100 * torch.rand(2, 8, 8)
    assert plots.shared_limit(image, label) == plots.shared_limit(label, image) > 50
    assert plots.shared_limit(torch.full((1, 2, 2), torch.nan)) == 1.0


def test_the_contribution_figure_draws_both_branches_on_one_scale():
    outline = torch.zeros(32, 64, dtype=torch.bool)
    outline[8:16, 8:16] = True
    image = torch.zeros(3, 32, 64, dtype=torch.uint8)
    maps = torch.rand(1, 16, 32), 0.01 * torch.rand(1, 16, 32)
    figure = plots.contribution_figure([image], [outline], *maps, torch.tensor([0.01]), category="car")
    limits = {axes.get_title(): axes.images[0].get_clim() for axes in figure.axes if axes.images and axes.get_title()}
    assert limits["through the image"] == limits["through the label"]
    assert limits["label share"] == (0, 1)


def test_a_class_that_is_predicted_nowhere_draws_without_a_warning():
    nothing = torch.full((1, 16, 32), torch.nan)
    outline = torch.eye(32, 64).bool()
    figure = plots.contribution_figure(
        [torch.zeros(3, 32, 64, dtype=torch.uint8)], [outline], nothing, nothing, torch.tensor([torch.nan]), category="car"
    )
    figure.canvas.draw()


def test_the_noising_figure_shows_every_class_and_void():
    target = torch.randint(0, 8, (1, 32, 64), generator=torch.Generator().manual_seed(0))
    noising = LabelNoising(num_classes=8)
    steps = noising.steps(target, generator=stream_generator("t", 0))
    weights = noising.draw_weights(1, generator=stream_generator("t", 0))[0, 0]
    figure = plots.noising_figure(torch.zeros(3, 32, 64, dtype=torch.uint8), target[0], steps, weights, INFO)
    titles = [axes.get_title() for part in figure.subfigs for axes in part.axes]
    assert {*INFO.class_names, "void", "image", "label"} <= set(titles)


def test_curves_draw_every_term_and_reading():
    rows = [
        {"step": 1, "seconds": 0.1, "learning_rate": 1.0, "loss": 3.0, "ce_a": 1.0, "ce_b": 2.0},
        {"step": 1, "seconds": 0.2, "miou": {"true_label": 10.0, "foreign_label": 9.0}},
    ]
    drawn = {axes.get_label(): [line.get_label() for line in axes.lines] for axes in plots.curves_figure({"assisted": rows}).axes}
    assert drawn["terms"] == ["assisted: ce_a", "assisted: ce_b"]
    assert drawn["miou"] == ["assisted: true label", "assisted: foreign label"]
    assert drawn["reliance"][:2] == ["assisted: reliance", "assisted: label gain"]
    rows[1]["miou"] = {"image": 10.0}
    assert {axes.get_label() for axes in plots.curves_figure({"plain": rows}).axes} == {"terms", "miou"}


def opinions(**changed):
    table = pd.DataFrame({"class": ["road", "car", "all classes"], "layercam": [10.0, 20, 15], "shapley": [30.0, 40, 35]})
    return table.assign(removal=[50.0, 60, 55], layercam_std=[1.0, np.nan, 2], **changed)


def test_opinions_stand_side_by_side_and_absent_classes_are_named():
    (axes,) = plots.opinions_figure(opinions()).axes
    assert [text.get_text() for text in axes.get_yticklabels()] == ["all classes", "car", "road"]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["LayerCAM at the stem", "Shapley value", "removal"]
    table = opinions()
    table.loc[1, ["layercam", "shapley", "removal"]] = np.nan
    assert [text.get_text() for text in plots.opinions_figure(table).axes[0].texts] == ["absent"]


def test_reliance_is_drawn_over_both_kinds_of_noise_with_training_s_value():
    rows = [{"varied": varied, "value": value, "trained": value == 1} for varied in ("pixel_std", "label_scale") for value in (0, 1, 3)]
    columns = {name: np.arange(6.0) for name in ("reliance", "label_gain", "layercam", "shapley", "removal")}
    figure = plots.reliance_figure(pd.DataFrame(rows).assign(**columns))
    figure.canvas.draw()
    assert [axes.get_xlabel().split(",")[0] for axes in figure.axes[2:]] == ["pixel noise std", "label scale"]
    assert all("as in training" in [line.get_label() for line in axes.lines] for axes in figure.axes)


def test_layers_and_sanity_use_one_scale_each():
    image, outline = torch.zeros(3, 32, 64, dtype=torch.uint8), torch.zeros(32, 64, dtype=torch.bool)
    outline[8:16, 8:16] = True
    layers = plots.layers_figure(
        [image], [outline], {"stem": torch.rand(1, 32, 64), "deep": 0.1 * torch.rand(1, 32, 64)}, torch.rand(1, 32, 64)
    )
    limits = {axes.images[0].get_clim() for axes in layers.axes if axes.get_title() in ("stem", "deep", "all layers")}
    assert limits == {(0, 1)}
    rows = [(f"step {i}", 10.0**i * torch.rand(16, 32), torch.rand(16, 32), 1 - i / 20, 1 - i / 10) for i in range(12)]
    figure = plots.sanity_figure(outline, {"weights": rows, "label": rows[:3]})
    figure.canvas.draw()
    shown = [axes for part in figure.subfigs for axes in part.axes if axes.images]
    assert {axes.images[0].get_clim() for axes in shown} == {(0, 1)}
    titles = [axes.get_title() for axes in shown if axes.get_title()]
    assert titles[0] == "step 0"
    assert "step 11" in titles


def test_the_histogram_names_every_class_that_occurs():
    target = torch.tensor([[0, 6, 255, 255]])
    figure = plots.code_histogram_figure(torch.tensor([[0.1, 0.2, 0.3, 0.4]]), target, INFO)
    assert [text.get_text() for text in figure.axes[0].texts] == ["road", "car", "void"]
