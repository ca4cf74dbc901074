import matplotlib.pyplot as plt
import numpy as np
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
    left, right = plots.curves_figure({"assisted": rows}).axes
    assert [line.get_label() for line in left.lines] == ["assisted: ce_a", "assisted: ce_b"]
    assert [line.get_label() for line in right.lines] == ["assisted: true label", "assisted: foreign label"]


def test_the_histogram_names_every_class_that_occurs():
    target = torch.tensor([[0, 6, 255, 255]])
    figure = plots.code_histogram_figure(torch.tensor([[0.1, 0.2, 0.3, 0.4]]), target, INFO)
    assert [text.get_text() for text in figure.axes[0].texts] == ["road", "car", "void"]
