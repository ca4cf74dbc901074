"""Trains and scores a small run in every process torchrun starts; a helper of the tests.

Arguments: runs folder, role, teacher or "", process that kills itself or -1, step at which it does.
"""

import os
import signal
import sys

import torch
from torch import nn

from labkit.training import experiment as experiment_module
from labkit.training import loop
from labkit.training.fit import fit
from tests.training import build_tiny, student, teacher

SETTINGS = {
    "batch_size": 6,
    "train_steps": 20,
    "optimiser": "sgd",
    "learning_rate": 0.1,
    "warmup_steps": 0,
    "val_size": 5,
    "scoring_batch": 2,
    "checkpoint_every_steps": 5,
    "log_every_steps": 5,
}


def build(*names, **options):
    """A network without batch statistics."""
    network = build_tiny(*names, **options)
    network.norm = nn.Identity()
    return network


def main(runs: str, role: str, taught_by: str, victim: int, at_step: int) -> None:
    torch.set_num_threads(1)
    experiment_module.build_network = build
    values = SETTINGS | ({"teacher": taught_by} if taught_by else {})
    experiment = (teacher if role == "teacher" else student)(runs, **values)
    real = loop.Session.update

    def update(self, batch, number):
        if os.environ.get("RANK", "0") == str(victim) and number == at_step:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(self, batch, number)

    loop.Session.update = update
    fit(experiment)


if __name__ == "__main__":
    runs, role, taught_by, victim, at_step = sys.argv[1:]
    main(runs, role, taught_by, int(victim), int(at_step))
