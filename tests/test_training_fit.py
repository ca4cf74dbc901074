"""Runs from their settings to a complete manifest."""

import dataclasses
import json
import math

import pytest
import torch

from labkit.errors import SettingsError
from labkit.method import scores_from_counts
from labkit.method.metrics import Counts
from labkit.records import load_run
from labkit.training import fit as fit_module
from labkit.training import loop
from labkit.training.checkpoint import LAST
from labkit.training.experiment import distillation_noising, load_experiment, training_step
from labkit.training.fit import fit, train_run
from tests.tiny import no_host_reads
from tests.training import (  # noqa: F401  tiny_networks is a fixture of this module
    SMALL,
    Interrupted,
    equal,
    raising,
    stop_at,
    student,
    teacher,
    tiny_networks,
    weights,
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """An assisted and a plain teacher, complete, in one runs folder."""
    runs = tmp_path_factory.mktemp("runs")
    assisted, plain = teacher(runs), teacher(runs, assisted=False)
    fit(assisted)
    fit(plain)
    return assisted, plain


def test_a_complete_run_holds_its_files_and_facts(trained):
    run = trained[0].run
    names = {path.name for path in run.folder.iterdir()}
    files = {"config.json", "log.jsonl", "model.safetensors", "metrics.json", "frames.npz"}
    assert names == files | {"manifest.json", ".lock"}
    assert run.state == "complete"
    assert run.facts()["images_seen"] == 8
    assert run.facts()["precision"] == "fp32"
    provenance = run.manifest()["provenance"]
    assert (provenance["device"], provenance["threads"]) == ("cpu", 1)
    assert {"revision", "dirty", "python", "torch", "peak_memory_bytes"} <= provenance.keys()
    assert set(run.metrics()["readings"]) == {"true_label", "foreign_label", "zero_label"}


def test_frame_counts_are_those_the_metrics_were_computed_from(trained):
    run = trained[0].run
    arrays, metrics = run.frame_counts(), run.metrics()["readings"]
    assert len(arrays["frames"]) == 4
    for reading, expected in metrics.items():
        counts = {
            region: [
                torch.from_numpy(arrays[f"{reading}.{region}.{count}"])
                for count in ("hits", "labelled", "predicted")
            ]
            for region in ("whole", "boundary", "interior")
        }
        for whole, boundary, interior in zip(*counts.values(), strict=True):
            assert torch.equal(whole, boundary + interior)
        scores = scores_from_counts(Counts(*(values.sum(0) for values in counts["whole"])))
        assert scores.miou == pytest.approx(expected["miou"], abs=1e-3)
        assert counts["boundary"][1].sum() > 0


def test_the_log_has_every_term_and_every_evaluation(trained):
    rows = trained[0].run.log_rows()
    steps = [row for row in rows if "loss" in row]
    assert [row["step"] for row in steps] == [1, 2, 3, 4]
    terms = [steps[0][name] for name in ("ce_a", "ce_b", "consistency")]
    assert steps[0]["loss"] == pytest.approx(sum(terms), rel=1e-5)
    assert 0 <= steps[-1]["waiting"] <= 1
    assert steps[-1]["images_per_second"] > 0
    assert [row["step"] for row in rows if "miou" in row] == [1, 2, 3, 4]


def test_the_same_settings_train_the_same_weights_whatever_the_workers(tmp_path, trained):
    again = teacher(tmp_path, workers=2)
    fit(again)
    assert again.run.run_id == trained[0].run.run_id
    assert equal(weights(again), weights(trained[0]))


def test_an_interrupted_run_goes_on_to_the_same_weights(tmp_path, trained, monkeypatch):
    with monkeypatch.context() as killed:
        killed.setattr(loop.Session, "update", stop_at(4))
        broken = teacher(tmp_path, checkpoint_every_steps=2)
        with pytest.raises(Interrupted):
            fit(broken)
    assert broken.run.state == "failed"
    resumed = teacher(tmp_path, checkpoint_every_steps=2)
    fit(resumed)
    assert equal(weights(resumed), weights(trained[0]))
    rows = resumed.run.log_rows()
    assert [row["step"] for row in rows if "loss" in row] == [1, 2, 3, 4]
    assert [row["seconds"] for row in rows] == sorted(row["seconds"] for row in rows)
    assert "error" not in resumed.run.facts()


@pytest.mark.parametrize("function", ["_write_outputs", "save_arrays", "_facts"])
def test_a_stop_between_the_last_step_and_the_manifest(tmp_path, trained, monkeypatch, function):
    with monkeypatch.context() as killed:
        killed.setattr(fit_module, function, raising(Interrupted()))
        with pytest.raises(Interrupted):
            fit(teacher(tmp_path))
    again = teacher(tmp_path)
    assert again.run.state == "failed"
    assert fit(again) == trained[0].run.metrics()
    assert equal(weights(again), weights(trained[0]))
    for name, values in trained[0].run.frame_counts().items():
        assert (again.run.frame_counts()[name] == values).all()


def test_a_damaged_log_does_not_stop_a_run_from_going_on(tmp_path, trained, monkeypatch, capsys):
    with monkeypatch.context() as killed:
        killed.setattr(loop.Session, "update", stop_at(4))
        with pytest.raises(Interrupted):
            fit(teacher(tmp_path, checkpoint_every_steps=2))
    resumed = teacher(tmp_path, checkpoint_every_steps=2)
    with (resumed.run.folder / "log.jsonl").open("ab") as log:
        log.write(b'{"step": "no\n\xff\xfe')
    fit(resumed)
    assert equal(weights(resumed), weights(trained[0]))
    assert "damaged" in capsys.readouterr().out


def test_going_on_with_another_device_is_recorded(tmp_path, monkeypatch):
    with monkeypatch.context() as killed:
        killed.setattr(loop.Session, "update", stop_at(4))
        with pytest.raises(Interrupted):
            fit(teacher(tmp_path, checkpoint_every_steps=2))

    def load(*arguments, **options):
        step, facts = real(*arguments, **options)
        return step, facts | {"device": "cuda"}

    real = loop.load_checkpoint
    monkeypatch.setattr(loop, "load_checkpoint", load)
    resumed = teacher(tmp_path, checkpoint_every_steps=2)
    fit(resumed)
    (row,) = [row for row in resumed.run.log_rows() if "device" in row]
    assert (row["step"], row["device"], row["device_before"]) == (2, "cpu", "cuda")


def test_a_stop_by_a_signal_is_recorded_as_stopped(tmp_path, monkeypatch):
    experiment = student(tmp_path)
    monkeypatch.setattr(loop.Session, "update", raising(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        fit(experiment)
    assert experiment.run.state == "stopped"


def test_no_step_between_log_points_reads_from_the_device(trained, tmp_path):
    name, runs = trained[0].run.run_id, trained[0].run.folder.parent
    experiments = (
        teacher(tmp_path, hard_pixels=True, void_in_distance=False),
        student(runs, teacher=name, auxiliary_weight=0.4),
    )
    for experiment in experiments:
        parts = loop.TrainedParts(experiment.network.train(), experiment.distiller)
        step, device = training_step(experiment), experiment.device
        session = loop.Session(step, parts, experiment.run, evaluation=None, device=device)
        batch = experiment.train_batches[0]
        session.update(batch, 0)
        with no_host_reads():
            session.update(batch, 1)


def test_a_complete_run_is_read_not_trained_again(trained, capsys, monkeypatch):
    run = trained[0].run
    for name in (LAST, "previous.safetensors"):
        (run.folder / name).touch()  # left by a kill after the manifest
    monkeypatch.setattr(fit_module, "train", raising(AssertionError("trained again")))
    again = teacher(run.folder.parent)
    assert fit(again) == run.metrics()
    assert "is complete" in capsys.readouterr().out
    assert equal(weights(again), weights(trained[0]))
    assert not list(run.folder.glob("*last*")) + list(run.folder.glob("previous*"))


def test_train_run_takes_role_and_values(tmp_path):
    run = train_run("student", SMALL | {"runs": str(tmp_path), "train_steps": 1})
    assert (run.role, run.kind, run.state) == ("student", "alone", "complete")
    assert load_run(run.folder).run_id == run.run_id


@pytest.mark.parametrize("which", [0, 1])
def test_a_student_learns_from_either_teacher_and_never_changes_it(trained, which):
    taught_by = trained[which]
    runs = taught_by.run.folder.parent
    before = weights(load_experiment(taught_by.run, device="cpu"))
    taught = student(runs, teacher=taught_by.run.run_id)
    fit(taught)
    assert taught.run.kind == ("of-assisted", "of-plain")[which]
    assert taught.run.identity["teacher"]["run_id"] == taught_by.run.run_id
    assert equal(before, weights(taught.teacher))
    assert not taught.teacher.network.training
    assert taught.network.label_channels == 0
    assert "cwd" in taught.run.log_rows()[1]


def test_the_teacher_reads_the_students_noising(trained):
    runs = trained[0].run.folder.parent
    fixed = student(
        runs, teacher=trained[0].run.run_id, distillation_codes="fixed", distillation_pixel_std=0.5
    )
    noising = distillation_noising(fixed)
    assert (noising.class_codes, noising.pixel_std, noising.label_scale) == ("fixed", 0.5, 3)
    assert distillation_noising(student(runs, teacher=trained[1].run.run_id)) is None


def test_a_teacher_of_fixed_codes_without_noise_reads_the_same_label_twice(tmp_path):
    clean = teacher(tmp_path, class_codes="fixed", pixel_std=0)
    batch = clean.train_batches[0]
    terms = training_step(clean)(batch, torch.Generator().manual_seed(0)).terms
    assert terms["ce_a"] == terms["ce_b"]
    assert terms["consistency"].item() == pytest.approx(0, abs=1e-6)
    random_codes = dataclasses.replace(clean.noising, class_codes="random")
    other = dataclasses.replace(clean, noising=random_codes)
    terms = training_step(other)(batch, torch.Generator().manual_seed(0)).terms
    assert terms["consistency"] > 1e-6


def test_a_student_is_no_teacher(tmp_path):
    alone = student(tmp_path, train_steps=1)
    fit(alone)
    with pytest.raises(SettingsError, match="is a student; expected a teacher's run"):
        student(tmp_path, teacher=alone.run.run_id)


@pytest.mark.parametrize(("precision", "optimiser"), [("fp32", "sgd"), ("bf16", "adamw")])
def test_every_precision_and_optimiser_trains(tmp_path, precision, optimiser):
    experiment = teacher(tmp_path, precision=precision, optimiser=optimiser, train_steps=2)
    metrics = fit(experiment)
    assert all(math.isfinite(values["miou"]) for values in metrics["readings"].values())
    assert json.loads((experiment.run.folder / "metrics.json").read_text()) == metrics


@pytest.mark.parametrize(
    ("minutes", "per_step", "saved"),
    [(0, 1000, [4]), (10, 6, [2, 4]), (10, 10, [1, 2, 3, 4]), (0.5, 0.4, [2, 4])],
)
def test_checkpoints_come_by_minutes_too(monkeypatch, minutes, per_step, saved):
    clock = [1e6]
    monkeypatch.setattr(loop.time, "monotonic", lambda: clock[0])
    due = loop.checkpoint_times(every_steps=200, every_minutes=minutes, steps=4)
    steps = []
    for step in (1, 2, 3, 4):
        clock[0] += 60 * per_step
        steps += [step] if due(step) else []
    assert steps == saved
