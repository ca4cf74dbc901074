"""The contact sheet: borders and shares by hand, and the command that writes it."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from labkit.cli import app
from labkit.datasets import dataset_info
from labkit.datasets.show import SheetFrame, sheet_frames
from labkit.plots.sheet import borders, mean_shares, outlined, sheet_figure
from tests import trees

GREY = torch.full((3, 4, 480), 100, dtype=torch.uint8)


def test_borders_are_two_pixels_on_either_side():
    ids = np.zeros((1, 8), np.uint8)
    ids[:, 4:] = 255
    assert borders(ids).tolist() == [[False, False, True, True, True, True, False, False]]
    assert borders(ids.T).tolist() == [[one] for one in borders(ids)[0].tolist()]
    assert not borders(np.ones((5, 5), np.uint8)).any()


def test_regions_have_their_class_s_colour_and_void_is_white():
    info, target = dataset_info("streets"), torch.zeros(4, 480, dtype=torch.int64)
    target[:, 240:] = 255
    drawn = outlined(GREY, target, info)
    assert drawn.shape == (4, 480, 3)
    assert drawn[0, 239].tolist() == list(info.palette[0])
    assert drawn[0, 240].tolist() == [255, 255, 255]
    assert drawn[0, 0].tolist() == [int(0.7 * 100 + 0.3 * c) for c in info.palette[0]]
    assert drawn[0, 479].tolist() == [int(0.7 * 100 + 0.3 * 255)] * 3


def test_shares_are_a_mean_over_frames_with_labelled_pixels():
    frames = [SheetFrame("a", GREY, GREY[0], shares) for shares in ({"car": 1}, {"sky": 1}, {})]
    assert mean_shares(frames) == {"car": 0.5, "sky": 0.5}


def test_of_many_classes_the_rare_ones_are_counted():
    figure = sheet_figure(sheet_frames("streets_many", count=5), dataset_info("streets_many"))
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert len(names) == 42
    assert "others" in names[-2]
    assert names[-1].startswith("void")
    plt.close("all")


@pytest.mark.parametrize("name", ["camvid", "voc", "ade20k"])
def test_the_command_writes_a_picture_and_prints_its_path(name, tmp_path):
    trees.WRITERS[name](tmp_path)
    path = tmp_path / "new" / "sheet.png"
    values = ["data", "show", name, str(tmp_path), "--count", "3", "--save", str(path)]
    result = CliRunner().invoke(app, values)
    assert result.exit_code == 0, result.output
    assert result.output.strip() == str(path)
    with Image.open(path, formats=["PNG"]) as picture:
        assert picture.width == 1440
    plt.close("all")


@pytest.mark.parametrize("values", [["--save", "sheet.jpg"], ["--split", "sky"], ["--count", "0"]])
def test_a_wrong_option_is_refused(values):
    assert CliRunner().invoke(app, ["data", "show", "streets", *values]).exit_code == 2
