"""Settings resolve against a recipe, contradict neither it nor each other, and are hashed by what they compute."""

import pytest

from labkit.config import Recipe, SettingsError, StudentSettings, TeacherSettings, TrainSettings
from labkit.datasets import available, dataset_info
from labkit.recipes import CAME_LATER, NOT_IN_THE_RECIPE, idle_settings, refuse_idle, resolve, settings_hash

RECIPE = Recipe(
    train_size=40, val_size=30, height=64, width=128, crop_height=48, crop_width=96, scale_min=0.5, scale_max=2, brightness=0.3,
    architecture="unet", encoder="resnet18", teacher_steps=1200, student_steps=800, batch_size=8, optimiser="adamw",
    learning_rate=2e-3, momentum=0.8, weight_decay=1e-2, warmup_steps=30, label_scale=3, consistency_weight=0.1, distance="kd",
    distillation_weight=0.25, distillation_temperature=2,
)  # fmt: skip
RECIPES = [(name, recipe) for name in available() for recipe in dataset_info(name).recipes.values()]


def refusal(kind=TeacherSettings, **values) -> str:
    with pytest.raises(SettingsError) as caught:
        resolve(kind(**values), RECIPE)
    return str(caught.value)


def test_resolve_fills_every_gap_from_the_recipe():
    for kind, steps in ((TeacherSettings, 1200), (StudentSettings, 800)):
        filled = resolve(kind(), RECIPE)
        assert filled.train_steps == steps
        assert type(filled) is kind
        shared = kind.model_fields.keys() & Recipe.model_fields.keys()
        assert {name: getattr(filled, name) for name in shared} == {name: getattr(RECIPE, name) for name in shared}
        assert not [name for name, value in filled.model_dump().items() if value in (-1, "recipe")]


def test_resolve_keeps_overrides_and_leaves_its_input_alone():
    given = TeacherSettings(learning_rate=0.5, train_steps=7, encoder="mit_b0", label_scale=0, momentum=0, optimiser="sgd")
    filled = resolve(given, RECIPE)
    assert (filled.learning_rate, filled.train_steps, filled.encoder, filled.label_scale, filled.momentum) == (0.5, 7, "mit_b0", 0, 0)
    assert filled.batch_size == 8
    assert given.batch_size == -1


def test_resolving_twice_changes_nothing():
    filled = resolve(StudentSettings(), RECIPE)
    assert resolve(filled, RECIPE) == filled


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("learning_rate", 0), ("learning_rate", -0.5), ("brightness", 1.5), ("height", 4), ("batch_size", 0), ("momentum", 1),
        ("scale_min", 0), ("train_steps", 0), ("recipe", "recipe"), ("distillation_temperature", 0),
    ],
)  # fmt: skip
def test_resolve_refuses_a_value_outside_the_recipe_s_range(name, value):
    with pytest.raises(SettingsError, match=f"setting {name}: got"):
        resolve(StudentSettings(**{name: value}), RECIPE)


def test_hash_covers_what_is_computed_and_not_where():
    base = resolve(TeacherSettings(), RECIPE).model_dump()
    reference = settings_hash(base)
    assert len(reference) == 8
    int(reference, 16)
    elsewhere = {"device": "cpu", "threads": 7, "runs": "/elsewhere", "workers": 2, "data_root": "/data", "log_every_steps": 3}
    assert settings_hash(base | elsewhere) == reference
    for name, value in {"learning_rate": 1e-4, "seed": 1, "encoder": "mit_b0", "label_scale": 2.0, "precision": "fp32"}.items():
        assert settings_hash(base | {name: value}) != reference


def test_naming_the_recipe_s_own_value_changes_no_hash():
    named = TeacherSettings(label_scale=3, batch_size="8", architecture="unet", scale_max=2, train_steps=1200)
    assert settings_hash(resolve(named, RECIPE).model_dump()) == settings_hash(resolve(TeacherSettings(), RECIPE).model_dump())


def test_hash_ignores_order_and_what_it_is_told_to_leave_out():
    base = TeacherSettings().model_dump()
    assert settings_hash(dict(reversed(base.items()))) == settings_hash(base)
    without_seed = frozenset({"seed"})
    assert settings_hash(base | {"seed": 9}, leave_out=without_seed) == settings_hash(base, leave_out=without_seed)


def test_names_left_out_of_the_hash_exist():
    assert TrainSettings.model_fields.keys() >= NOT_IN_THE_RECIPE


def test_a_setting_that_came_later_counts_only_where_it_differs_from_what_earlier_runs_did():
    base = resolve(TeacherSettings(), RECIPE).model_dump()
    earlier = {name: value for name, value in base.items() if name not in CAME_LATER}
    assert len(earlier) == len(base) - len(CAME_LATER)
    assert settings_hash(base) == settings_hash(earlier)
    assert settings_hash(base | {"weights": "fixed"}) != settings_hash(earlier)


def test_what_came_later_has_the_earlier_value_by_default_so_that_old_commands_name_old_runs():
    assert {name: TeacherSettings.model_fields[name].default for name in CAME_LATER} == CAME_LATER


# contradictions


