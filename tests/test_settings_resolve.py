"""Defaults, recipe, given values; what cannot apply cannot be set; what the digest covers."""

import pytest

from labkit.errors import SettingsError
from labkit.settings import (
    PlainTeacherSettings,
    StudentSettings,
    TeacherSettings,
    make_settings,
    resolve,
    settings_digest,
)
from labkit.settings.fields import KINDS, LOCAL_FIELDS

RECIPE = {
    "train_size": 40,
    "learning_rate": 1e-3,
    "momentum": 0.8,
    "label_scale": 2,
    "class_std": 2,
    "teacher.train_steps": 1200,
    "student.train_steps": 800,
    "distillation": "cwd:3",
    "cwd.temperature": 2,
    "distillation_pixel_std": 0.01,
}


@pytest.fixture(autouse=True)
def _recipe(monkeypatch):
    """A recipe of the test's own, and networks that are not looked up."""
    monkeypatch.setattr(resolve, "_recipe", lambda given: dict(RECIPE))
    monkeypatch.setattr(resolve, "_check_network", lambda architecture, encoder: None)


def student(taught_by="assisted", **values):
    given = {"teacher": "t"} if taught_by else {}
    return make_settings("student", given | values, taught_by=taught_by)


def refusal(role="teacher", taught_by=None, **values) -> str:
    with pytest.raises(SettingsError) as caught:
        make_settings(role, values, taught_by=taught_by)
    return str(caught.value)


def test_defaults_then_recipe_then_given_values():
    settings = make_settings("teacher", {"learning_rate": "0.5", "seed": None})
    assert (settings.learning_rate, settings.label_scale, settings.batch_size) == (0.5, 2.0, 8)
    assert settings.seed == 0


def test_a_role_takes_its_own_values_of_the_recipe_and_of_the_given():
    assert make_settings("teacher", {}).train_steps == 1200
    assert student(None).train_steps == 800
    values = {"train_steps": 5, "student.train_steps": 7}
    assert make_settings("teacher", values).train_steps == 5
    assert student(None, **values).train_steps == 7


@pytest.mark.parametrize("value", [False, "no", "false", "0"])
def test_the_kind_of_a_teacher(value):
    assert type(make_settings("teacher", {})) is TeacherSettings
    assert type(make_settings("teacher", {"assisted": value})) is PlainTeacherSettings
    assert "setting assisted: got 'maybe'" in refusal(assisted="maybe")


def test_the_kind_of_a_student_follows_from_its_teacher():
    kinds = [type(student(taught_by)).kind for taught_by in (None, "plain", "assisted")]
    assert kinds == ["alone", "of-plain", "of-assisted"]
    assert type(make_settings("student", {"teacher": ""})) is StudentSettings
    assert "setting teacher: is missing" in refusal("student", taught_by="plain")


@pytest.mark.parametrize(
    ("role", "values", "taught_by", "reason"),
    [
        ("teacher", {"class_std": 3, "assisted": False}, None, "a plain teacher reads no label"),
        ("teacher", {"distillation": "kd"}, None, "it is a setting of a student"),
        ("teacher", {"cwd.temperature": 3}, None, "it is a setting of a student"),
        ("student", {"distillation": "kd"}, None, "a student alone has no teacher"),
        ("student", {"cwd.temperature": 5}, None, "a student alone has no teacher"),
        (
            "student",
            {"distillation_codes": "fixed", "teacher": "t"},
            "plain",
            "a plain teacher reads",
        ),
        ("student", {"class_std": 3, "teacher": "t"}, "assisted", "it is a setting of a teacher"),
        ("student", {"assisted": True}, None, "it is a setting of a teacher"),
        ("teacher", {"class_codes": "fixed", "class_std": 3}, None, "fixed codes are not drawn"),
        ("teacher", {"momentum": 0.1}, None, "adamw has no momentum"),
    ],
)
def test_a_given_value_that_does_not_apply_is_refused_with_the_reason(
    role, values, taught_by, reason
):
    text = refusal(role, taught_by, **values)
    assert "does not apply" in text
    assert reason in text


def test_values_of_the_recipe_that_do_not_apply_are_skipped():
    plain = make_settings("teacher", {"assisted": False})
    assert "class_std" not in plain.model_dump()
    assert make_settings("teacher", {"class_codes": "fixed"}).class_std == 1
    assert make_settings("teacher", {}).momentum == 0.9
    assert make_settings("teacher", {"optimiser": "sgd"}).momentum == 0.8


def test_a_parameters_cell_may_write_out_values_that_do_not_apply_and_are_the_default():
    cell = {"assisted": False, "class_std": 2.0, "pixel_std": "0.03", "label_scale": 2}
    assert make_settings("teacher", cell).kind == "plain"
    assert "setting pixel_std" in refusal(**(cell | {"pixel_std": 0.5}))


