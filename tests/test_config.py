"""Settings say what is wrong in words, parse strings, and keep still."""

import re

import pytest
from pydantic import ValidationError

from labkit.config import (
    AnalysisSettings,
    NoisingSettings,
    Settings,
    SettingsError,
    StudentSettings,
    TeacherSettings,
    TrainSettings,
    numbers,
)

SETTINGS = [kind for base in (Settings, TrainSettings) for kind in base.__subclasses__() if kind.__name__.endswith("Settings")]


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


@pytest.mark.parametrize(
    ("name", "text", "unit"),
    [
        ("height", "180px", "pixels"),
        ("height", "180 pixels", "pixels"),
        ("brightness", "10 %", "fraction 0-1"),
        ("train_steps", "2k", "optimiser steps"),
        ("train_steps", "1.5e3 steps", "optimiser steps"),
        ("checkpoint_every_minutes", "10 min", "minutes"),
        ("pixel_std", "3%", "units of the class weights"),
        ("learning_rate", "-1e-3x", "peak"),
    ],
)
def test_a_number_with_a_unit_is_told_to_come_alone(name, text, unit):
    said = message(TeacherSettings, **{name: text})
    assert f"setting {name}: got {text!r}; expected " in said
    assert unit in said
    assert "Give the number alone" in said


@pytest.mark.parametrize("text", ["fast", "", "px", "none", "1 to 3"])
def test_what_is_no_number_with_a_unit_is_not_called_one(text):
    assert "Give the number alone" not in message(TeacherSettings, learning_rate=text)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("height", "tall", "a valid integer"),
        ("learning_rate", None, "a valid number"),
        ("seed", -1, "greater than or equal to 0"),
        ("precision", "fp16", "one of auto, fp32, bf16"),
        ("consistency_distance", "l2", "one of cwd, kd"),
        ("void_in_distance", "perhaps", "a valid boolean"),
    ],
)
def test_got_expected_and_meaning_read_as_one_sentence(name, value, expected):
    said = message(TeacherSettings, **{name: value})
    meaning = TeacherSettings.model_fields[name].description
    assert re.fullmatch(rf"setting {name}: got {re.escape(repr(value))}; expected {expected}.* \({re.escape(meaning)}\)\.", said)


@pytest.mark.parametrize("name", ["height", "seed", "workers"])
def test_yes_and_no_are_no_whole_numbers(name):
    assert f"setting {name}: got True; expected" in message(TeacherSettings, **{name: True})


def test_an_error_knows_the_names_that_have_no_value():
    with pytest.raises(SettingsError) as caught:
        TeacherSettings(batch_sise=4, learning_rate="fast", seed=3)
    assert caught.value.names == {"batch_sise", "learning_rate"}


def test_settings_are_frozen():
    settings = TeacherSettings()
    with pytest.raises(ValidationError, match="frozen"):
        settings.seed = 4
    assert settings.seed == 0


@pytest.mark.parametrize("text", ["", "1, two", "-1", "inf", "0.1; 0.2"])
def test_a_list_of_numbers_is_told_from_anything_else(text):
    assert numbers("0, 0.5,3") == [0, 0.5, 3]
    with pytest.raises(SettingsError, match=r"setting pixel_stds: got .*numbers of at least 0 separated by commas"):
        AnalysisSettings(pixel_stds=text)
