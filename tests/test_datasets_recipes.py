"""Recipes of every data set make valid settings, and train in their own form."""

import pytest

from labkit.datasets import available, dataset_info
from labkit.settings.resolve import make_settings
from tests import trees

CASES = [
    (name, recipe)
    for name in available()
    if name != "folder"
    for recipe in dataset_info(name).recipes
]
BENCHMARKS = ("ade20k", "cityscapes", "coco_stuff_10k", "coco_stuff_164k", "voc")


@pytest.mark.parametrize(("name", "recipe"), CASES)
def test_every_recipe_makes_settings_of_every_kind(name, recipe):
    values = {"dataset": name, "recipe": recipe}
    for assisted in (True, False):
        assert make_settings("teacher", values | {"assisted": assisted}).role == "teacher"
    for taught_by in (None, "plain", "assisted"):
        taught = values | ({"teacher": "a-run"} if taught_by else {})
        assert make_settings("student", taught, taught_by=taught_by).role == "student"


@pytest.mark.parametrize("name", [*BENCHMARKS, "camvid"])
def test_teachers_of_paper_recipes_have_the_field_s_auxiliary_loss_and_may_use_their_label(name):
    """With consistency weight 5 a teacher can ignore its label on street scenes and CamVid."""
    paper = make_settings("teacher", {"dataset": name, "recipe": "paper"})
    assert (paper.auxiliary_weight, paper.consistency_weight) == (0.4, 0.1)


@pytest.mark.parametrize("name", BENCHMARKS)
def test_benchmarks_have_the_field_s_recipe_and_a_small_one(name):
    """Source: CIRKD's schedule, as every method of the field is compared under."""
    paper = make_settings("teacher", {"dataset": name, "recipe": "paper"})
    assert (paper.train_steps, paper.batch_size, paper.optimiser) == (40000, 16, "sgd")
    assert (paper.learning_rate, paper.momentum, paper.weight_decay) == (0.02, 0.9, 1e-4)
    assert (paper.scale_min, paper.scale_max, paper.poly_power) == (0.5, 2, 0.9)
    width = 1024 if name == "cityscapes" else 512
    assert (paper.crop_height, paper.crop_width) == (512, width)
    assert (paper.score_size, paper.encoder, paper.auxiliary_weight) == ("native", "resnet101", 0.4)
    student = make_settings("student", {"dataset": name, "recipe": "paper"})
    assert student.encoder == "resnet18"
    if name != "cityscapes":
        mmseg = make_settings("student", {"dataset": name, "recipe": "mmseg"})
        assert (mmseg.resize, mmseg.score_size) == ("short:512", "short:512")
    small = make_settings("teacher", {"dataset": name, "recipe": "small"})
    assert small.encoder_weights == "none"
    assert (small.label_channels > 1) == (dataset_info(name).num_classes > 100)


@pytest.mark.slow
@pytest.mark.timeout(1200)  # networks of 171 classes, on a busy machine
@pytest.mark.parametrize("name", trees.WRITERS)
def test_twenty_steps_of_the_small_recipe(name, tmp_path):
    trees.WRITERS[name](tmp_path)
    work = {"train_steps": 20, "threads": 1, "device": "cpu"}
    _, student = trees.train_both(name, tmp_path, work)
    assert student.metrics()["steps"] == 20
