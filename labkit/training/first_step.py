"""The loss terms of a run before any training."""

import copy
from dataclasses import replace

import torch

from labkit.method.seeding import stream_generator, stream_seed
from labkit.training.device import autocast
from labkit.training.experiment import Experiment, training_step


def first_terms(experiment: Experiment) -> dict[str, float]:
    """Weighted loss terms of step 1, in training mode, on copies: the experiment stays as it is."""
    settings, device = experiment.settings, experiment.device
    fresh = replace(
        experiment,
        network=copy.deepcopy(experiment.network).train(),
        distiller=copy.deepcopy(experiment.distiller),
    )
    batch = experiment.train_batches[0].to(device)
    generator = stream_generator("noise", settings.seed, 0, device=device)
    with torch.random.fork_rng(), torch.no_grad(), autocast(device, experiment.precision):
        torch.manual_seed(stream_seed("dropout", settings.seed, 0, 0))  # step 0, process 0
        terms = training_step(fresh)(batch, generator).terms
    return {name: value.item() for name, value in terms.items()}
