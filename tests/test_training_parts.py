"""Distillers with adapters and queues, and auxiliary heads: trained and resumed, never exported."""

import sys

import pytest
import torch
from safetensors.torch import load_file

from labkit import distillers
from labkit.records import load_run
from labkit.training import loop
from labkit.training.experiment import load_experiment
from labkit.training.fit import fit
from tests.training import (  # noqa: F401  tiny_networks is a fixture of this module
    Interrupted,
    equal,
    stop_at,
    student,
    teacher,
    tiny_networks,
    weights,
)

DISTILLER = '''
"""A feature distiller with an adapter and a memory queue, as a user would add one."""

import torch
import torch.nn.functional as F
from torch import nn

from labkit.distillers.base import Distiller


class QueuedFeatures(Distiller):
    """Mean squared distance to the teacher's features and to the mean of those seen before."""

    def __init__(self, student, teacher, *, weight: float = 2.0, length: int = 3):
        super().__init__(weight=weight)
        widths = student.features[-1].shape[1], teacher.features[-1].shape[1]
        self.adapters["features"] = nn.Conv2d(*widths, 1)
        self.register_buffer("queue", torch.zeros(length, widths[1]))
        self.register_buffer("position", torch.zeros((), dtype=torch.int64))

    def loss(self, student, teacher, target):
        adapted = self.adapters["features"](student.features[-1].float())
        feature = teacher.features[-1].float()
        mean = self.queue.mean(0)[None, :, None, None]
        index = (self.position % len(self.queue)).view(1)
        self.queue.index_copy_(0, index, feature.mean((0, 2, 3))[None])
        self.position += 1
        return F.mse_loss(adapted, feature) + F.mse_loss(adapted, mean.expand_as(adapted))
'''


@pytest.fixture(scope="module")
def queued(tmp_path_factory):
    """Adds one file with a distiller to the package's folders."""
    folder = tmp_path_factory.mktemp("distillers")
    (folder / "queued.py").write_text(DISTILLER)
    distillers.__path__.append(str(folder))
    yield "queued:1.5"
    distillers.__path__.remove(str(folder))
    sys.modules.pop("labkit.distillers.queued", None)


@pytest.fixture(scope="module")
def taught_by(tmp_path_factory):
    """A complete assisted teacher and its runs folder."""
    experiment = teacher(tmp_path_factory.mktemp("runs"), train_steps=2)
    fit(experiment)
    return experiment.run


def interrupted(make, monkeypatch, step=4):
    with monkeypatch.context() as killed:
        killed.setattr(loop.Session, "update", stop_at(step))
        with pytest.raises(Interrupted):
            fit(make())


def test_a_distiller_added_as_one_file_trains_resumes_and_is_not_exported(
    queued, taught_by, monkeypatch, tmp_path
):
    def make(seed=0):
        settings = {"teacher": taught_by.run_id, "distillation": queued, "seed": seed}
        return student(taught_by.folder.parent, checkpoint_every_steps=2, **settings)

    whole = make()
    untrained = {name: value.clone() for name, value in whole.distiller.state_dict().items()}
    fit(whole)
    first, second, *_ = whole.run.log_rows()
    assert first["distillation_weights"] == {"queued": 1.5}
    assert "queued" in second
    trained = whole.distiller.state_dict()
    assert not torch.equal(
        untrained["parts.queued.adapters.features.weight"],
        trained["parts.queued.adapters.features.weight"],
    )
    exported = load_file(whole.run.folder / "model.safetensors")
    assert exported.keys() == whole.network.state_dict().keys() - auxiliary_names(whole)
    metrics = whole.run.metrics()
    for path in whole.run.folder.iterdir():
        path.unlink()
    interrupted(make, monkeypatch)
    resumed = make()
    fit(resumed)
    assert equal(weights(resumed), weights(whole))
    assert equal(dict(resumed.distiller.state_dict()), dict(trained))
    assert resumed.run.metrics() == metrics


def auxiliary_names(experiment) -> set[str]:
    return {name for name in experiment.network.state_dict() if name.startswith("auxiliary")}


def test_distillers_of_the_package_train_together(taught_by):
    experiment = student(
        taught_by.folder.parent,
        teacher=taught_by.run_id,
        distillation="cwd:3+kd:1",
        train_steps=1,
        **{"cwd.temperature": "2"},
    )
    fit(experiment)
    row = experiment.run.log_rows()[1]
    assert {"ce", "cwd", "kd"} <= row.keys()
    assert row["loss"] == pytest.approx(row["ce"] + row["cwd"] + row["kd"], rel=1e-5)


@pytest.mark.parametrize("role", ["teacher", "student"])
def test_an_auxiliary_head_trains_resumes_and_is_not_exported(role, tmp_path, monkeypatch):
    def make(folder):
        build = teacher if role == "teacher" else student
        return build(folder, auxiliary_weight=0.4, checkpoint_every_steps=2)

    whole = make(tmp_path / "whole")
    fit(whole)
    names = [name for name in whole.run.log_rows()[0] if name.startswith("auxiliary")]
    assert len(names) == (2 if role == "teacher" else 1)
    interrupted(lambda: make(tmp_path / "stopped"), monkeypatch)
    resumed = make(tmp_path / "stopped")
    fit(resumed)
    assert auxiliary_names(resumed)
    assert equal(weights(resumed), weights(whole))
    exported = load_file(whole.run.folder / "model.safetensors")
    assert not any(name.startswith("auxiliary") for name in exported)
    again = load_experiment(load_run(whole.run.folder), device="cpu")
    for name, value in exported.items():
        assert torch.equal(again.network.state_dict()[name], value)


def test_hard_pixels_and_separate_paths_train(tmp_path):
    for values in ({"hard_pixels": True}, {"separate_paths": True}):
        experiment = teacher(tmp_path, train_steps=1, **values)
        assert fit(experiment)["readings"]["true_label"]
