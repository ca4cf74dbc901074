"""Settings hold final values, parse texts, and explain every fault in one line."""

import re

import pytest
from pydantic import ValidationError

from labkit.errors import SettingsError
from labkit.settings import (
    AttributionSettings,
    DistillersSettings,
    EvaluateSettings,
    NoisingSettings,
    PlainTeacherSettings,
    ResultsSettings,
    StudentSettings,
    TeacherSettings,
    numbers,
    settings_class,
    settings_table,
)
from labkit.settings.fields import KINDS, LOCAL_FIELDS

VIEWS = (
    NoisingSettings,
    ResultsSettings,
    AttributionSettings,
    DistillersSettings,
    EvaluateSettings,
)


def refusal(settings: type, **values) -> str:
    with pytest.raises(SettingsError) as caught:
        settings(**values)
    return str(caught.value)


@pytest.mark.parametrize("settings", [*KINDS, *VIEWS])
def test_defaults_are_valid_and_every_field_has_a_description(settings):
    settings(
        **({"teacher": "x"} if settings.kind.startswith("of-") else {}) if settings in KINDS else {}
    )
    assert [name for name, field in settings.model_fields.items() if not field.description] == []


def test_role_and_kind_name_one_class():
    assert {settings_class(kind.role, kind.kind) for kind in KINDS} == set(KINDS)


def test_a_kind_has_only_fields_that_apply():
    assert "class_std" not in PlainTeacherSettings.model_fields
    assert "distillation" not in StudentSettings.model_fields
    assert "distillation_codes" not in settings_class("student", "of-plain").model_fields
    assert {name for kind in KINDS for name in kind.model_fields} >= LOCAL_FIELDS


@pytest.mark.parametrize(
    ("settings", "typo", "meant"),
    [
        (TeacherSettings, "learning_rat", "learning_rate"),
        (TeacherSettings, "label_scal", "label_scale"),
        (AttributionSettings, "catagory", "category"),
    ],
)
def test_an_unknown_name_names_the_nearest(settings, typo, meant):
    text = refusal(settings, **{typo: 1})
    assert typo in text
    assert f"did you mean {meant}?" in text


def test_every_fault_is_one_line_with_name_value_range_and_meaning():
    with pytest.raises(SettingsError) as caught:
        TeacherSettings(
            batch_sise=4, learning_rate=-0.5, class_codes="magic", seed=-1, train_steps=1.5
        )
    lines = str(caught.value).splitlines()
    assert len(lines) == 5
    assert caught.value.names == {
        "batch_sise",
        "learning_rate",
        "class_codes",
        "seed",
        "train_steps",
    }
    assert "setting learning_rate: got -0.5; expected greater than 0 (peak, before" in str(
        caught.value
    )
    assert "expected one of random, fixed" in str(caught.value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "nan", "-inf"])
@pytest.mark.parametrize(
    "name", ["learning_rate", "pixel_std", "scale_max", "momentum", "brightness"]
)
def test_numbers_that_are_not_finite_are_refused(name, value):
    assert f"setting {name}: got" in refusal(TeacherSettings, **{name: value})


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("learning_rate", "1e-4", 1e-4),
        ("weight_decay", "0", 0.0),
        ("train_steps", "300", 300),
        ("void_in_distance", "no", False),
        ("label_scale", 4, 4.0),
        ("resize", "short:512", "short:512"),
    ],
)
def test_texts_become_the_type_of_their_field(name, text, value):
    parsed = getattr(TeacherSettings(**{name: text}), name)
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("seed", True),
        ("learning_rate", True),
        ("seed", 2**31),
        ("seed", 10**400),
        ("seed", "9" * 5000),
        ("seed", "²"),
        ("crop_height", 16384),
        ("dataset", "../x"),
        ("dataset", "a" * 300),
        ("dataset", "a\0b"),
        ("encoder", "resnet18\nresnet34"),
        ("data_root", "a\0b"),
        ("data_root", "\udc80"),
        ("runs", ""),
        ("encoder_weights", "x" * 5000),
        ("resize", "180x"),
        ("resize", "short:4"),
        ("score_size", "99999x20"),
    ],
)
def test_values_no_run_can_use_are_refused_in_a_short_message(name, value):
    text = refusal(TeacherSettings, **{name: value})
    assert text.startswith(f"setting {name}: got ")
    assert len(text) < 400
    assert text.isprintable()


def test_a_long_unprintable_name_is_echoed_short():
    text = refusal(TeacherSettings, **{"\x1b[2J" + "n" * 100_000: 1})
    assert len(text) < 2500
    assert "\x1b" not in text


@pytest.mark.parametrize(
    ("text", "has_unit"), [("180px", True), ("2k", True), ("fast", False), ("", False)]
)
def test_a_number_with_a_unit_gets_a_hint(text, has_unit):
    assert ("without a unit" in refusal(TeacherSettings, crop_height=text)) == has_unit


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({"scale_min": 2, "scale_max": 1.5}, "scale_min"),
        ({"resize": "60x200"}, "crop_height"),
        ({"resize": "64x100", "scale_max": 1.2}, "crop_width"),
        ({"momentum": 0.5}, "momentum"),
        ({"class_codes": "fixed", "label_channels": 2}, "label_channels"),
        ({"class_codes": "fixed", "class_std": 2}, "class_std"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(values, name):
    assert f"setting {name}: got " in refusal(TeacherSettings, **values)


@pytest.mark.parametrize(
    "values",
    [
        {"resize": "50x100", "scale_max": 1.28},
        {"optimiser": "sgd", "momentum": 0},
        {"class_codes": "fixed", "label_scale": 5},
    ],
)
def test_settings_at_the_edge_of_a_contradiction_are_valid(values):
    TeacherSettings(**values)


def test_settings_are_frozen_and_replace_validates():
    settings = TeacherSettings()
    with pytest.raises(ValidationError, match="frozen"):
        settings.seed = 4
    assert settings.replace(seed=4).seed == 4
    with pytest.raises(SettingsError, match="setting seed"):
        settings.replace(seed=-4)


def test_a_home_folder_is_expanded(monkeypatch):
    monkeypatch.setenv("HOME", "/home/somebody")
    assert TeacherSettings(runs="~/runs").runs == "/home/somebody/runs"
    assert "known user" in refusal(TeacherSettings, runs="~no_such_user_here/runs")


@pytest.mark.parametrize("text", ["", "1, two", "-1", "inf", "0.1; 0.2"])
def test_a_list_of_numbers(text):
    assert numbers("0, 0.5,3") == [0, 0.5, 3]
    assert re.search("numbers of at least 0", refusal(AttributionSettings, pixel_stds=text))


@pytest.mark.parametrize("role", ["teacher", "student"])
def test_the_table_has_every_setting_with_its_range(role):
    rows = {row.name: row for row in settings_table(role)}
    assert {"seed", "dataset"} <= rows.keys()
    assert rows["momentum"].range == "from 0, below 1"
    assert rows["optimiser"].range == "sgd, adamw"
    assert all(row.description and row.kinds for row in rows.values())
    assert ("class_std" in rows) == (role == "teacher")


def test_distances_are_those_of_the_method():
    from labkit.method import DISTANCES

    text = refusal(TeacherSettings, consistency_distance="l2")
    assert all(name in text for name in DISTANCES)