@pytest.mark.parametrize("kind", [TeacherSettings, StudentSettings])
@pytest.mark.parametrize(("name", "recipe"), RECIPES)
def test_every_recipe_resolves_and_resolves_again(name, recipe, kind):
    settings = kind(dataset=name)
    filled = resolve(settings, recipe)
    assert resolve(filled, recipe) == filled
    refuse_idle(filled, recipe, taught_by="lad")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"scale_min": 2, "scale_max": 1.5}, "setting scale_min: got 2.0; expected at most scale_max, 1.5."),
        ({"scale_min": 3}, "setting scale_min: got 3.0; expected at most scale_max, 2.0."),
        ({"crop_height": 129}, "setting crop_height: got 129 pixels; expected at most 128, the image's height at the largest zoom."),
        ({"width": 47}, "setting crop_width: got 96 pixels; expected at most 94, the image's width at the largest zoom."),
        ({"scale_max": 0.5}, "setting crop_height: got 48 pixels; expected at most 32, the image's height"),
        ({"momentum": 0.5}, "setting momentum: got 0.5, which means nothing with optimiser=adamw. Leave it out."),
        ({"weights": "fixed", "label_channels": 2}, "setting label_channels: more than 1 with weights=fixed; the ramp is one code."),
    ],
)
def test_settings_that_contradict_each_other_are_refused(values, words):
    assert words in refusal(**values)


def test_settings_at_the_edge_of_a_contradiction_resolve():
    for values in ({"crop_height": 128, "crop_width": 256}, {"scale_min": 2}, {"momentum": 0.8}, {"momentum": 0.5, "optimiser": "sgd"}):
        resolve(TeacherSettings(**values), RECIPE)


def test_every_contradiction_is_told_in_one_message():
    said = refusal(scale_min=3, crop_height=999, crop_width=999, momentum=0.1, batch_size=0, train_steps=0, brightness=2)
    names = ("scale_min", "crop_height", "crop_width", "momentum", "batch_size", "train_steps", "brightness")
    assert all(said.count(f"setting {name}: got") == 1 for name in names)
    assert len(said.splitlines()) == len(names)


@pytest.mark.parametrize("value", [10**400, "9" * 400], ids=["number", "text"])
def test_a_number_no_machine_can_hold_is_refused_in_words(value):
    with pytest.raises(SettingsError, match="setting height: got"):
        resolve(TeacherSettings(height=value), RECIPE)


# settings that mean nothing here


def idle(kind, *, taught_by=None, **values) -> str:
    with pytest.raises(SettingsError) as caught:
        refuse_idle(kind(**values), RECIPE, taught_by=taught_by)
    assert caught.value.names == values.keys() - {"method"}
    assert all(f"setting {name}: got {value!r}, which means nothing here: " in str(caught.value)
               for name, value in values.items() if name != "method")  # fmt: skip
    return str(caught.value)


LABEL = {"class_std": 2.0, "pixel_std": 0.5, "label_scale": 5.0, "void_policy": "zero", "label_channels": 3, "label_init": "zeros"}
CONSISTENCY = {"consistency_weight": 2.0, "consistency_distance": "kd", "consistency_temperature": 1.0}
DISTILLATION = {
    "distance": "cwd",
    "distillation_weight": 9.0,
    "distillation_temperature": 8.0,
    "distance_stride": 4,
    "void_in_distance": False,
}
SHOWN = {"distill_weights": "fixed", "pixel_std": 0.5}


def test_label_settings_of_a_plain_teacher_are_refused():
    said = idle(TeacherSettings, method="none", weights="fixed", **LABEL, **CONSISTENCY)
    assert "a plain teacher reads no label; use method=lad, or leave class_std out." in said
    refuse_idle(TeacherSettings(**LABEL, **CONSISTENCY), RECIPE, taught_by=None)


def test_the_width_of_class_weights_that_are_not_drawn_is_refused():
    with pytest.raises(SettingsError) as caught:
        refuse_idle(TeacherSettings(weights="fixed", class_std=2), RECIPE, taught_by=None)
    assert caught.value.names == {"class_std"}
    assert str(caught.value) == (
        "setting class_std: got 2.0, which means nothing here: the fixed ramp is not drawn; use weights=random, or leave class_std out."
    )
    refuse_idle(TeacherSettings(weights="fixed", pixel_std=0, label_scale=5), RECIPE, taught_by=None)


def test_distillation_settings_without_a_teacher_are_refused():
    said = idle(StudentSettings, **DISTILLATION, **SHOWN)
    assert "a student alone has no teacher; set teacher, or leave distance out." in said
    refuse_idle(StudentSettings(**DISTILLATION, **SHOWN), RECIPE, taught_by="lad")


def test_what_a_plain_teacher_cannot_be_shown_is_refused():
    assert "a plain teacher is shown no label" in idle(StudentSettings, taught_by="none", **SHOWN)
    refuse_idle(StudentSettings(**DISTILLATION), RECIPE, taught_by="none")


@pytest.mark.parametrize(
    ("settings", "taught_by"),
    [
        (TeacherSettings(method="none"), None),
        (TeacherSettings(weights="fixed"), None),
        (StudentSettings(), None),
        (StudentSettings(), "none"),
        (StudentSettings(), "lad"),
    ],
)
def test_defaults_and_the_recipe_s_own_values_are_never_idle(settings, taught_by):
    names = idle_settings(settings, taught_by=taught_by)
    assert names <= type(settings).model_fields.keys()
    refuse_idle(settings, RECIPE, taught_by=taught_by)
    refuse_idle(resolve(settings, RECIPE), RECIPE, taught_by=taught_by)
