"""Runs with other assistance than the method's: what teacher and student read in training."""

import pytest
import torch

from labkit.training.experiment import (
    distillation_noising,
    teaching_network,
    training_step,
)
from labkit.training.fit import fit
from tests.training import (
    student,
    teacher,
    tiny_networks,  # noqa: F401
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


def test_a_student_is_taught_by_the_mean_over_noisings(trained):
    four = taught_by(trained["assisted"], distillation_noisings=4)
    target = four.train_batches[0].target
    channels = distillation_noising(four)(target, generator=torch.Generator().manual_seed(0))
    assert channels.shape[1] == teaching_network(four).label_channels == 4
    assert terms(four)["ce"] == terms(taught_by(trained["assisted"]))["ce"]
    assert fit(four)["readings"].keys() == {"image"}
