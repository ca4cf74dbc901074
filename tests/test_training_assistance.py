"""Runs with other assistance than the method's: what teacher and student read in training."""

import pytest
import torch

from labkit.errors import SettingsError
from labkit.training.experiment import training_step
from labkit.training.fit import fit
from tests.training import (
    equal,
    student,
    teacher,
    tiny_networks,  # noqa: F401
    weights,
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A complete assisted and a complete plain teacher in one folder."""
    runs = tmp_path_factory.mktemp("runs")
    made = [teacher(runs, assisted=assisted, train_steps=2) for assisted in (True, False)]
    for experiment in made:
        fit(experiment)
    return {experiment.run.kind: experiment for experiment in made}


def taught_by(experiment, **values):
    """A student of a complete teacher."""
    run = experiment.run
    return student(run.folder.parent, teacher=run.run_id, **values)


def terms(experiment, *, step=0):
    """Loss terms of a step before any training, in training mode."""
    experiment.network.train()
    batch = experiment.train_batches[step]
    return training_step(experiment)(batch, torch.Generator().manual_seed(step)).terms


@pytest.mark.parametrize("kind", ["assisted", "plain"])
def test_a_student_begins_with_its_teacher_s_weights_without_the_label_slice(trained, kind):
    """With the label slice left out it answers as the teacher does where the label is empty."""
    taught = taught_by(trained[kind], start_from_teacher=True)
    network, images = taught.teacher.network, taught.train_batches[0].images
    empty = torch.zeros(2, network.label_channels, 64, 64)
    expected = network(torch.cat([images, empty], 1)).logits
    torch.testing.assert_close(taught.network.eval()(images).logits.detach(), expected)
    assert all(parameter.requires_grad for parameter in taught.network.parameters())
    before = weights(taught.teacher)
    fit(taught)
    assert equal(before, weights(taught.teacher))


def test_a_start_from_another_network_is_refused(trained):
    with pytest.raises(SettingsError, match="start_from_teacher: got yes"):
        taught_by(trained["plain"], start_from_teacher=True, encoder="resnet18")
