"""Runs with calibrated weights: measured once, recorded, and the same after a kill."""

import pytest
import torch

from labkit.distillers.calibrate import Calibration
from labkit.errors import SettingsError
from labkit.method import cross_entropy, hard_pixel_cross_entropy
from labkit.settings import make_settings, settings_digest
from labkit.training import calibration, loop
from labkit.training.experiment import distillation_noising
from labkit.training.fit import fit
from tests.tiny import rng_untouched
from tests.training import (
    Interrupted,
    equal,
    raising,
    stop_at,
    student,
    teacher,
    tiny_networks,  # noqa: F401
    weights,
)


@pytest.fixture(scope="module")
def taught_by(tmp_path_factory):
    """A complete assisted teacher and its runs folder."""
    experiment = teacher(tmp_path_factory.mktemp("runs"), train_steps=2)
    fit(experiment)
    return experiment.run


@pytest.fixture
def make(taught_by):
    def prepared(distillation, **values):
        return student(
            taught_by.folder.parent,
            teacher=taught_by.run_id,
            distillation=distillation,
            checkpoint_every_steps=2,
            **values,
        )

    return prepared


def test_a_calibrated_term_has_the_gradient_of_the_cross_entropy(make):
    """At the last encoder stage, averaged over the first four batches."""
    experiment = make("at:calibrated+cwd:3")
    assert experiment.distiller.weights["cwd"] == 3
    network, norms = experiment.network.train(), {"ce": 0.0, "at": 0.0}
    noising = distillation_noising(experiment)
    for step in range(4):
        images, target, _ = experiment.train_batches[step]
        outputs = network(images)
        channel = noising(target, generator=torch.Generator().manual_seed(step))
        taught = experiment.teacher.network(torch.cat([images, channel], 1))
        terms = experiment.distiller(outputs, taught, target)
        terms["ce"] = torch.nn.functional.cross_entropy(
            torch.nn.functional.interpolate(outputs.logits, scale_factor=outputs.stride),
            target,
            ignore_index=255,
        )
        for name in norms:
            (gradient,) = torch.autograd.grad(terms[name], outputs.features[-1], retain_graph=True)
            norms[name] += gradient.norm().item()
    assert norms["at"] == pytest.approx(norms["ce"], rel=0.05)  # other noise, nearest logits


def test_the_weights_follow_seed_and_settings_and_leave_no_trace(make):
    with rng_untouched():
        first = make("cirkd:calibrated+mgd:calibrated")
    again = make("mgd:calibrated+cirkd", **{"cirkd.weight": "calibrated"})
    assert first.run.run_id == again.run.run_id
    assert first.distiller.weights == again.distiller.weights
    other = make("cirkd:calibrated+mgd:calibrated", seed=1)
    assert other.distiller.weights != first.distiller.weights
    assert first.distiller.parts["cirkd"].draws == 0
    assert not first.distiller.parts["cirkd"].pixels.filled.any()
    assert equal(weights(first), weights(again))


def test_the_weight_is_recorded_and_multiplies_the_term(make, capsys):
    experiment = make("cwd:calibrated", train_steps=1)
    weight = experiment.distiller.weights["cwd"]
    fit(experiment)
    run = experiment.run
    assert run.settings.distillation == "cwd:calibrated"
    assert f"distillation: cwd:{weight:g}" in capsys.readouterr().out
    header, row = run.log_rows()[:2]
    assert header["step"] == 0
    assert header["distillation_weights"] == run.facts()["distillation_weights"] == {"cwd": weight}
    given = make(f"cwd:{weight}", train_steps=1)
    fit(given)
    assert given.run.run_id != run.run_id
    assert given.run.log_rows()[1]["cwd"] == row["cwd"]
    assert equal(weights(given), weights(experiment))


def test_a_resumed_run_has_the_weights_it_began_with(make, monkeypatch):
    """Bit-equal, and from the checkpoint: what is measured on resuming is not used."""
    distillation = "cirkd:calibrated+dkd:calibrated"
    whole = make(distillation)
    fit(whole)
    trained, rows = weights(whole), whole.run.log_rows()
    for path in whole.run.folder.iterdir():
        path.unlink()
    with monkeypatch.context() as killed:
        killed.setattr(loop.Session, "update", stop_at(4))
        with pytest.raises(Interrupted):
            fit(make(distillation))
    resumed = make(distillation)
    resumed.distiller.set_weights({"dkd": 1e6, "cirkd": 1e6})
    fit(resumed)
    assert equal(weights(resumed), trained)
    assert resumed.distiller.weights == whole.distiller.weights
    assert resumed.run.facts()["distillation_weights"] == whole.distiller.weights
    assert resumed.run.log_rows()[0] == rows[0]


def test_a_distiller_that_does_not_reach_the_last_stage_is_refused_before_anything_is_written(
    make, taught_by
):
    before = sorted(taught_by.folder.parent.iterdir())
    with pytest.raises(SettingsError, match=r"at has gradient norm 0.*weight as a number"):
        make("at:calibrated", **{"at.stage": 0})
    assert sorted(taught_by.folder.parent.iterdir()) == before


def test_weights_that_are_given_are_not_measured(make, monkeypatch):
    monkeypatch.setattr("labkit.training.calibration.measure", raising(Interrupted()))
    assert make("kd+cwd:2").distiller.weights == {"cwd": 2, "kd": 1}
    with pytest.raises(Interrupted):
        make("kd:calibrated")


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"distillation": "cwd:calibrated"}, "cwd:calibrated"),
        ({"distillation": "cwd", "cwd.weight": "calibrated"}, "cwd:calibrated"),
        ({"distillation": "skd+cwd: calibrated"}, "cwd:calibrated+skd:10"),
    ],
)
def test_settings_keep_the_word(values, text):
    settings = make_settings("student", values | {"teacher": "t"}, taught_by="plain")
    assert settings.distillation == text


def test_ids_of_runs_with_given_weights_are_those_of_earlier_versions():
    settings = make_settings(
        "student",
        {"teacher": "x", "distillation": "kd:1+cwd:3", "precision": "fp32"},
        taught_by="plain",
    )
    assert settings_digest(settings, {}).startswith("5e465f31c9dc")


def test_a_weight_is_calibrated_against_the_loss_of_the_training(make, monkeypatch):
    given = []

    def known(*_, segmentation_loss, **__):
        given.append(segmentation_loss)
        return Calibration({"at": 1.0}, {})

    monkeypatch.setattr(calibration, "calibrate", known)
    for hard_pixels in (False, True):
        make("at:calibrated", hard_pixels=hard_pixels)
    assert given == [cross_entropy, hard_pixel_cross_entropy]
