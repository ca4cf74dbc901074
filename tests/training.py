"""Small runs for the tests of training."""

import pytest

from labkit.training import loop
from labkit.training.experiment import Experiment, plan_run, prepare
from tests.tiny import TinyNetwork

SMALL = {
    "train_size": 8,
    "val_size": 4,
    "crop_height": 64,
    "crop_width": 64,
    "encoder": "tu-mobilenetv3_small_050",
    "batch_size": 2,
    "train_steps": 4,
    "log_every_steps": 1,
    "threads": 1,
    "device": "cpu",
    "precision": "fp32",
}


class Interrupted(Exception):
    """Stands for a kill."""


def build_tiny(
    architecture,
    encoder,
    *,
    encoder_weights="none",
    label_init="normal",
    **options,
):
    """Stands for `build_network`: a network of four layers, whatever was asked for."""
    return TinyNetwork(**options)


@pytest.fixture(scope="module", autouse=True)
def tiny_networks():
    """Networks of four layers, in the module that imports this fixture."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("labkit.training.experiment.build_network", build_tiny)
        yield


def teacher(runs, **values) -> Experiment:
    return prepare(plan_run("teacher", SMALL | {"runs": str(runs)} | values))


def student(runs, **values) -> Experiment:
    return prepare(plan_run("student", SMALL | {"runs": str(runs)} | values))


def weights(experiment: Experiment) -> dict:
    return {name: value.clone() for name, value in experiment.network.state_dict().items()}


def equal(first: dict, second: dict) -> bool:
    """Whether two states hold the same tensors, bit for bit."""
    return first.keys() == second.keys() and all((first[n] == second[n]).all() for n in first)


def raising(error: BaseException):
    """A function of anything that raises an error."""

    def stop(*_, **__):
        raise error

    return stop


def stop_at(step):
    """A replacement of `update` that is interrupted at a step."""
    real = loop.Session.update

    def update(self, batch, number):
        if number == step - 1:
            raise Interrupted
        return real(self, batch, number)

    return update
