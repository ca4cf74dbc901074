"""The moving average of weights: its numbers, what holds it, and a kill in between."""

import contextlib

import pytest
import torch
from torch import nn

from labkit.datasets import frames_batch
from labkit.training import loop
from labkit.training.averaging import averaged, moving_average
from labkit.training.experiment import load_experiment
from labkit.training.fit import fit
from tests.training import (
    Interrupted,
    equal,
    stop_at,
    student,
    tiny_networks,  # noqa: F401
    weights,
)

VALUES = {"weight_average": 0.5, "checkpoint_every_steps": 2, "evaluate_every_steps": 1}


def test_the_average_by_hand_with_buffers():
    network = nn.BatchNorm1d(1)
    average = moving_average(network, 0.75)
    for value in (1.0, 5.0, 9.0):
        with torch.no_grad():
            network.weight.fill_(value)
        network.running_mean.fill_(-value)
        average.update_parameters(network)
    assert average.module.weight.item() == pytest.approx(0.75 * (0.75 * 1 + 0.25 * 5) + 0.25 * 9)
    assert average.module.running_mean.item() == pytest.approx(-average.module.weight.item())
    with contextlib.suppress(ZeroDivisionError), averaged(network, average):
        assert network.weight.item() == average.module.weight.item()
        raise ZeroDivisionError  # its own weights come back after a fault, too
    assert (network.weight.item(), network.running_mean.item()) == (9.0, -9.0)
    assert moving_average(network, 0) is None


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A complete run with an average, and one of its weights after every step."""
    seen = []
    update = loop.Session.update

    def recorded(self, batch, number):
        output = update(self, batch, number)
        seen.append(self.parts.network.head.weight.detach().clone())
        return output

    experiment = student(tmp_path_factory.mktemp("runs"), **VALUES)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop.Session, "update", recorded)
        fit(experiment)
    return experiment, seen


def test_a_run_is_scored_and_saved_with_the_average_of_its_steps(trained):
    experiment, seen = trained
    expected = seen[0]
    for weight in seen[1:]:
        expected = expected.lerp(weight, 0.5)
    torch.testing.assert_close(experiment.network.head.weight.detach(), expected)
    loaded = load_experiment(experiment.run, device="cpu")
    assert torch.equal(loaded.network.head.weight, experiment.network.head.weight)
    batch = frames_batch(loaded.val_split, loaded.info, [0, 1])
    assert torch.equal(loaded.logits("image", batch), experiment.logits("image", batch))


def test_evaluations_do_not_change_the_training(trained, tmp_path):
    rare = student(tmp_path, **VALUES | {"evaluate_every_steps": 4})
    fit(rare)
    assert equal(weights(rare), weights(trained[0]))


def test_a_resumed_run_ends_with_the_same_average(trained, tmp_path, monkeypatch):
    with monkeypatch.context() as killed:
        killed.setattr(loop.Session, "update", stop_at(4))
        with pytest.raises(Interrupted):
            fit(student(tmp_path, **VALUES))
    resumed = student(tmp_path, **VALUES)
    fit(resumed)
    assert equal(weights(resumed), weights(trained[0]))
    assert resumed.run.metrics() == trained[0].run.metrics()
