"""Facts, names and recipes of every data set."""

import pytest

from labkit.datasets import available, dataset_info, dataset_recipe, open_split
from labkit.errors import DataError, SettingsError

NAMES = [name for name in available() if name != "folder"]  # whose facts are the user's


@pytest.mark.parametrize("name", NAMES)
def test_facts_of_a_data_set_are_consistent(name):
    info = dataset_info(name)
    assert info.name == name
    assert "default" in info.recipes
    assert len(info.palette) == info.num_classes == len(set(info.class_names))
    assert all(len(colour) == 3 for colour in info.palette)
    assert all(0 <= value <= 255 for colour in info.palette for value in colour)
    assert all(0 < value < 1 for value in (*info.mean, *info.std))
    assert [info.class_id(name) for name in info.class_names] == list(range(info.num_classes))
    assert {"train", "val"} <= set(info.splits)
    assert info.source
    assert info.terms
    assert info.layout


def test_unknown_names_list_what_exists():
    with pytest.raises(SettingsError, match="did you mean camvid"):
        dataset_info("camvit")
    with pytest.raises(SettingsError, match=r"'fast'.*default"):
        dataset_recipe("streets", "fast")
    with pytest.raises(DataError, match=r"'dev'.*train, val, test"):
        open_split("streets", "dev", size=1)
    with pytest.raises(ValueError, match=r"'boat'.*road"):
        dataset_info("streets").class_id("boat")


def test_a_recipe_is_a_copy():
    dataset_recipe("streets", "default")["batch_size"] = 1000
    assert dataset_recipe("streets", "default")["batch_size"] == 8


def test_normalised_pixels_come_back():
    import torch

    info = dataset_info("camvid")
    image = torch.arange(256, dtype=torch.uint8).view(1, 16, 16).expand(3, -1, -1)
    assert torch.equal(info.pixels(info.normalised(image)), image)
