"""Every recipe of every data set gives valid settings for every kind of run."""

import pytest

from labkit.datasets import available, dataset_info
from labkit.errors import DataError, LabkitError, SettingsError
from labkit.settings import make_settings, settings_table


def names() -> list[tuple[str, str]]:
    pairs = []
    for dataset in available():
        try:
            pairs += [(dataset, recipe) for recipe in dataset_info(dataset).recipes]
        except DataError:  # a data set described by its own folder
            continue
    return pairs


@pytest.mark.parametrize(("dataset", "recipe"), names())
def test_a_recipe_fits_every_kind(dataset, recipe):
    given = {"dataset": dataset, "recipe": recipe}
    for assisted in (True, False):
        settings = make_settings("teacher", given | {"assisted": assisted})
        assert (settings.dataset, settings.recipe) == (dataset, recipe)
    for taught_by in (None, "plain", "assisted"):
        teacher = {"teacher": "t"} if taught_by else {}
        settings = make_settings("student", given | teacher, taught_by=taught_by)
        again = settings.model_dump(exclude={"distiller_options"})
        if taught_by:
            again |= settings.distiller_options
        assert make_settings("student", again, taught_by=taught_by) == settings


def test_the_table_shows_the_recipe_beside_the_defaults():
    rows = {row.name: row for row in settings_table("student", dataset="streets")}
    assert rows["train_steps"].recipe == make_settings("student", {}).train_steps
    assert rows["cwd.temperature"].recipe == 1


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"dataset": "street"}, "streets"),
        ({"recipe": "defualt"}, "recipe"),
        ({"architecture": "unett"}, "unet"),
        ({"encoder": "resnet1"}, "encoder"),
    ],
)
def test_names_that_do_not_exist_are_refused(values, words):
    with pytest.raises(LabkitError, match=words) as caught:
        make_settings("teacher", values)
    assert isinstance(caught.value, SettingsError)
