"""Distillers are found by file name, named in one text, and built with their own settings."""

import re

import pytest
import torch

import labkit.distillers as distillers
from labkit.distillers import (
    available,
    build_distiller,
    distiller_settings,
    parse_distillation,
    resolve_distillation,
)
from labkit.errors import SettingsError
from tests.distiller_cases import target_for
from tests.tiny import random_outputs

EXAMPLE = '''
from torch import Tensor

from labkit.distillers.base import FeatureDistiller
from labkit.method import Outputs


class Example(FeatureDistiller):
    """Mean absolute difference of features."""

    def __init__(
        self, student: Outputs, teacher: Outputs, *, weight: float = 2.0, stage: int = 0
    ) -> None:
        super().__init__(student, teacher, weight=weight, stage=stage, same_width=True)

    def loss(self, student: Outputs, teacher: Outputs, target: Tensor) -> Tensor:
        f, g = self.feature_pair(student, teacher)
        return (f - g).abs().mean()
'''


def pair():
    return random_outputs(widths=(3, 8)), random_outputs(seed=1)


def build(distillation, seed=0, **options):
    student, teacher = pair()
    options = {name.replace("__", "."): value for name, value in options.items()}
    return build_distiller(distillation, options, student=student, teacher=teacher, seed=seed)


def test_a_text_names_distillers_and_weights():
    assert parse_distillation("cwd") == {"cwd": None}
    assert parse_distillation("cwd:3+skd:.5 + kd") == {"cwd": 3, "skd": 0.5, "kd": None}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("cdw", "did you mean cwd"),
        ("", "known: "),
        ("base", "'base'"),
        ("cwd+", "''"),
        ("cwd:3+cwd:1", "twice"),
        ("cwd:", "weight of cwd is ''"),
        ("cwd:three", "'three'"),
        ("cwd:-1", "'-1'"),
        ("cwd:nan", "'nan'"),
        ("../cwd", "'../cwd'"),
    ],
)
def test_a_text_that_names_nothing_is_refused(text, words):
    with pytest.raises(SettingsError, match=re.escape(words)):
        parse_distillation(text)


def test_settings_come_from_the_constructor():
    assert list(distiller_settings("cwd")) == ["weight", "temperature", "stride", "void"]
    for name in available():
        settings = distiller_settings(name)
        assert settings["weight"] > 0
        assert all(isinstance(value, int | float | bool) for value in settings.values())


def test_options_override_defaults_and_text_takes_the_default_s_type():
    options = {"cwd.temperature": "1", "cwd.void": "false", "skd.max_nodes": "64"}
    settings = resolve_distillation("cwd:2+skd", options)
    assert settings["cwd"] == {"weight": 2.0, "temperature": 1.0, "stride": 1, "void": False}
    assert settings["skd"]["max_nodes"] == 64
    assert settings["skd"]["weight"] == distiller_settings("skd")["weight"]
    assert resolve_distillation("kd", {"kd.weight": 4})["kd"]["weight"] == 4.0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"cwd.temprature": 1}, "did you mean cwd.temperature"),
        ({"kd.temperature": 1}, "kd.temperature: unknown"),
        ({"temperature": 1}, "temperature: unknown"),
        ({"cwd.weight": 1}, "also given by 'cwd:3'"),
        ({"cwd.stride": 1.5}, "1.5"),
        ({"cwd.stride": True}, "True"),
        ({"cwd.temperature": "warm"}, "'warm'"),
        ({"cwd.temperature": "nan"}, "'nan'"),
        ({"cwd.void": 1}, "true or false"),
        ({"cwd.temperature": None}, "None"),
    ],
)
def test_options_that_cannot_be_used_are_refused_by_name(options, words):
    with pytest.raises(SettingsError, match=re.escape(words)):
        resolve_distillation("cwd:3", options)


def test_all_faults_come_at_once():
    with pytest.raises(SettingsError) as caught:
        resolve_distillation("cwd:3", {"cwd.a": 1, "cwd.b": 1, "cwd.void": 3})
    assert len(str(caught.value).splitlines()) == 3


@pytest.mark.parametrize(
    ("distillation", "options", "words"),
    [
        ("cwd", {"cwd__temperature": 0}, "cwd: temperature is 0"),
        ("kd", {"kd__stride": 0}, "kd: stride is 0"),
        ("fitnet", {"fitnet__stage": 2}, "stage is 2, the student has 2"),
        ("dsd", {"dsd__stage": 0}, "dsd: stage is 0"),
        ("mgd", {"mgd__drop": 1.5}, "mgd: drop is 1.5"),
        ("dkd", {"dkd__alpha": -1}, "dkd: alpha is -1"),
        ("af_dcd", {"af_dcd__groups": 0}, "groups is 0"),
        ("cirkd", {"cirkd__pixel_queue": 0}, "pixel_queue is 0"),
    ],
)
def test_values_out_of_range_are_refused_by_name(distillation, options, words):
    with pytest.raises(SettingsError, match=re.escape(words)):
        build(distillation, **options)


def test_different_classes_are_refused():
    student, teacher = random_outputs(classes=3), random_outputs(classes=4)
    for name in ("kd", "cwd", "dist", "dkd", "standardised_kd", "dsd"):
        with pytest.raises(SettingsError, match=r"\[3, 4\] classes"):
            build_distiller(name, {}, student=student, teacher=teacher, seed=0)


def test_terms_are_named_after_the_distillers_and_weighted():
    student, teacher = pair()
    terms = build("cwd:2+fitnet:0+kd")(student, teacher, target_for(student))
    assert list(terms) == ["cwd", "fitnet", "kd"]
    assert terms["fitnet"] == 0
    one = build("cwd:1")(student, teacher, target_for(student))
    torch.testing.assert_close(terms["cwd"], 2 * one["cwd"])


def test_weights_are_a_function_of_the_seed_whatever_else_is_named():
    alone, beside, other = (
        build(text, seed=seed, fitnet__stage=0)
        for text, seed in (("fitnet", 0), ("mgd+fitnet", 0), ("fitnet", 1))
    )
    first, second, third = (
        distiller.parts["fitnet"].adapters["features"].weight
        for distiller in (alone, beside, other)
    )
    assert torch.equal(first, second)
    assert not torch.equal(first, third)


def test_what_was_added_to_match_the_networks_is_listed():
    student = random_outputs(size=(8, 12), widths=(3, 4))
    teacher = random_outputs(size=(4, 6), widths=(5, 8), seed=1)
    build = {"student": student, "teacher": teacher, "seed": 0}
    lines = build_distiller("kd+fitnet+at", {}, **build).describe()
    assert [line.partition(":")[0] for line in lines] == ["fitnet", "fitnet", "at"]
    assert "4 to 8 channels" in lines[0]
    assert "to the teacher's grid" in lines[1]


def test_a_file_in_the_folder_is_a_distiller(tmp_path, monkeypatch):
    (tmp_path / "example.py").write_text(EXAMPLE, encoding="utf-8")
    (tmp_path / "_private.py").write_text("", encoding="utf-8")
    monkeypatch.setattr(distillers, "__path__", [*distillers.__path__, str(tmp_path)])
    assert "example" in available()
    assert "_private" not in available()
    student, teacher = pair()
    distiller = build("example+cwd:1", example__stage=0)
    terms = distiller(student, teacher, target_for(student))
    sum(terms.values()).backward()
    assert list(terms) == ["example", "cwd"]
    (adapter,) = distiller.parameters()
    assert adapter.shape == (6, 3, 1, 1)
    assert adapter.grad.any()
    assert "3 to 6 channels" in distiller.describe()[0]