def test_every_fault_is_in_one_message():
    text = refusal(assisted=False, class_std=3, learning_rate=-1, seed="x", batch_size=0)
    assert len(text.splitlines()) == 4


def test_unknown_names_are_refused_with_the_nearest():
    assert "did you mean learning_rate?" in refusal(learning_rat=1)
    assert "did you mean distillation?" in refusal("student", **{"student.distilation": 1})


@pytest.mark.parametrize(
    ("recipe", "name"),
    [({"learning_rat": 1}, "learning_rat"), ({"learning_rate": -1}, "learning_rate")],
)
def test_a_fault_of_the_recipe_names_the_recipe(monkeypatch, recipe, name):
    monkeypatch.setattr(resolve, "_recipe", lambda given: recipe)
    text = refusal(recipe="paper", dataset="camvid")
    assert text.startswith(f"recipe paper of camvid: setting {name}: ")


def test_missing_weights_are_refused_before_anything_starts(tmp_path):
    weights = tmp_path / "weights.safetensors"
    assert "setting encoder_weights: got" in refusal(encoder_weights=str(weights))
    assert "setting encoder_weights: got" in refusal(encoder_weights="no/such/file")
    weights.touch()
    assert make_settings("teacher", {"encoder_weights": str(weights)}).encoder_weights == str(
        weights
    )


# Distillers


def test_weights_and_options_are_written_out():
    settings = student()
    assert settings.distillation == "cwd:3"
    assert settings.distiller_options["cwd.temperature"] == 2.0
    assert "cwd.weight" not in settings.distiller_options


def test_two_texts_of_one_distillation_are_one():
    texts = ("kd:2+cwd:3", "cwd:3.0+kd:2")
    assert len({student(distillation=text).distillation for text in texts}) == 1
    assert student(**{"cwd.weight": "3"}) == student()
    assert student(**{"cwd.weight": 5}).distillation == "cwd:5"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"kd.temperature": 2}, "kd.temperature"),
        ({"cwd.temprature": 2}, "did you mean cwd.temperature?"),
        ({"cwd.temperature": "warm"}, "cwd.temperature: got 'warm'; expected"),
        ({"cwd.temperature": "9" * 100_000}, "setting cwd.temperature: got '999"),
        ({"cwd.temperature": 10**400}, "setting cwd.temperature: got 1"),
        ({"cwd." + "x" * 300: 1}, "expected a plain value"),
        ({"cwd.temperature": "inf"}, "expected"),
        ({"cwd.temperature": True}, "expected"),
        ({"distillation": "cwd:3", "cwd.weight": 4}, "also given"),
        ({"cwd.weight": -4}, "at least 0"),
        ({"distillation": "nothing_like_it:3"}, "nothing_like_it"),
    ],
)
def test_distillers_and_options_that_do_not_exist_or_fit_are_refused(values, words):
    assert words in refusal("student", "assisted", teacher="t", **values)


def test_options_of_the_recipe_for_another_distiller_are_skipped():
    assert "cwd.temperature" not in student(distillation="kd").distiller_options


# The digest


def digest(settings) -> str:
    return settings_digest(settings, {})


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_the_digest_covers_every_setting_but_the_local_ones(kind):
    base = kind(
        precision="fp32", optimiser="sgd", **({"teacher": "t"} if "of" in kind.kind else {})
    )
    other = {
        "resize": "short:99", "score_size": "short:99", "optimiser": "adamw", "precision": "bf16",
        "void_policy": "zero", "class_codes": "fixed", "label_init": "zeros", "device": "cpu",
        "consistency_distance": "kd", "distillation_codes": "fixed", "encoder_weights": "imagenet",
        "distillation": "kd:1", "distiller_options": {"cwd.temperature": 3.0}, "momentum": 0.5,
        "scale_min": 0.5, "brightness": 0.5, "dataset": "x", "recipe": "x", "architecture": "x",
        "encoder": "x", "runs": "x", "teacher": "x", "data_root": "x",
        "score_split": "test",
    }  # fmt: skip
    for name, field in kind.model_fields.items():
        value = getattr(base, name)
        if isinstance(value, bool):
            changed = not value
        elif name in other:
            changed = other[name]
        else:
            assert field.annotation in (int, float), name
            changed = value + 1
        differs = digest(base.replace(**{name: changed})) != digest(base)
        assert differs == (name not in LOCAL_FIELDS), name


def test_the_digest_needs_a_resolved_precision():
    with pytest.raises(SettingsError, match="precision"):
        digest(TeacherSettings())


def test_the_digest_names_no_path():
    digests = {digest(TeacherSettings(precision="fp32", encoder_weights=p)) for p in ("/a", "/b")}
    assert len(digests) == 1


def test_writing_the_recipe_s_own_value_changes_no_digest():
    given = {"precision": "fp32"}
    written = {"label_scale": "2", "train_steps": 1200, "teacher.batch_size": "8"}
    assert digest(make_settings("teacher", given | written)) == digest(
        make_settings("teacher", given)
    )
