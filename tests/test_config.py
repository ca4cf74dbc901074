"""Settings say what is wrong in words, parse strings, and resolve against a recipe."""

import re

import pytest
from pydantic import ValidationError

from labkit.config import (
    NOT_IN_THE_RECIPE,
    AnalysisSettings,
    NoisingSettings,
    Recipe,
    Settings,
    SettingsError,
    StudentSettings,
    TeacherSettings,
    TrainSettings,
    numbers,
    resolve,
    settings_hash,
)

SETTINGS = [kind for base in (Settings, TrainSettings) for kind in base.__subclasses__() if kind is not Recipe]
RECIPE = Recipe(
    train_size=40, val_size=30, height=64, width=128, crop_height=48, crop_width=96, scale_min=0.5, scale_max=2, brightness=0.3,
    architecture="unet", encoder="resnet18", teacher_steps=1200, student_steps=800, batch_size=8, optimiser="adamw",
    learning_rate=2e-3, momentum=0.8, weight_decay=1e-2, warmup_steps=30, label_scale=3, consistency_weight=0.1, distance="kd",
    distillation_weight=0.25, distillation_temperature=2,
)  # fmt: skip


def message(settings: type, **values) -> str:
    with pytest.raises(SettingsError) as caught:
        settings(**values)
    return str(caught.value)


@pytest.mark.parametrize("settings", SETTINGS)
def test_defaults_are_valid_and_every_field_says_what_it_means(settings):
    settings()
    assert [name for name, field in settings.model_fields.items() if not field.description] == []


@pytest.mark.parametrize(
    ("settings", "typo", "meant"),
    [
        (TeacherSettings, "learning_rat", "learning_rate"),
        (TeacherSettings, "label_scal", "label_scale"),
        (StudentSettings, "distilation_weight", "distillation_weight"),
        (AnalysisSettings, "catagory", "category"),
    ],
)
def test_an_unknown_name_names_the_nearest(settings, typo, meant):
    text = message(settings, **{typo: 1})
    assert typo in text
    assert f"did you mean {meant}?" in text


def test_a_name_like_no_other_lists_what_is_known():
    text = message(NoisingSettings, zzzzzz=1)
    assert all(name in text for name in NoisingSettings.model_fields)


def test_every_fault_is_told_in_one_message():
    text = message(TeacherSettings, batch_sise=4, learning_rate="fast", method="magic", seed=-1, pixel_std=-0.5)
    assert len(text.splitlines()) == 5
    told = ["batch_sise.*batch_size", "learning_rate.*'fast'", "method.*'magic'.*none, lad", "seed.*-1", r"pixel_std.*-0\.5"]
    assert all(any(re.search(words, line) for line in text.splitlines()) for words in told)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "nan"])
@pytest.mark.parametrize("name", ["learning_rate", "pixel_std", "label_scale", "consistency_temperature"])
def test_numbers_that_are_not_finite_are_refused(name, value):
    assert name in message(TeacherSettings, **{name: value})


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("learning_rate", "1e-4", 1e-4),
        ("weight_decay", "0", 0.0),
        ("train_steps", "300", 300),
        ("void_in_distance", "false", False),
        ("void_in_distance", "no", False),
        ("label_scale", 3, 3.0),
    ],
)
def test_types_parse_from_what_a_notebook_or_shell_hands_over(name, text, value):
    parsed = getattr(TeacherSettings(**{name: text}), name)
    assert parsed == value
    assert type(parsed) is type(value)


def test_a_fraction_of_a_step_is_refused():
    assert "train_steps" in message(TrainSettings, train_steps=1.5)


def test_settings_are_frozen():
    settings = TeacherSettings()
    with pytest.raises(ValidationError, match="frozen"):
        settings.seed = 4
    assert settings.seed == 0


def test_resolve_fills_every_gap_from_the_recipe():
    for kind, steps in ((TeacherSettings, 1200), (StudentSettings, 800)):
        filled = resolve(kind(), RECIPE)
        assert filled.train_steps == steps
        assert type(filled) is kind
        shared = kind.model_fields.keys() & Recipe.model_fields.keys()
        assert {name: getattr(filled, name) for name in shared} == {name: getattr(RECIPE, name) for name in shared}
        assert not [name for name, value in filled.model_dump().items() if value in (-1, "recipe")]


def test_resolve_keeps_overrides_and_leaves_its_input_alone():
    given = TeacherSettings(learning_rate=0.5, train_steps=7, encoder="mit_b0", label_scale=0, momentum=0)
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


@pytest.mark.parametrize("text", ["", "1, two", "-1", "inf", "0.1; 0.2"])
def test_a_list_of_numbers_is_told_from_anything_else(text):
    assert numbers("0, 0.5,3") == [0, 0.5, 3]
    with pytest.raises(SettingsError, match=r"setting pixel_stds: got .*numbers of at least 0 separated by commas"):
        AnalysisSettings(pixel_stds=text)
