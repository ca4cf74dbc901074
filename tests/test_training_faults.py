"""What stops a training, and what is reported of it."""

import math
import re

import pytest
import torch

from labkit.errors import FileError, RecordError, TrainingError
from labkit.method import StepOutput
from labkit.records import load_run
from labkit.training import evaluate, loop
from labkit.training import fit as fit_module
from labkit.training.checkpoint import LAST
from labkit.training.experiment import load_experiment, training_step
from labkit.training.fit import fit
from tests.training import (  # noqa: F401  tiny_networks is a fixture of this module
    raising,
    student,
    teacher,
    tiny_networks,
)


@pytest.mark.parametrize("log_every", [1, 4])
def test_a_loss_that_is_not_finite_stops_with_its_step_and_terms(tmp_path, monkeypatch, log_every):
    experiment = teacher(tmp_path, log_every_steps=log_every, checkpoint_every_steps=4)
    real = training_step(experiment)
    calls = []

    def step(batch, generator):
        calls.append(1)
        output = real(batch, generator)
        bad = output.terms["ce_a"] * (math.nan if len(calls) == 2 else 1)
        return StepOutput(output.loss + bad, output.terms | {"ce_a": bad})

    monkeypatch.setattr(fit_module, "training_step", lambda *_: step)
    with pytest.raises(TrainingError, match=r"step 2: the loss is not finite \(ce_a nan, ce_b "):
        fit(experiment)
    assert experiment.run.state == "failed"
    assert not (experiment.run.folder / LAST).exists()


def test_changed_weights_are_refused(tmp_path):
    experiment = student(tmp_path, train_steps=1)
    fit(experiment)
    path = experiment.run.folder / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(RecordError, match=r"model\.safetensors"):
        load_experiment(load_run(experiment.run.folder), device="cpu")


def test_a_teacher_that_ignores_its_label_is_reported(capsys):
    miou = {"true_label": 50.0, "foreign_label": 49.8, "zero_label": 50.1}
    loop.report_evaluation(miou, step=3, steps=4)
    assert "ignores its label" in capsys.readouterr().out
    loop.report_evaluation(miou | {"foreign_label": 40.0}, step=3, steps=4)
    assert "ignores its label" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (torch.OutOfMemoryError("CUDA out of memory."), TrainingError, "out of memory"),
        (RuntimeError("mat1 and mat2"), RuntimeError, "mat1 and mat2"),
    ],
)
def test_only_out_of_memory_is_taken_for_it(tmp_path, monkeypatch, error, kind, words):
    experiment = student(tmp_path)
    monkeypatch.setattr(loop.Session, "update", raising(error))
    with pytest.raises(kind, match=words) as caught:
        fit(experiment)
    assert type(caught.value) is kind
    assert experiment.run.state == "failed"
    assert words in experiment.run.facts()["error"]


@pytest.mark.parametrize(
    ("batch_size", "precision", "advised"),
    [
        (6, "fp32", ["batch_size first (try 3)", "precision=bf16", "crop_height"]),
        (7, "bf16", ["batch_size first (try 3)", "crop_height"]),
        (1, "fp32", ["precision=bf16", "crop_height"]),
    ],
)
def test_the_advice_names_only_what_can_be_lowered(
    tmp_path, monkeypatch, batch_size, precision, advised
):
    experiment = student(tmp_path, batch_size=batch_size, precision=precision)
    monkeypatch.setattr(loop.Session, "update", raising(MemoryError()))
    with pytest.raises(TrainingError, match=rf"batch_size={batch_size}, crop") as caught:
        fit(experiment)
    advice = str(caught.value).split(". ", 1)[1]
    names = r"batch_size first \(try \d+\)|precision=bf16|crop_height"
    assert re.findall(names, advice, re.IGNORECASE) == advised


@pytest.mark.parametrize(("size", "advice"), [(6, "Lower scoring_batch (try 3), then"), (1, "")])
def test_memory_that_runs_out_while_scoring_is_explained_by_scoring(
    tmp_path, monkeypatch, size, advice
):
    experiment = student(tmp_path, scoring_batch=size)
    monkeypatch.setattr(evaluate, "to_device", raising(MemoryError()))
    with pytest.raises(TrainingError, match=f"out of memory on cpu at scoring_batch={size}") as one:
        fit(experiment)
    assert advice in str(one.value)
    assert "core smaller images (score_size)" in str(one.value)
    assert "batch_size first" not in str(one.value)


def test_a_network_whose_outputs_are_not_finite_is_never_complete(tmp_path):
    """The last step's loss is finite, and yet the step leads to unusable weights."""
    experiment = student(tmp_path, train_steps=1, learning_rate=1e30, optimiser="sgd")
    with pytest.raises(TrainingError, match="not finite"):
        fit(experiment)
    assert experiment.run.state == "failed"


def test_a_run_in_use_by_another_process_is_refused(tmp_path, monkeypatch):
    experiment = student(tmp_path)
    with experiment.run.lock():
        monkeypatch.setattr(type(experiment.run), "lock", raising(FileError("in use")))
        with pytest.raises(FileError, match="in use"):
            fit(experiment)
    assert experiment.run.state == "absent"
