"""A run's distillers: built for its networks, weights calibrated on its own first batches."""

import math
from typing import TYPE_CHECKING

import torch
from torch import nn

from labkit.distillers import build_distiller, parse_distillation
from labkit.distillers.base import Distiller
from labkit.distillers.calibrate import Calibration, calibrate
from labkit.errors import SettingsError
from labkit.method import LabelNoising, Outputs
from labkit.method.seeding import stream_generator, stream_seed
from labkit.training.device import autocast

if TYPE_CHECKING:
    from labkit.training.experiment import Experiment

BATCHES = 4  # of the run's training, from its first on
EXAMPLE_SIDE = 64  # pixels, of the image that sizes a distiller's adapters


def prepare_distiller(experiment: "Experiment", noising: LabelNoising | None) -> Distiller:
    """The distillers that a student's settings name, on its device, with their weights.

    Args:
        experiment: a student's, with its teacher.
        noising: of the label that an assisted teacher reads in distillation.

    Raises:
        SettingsError: a setting does not fit the networks, or a weight cannot be calibrated.
    """
    settings = experiment.settings
    distiller = build_distiller(
        settings.distillation,
        settings.distiller_options,
        student=_example_outputs(experiment, experiment.network),
        teacher=_example_outputs(experiment, experiment.teacher.network),
        seed=settings.seed,
    ).to(experiment.device)
    uncalibrated = [name for name, weight in distiller.weights.items() if math.isnan(weight)]
    if uncalibrated:
        distiller.set_weights(measure(experiment, noising, "+".join(uncalibrated)).weights)
    return distiller


def measure(
    experiment: "Experiment", noising: LabelNoising | None, distillation: str
) -> Calibration:
    """Gradient norms and proposed weights, a function of the run's settings and teacher.

    The student is at its initialisation; precision is that of the training.

    Args:
        experiment: a student's, with its teacher; left as it is.
        noising: of the label that an assisted teacher reads in distillation.
        distillation: names of distillers, such as "at+cwd"; weights in it do not matter.

    Raises:
        SettingsError: a distiller has no gradient at the student's last encoder stage.
    """
    settings, device = experiment.settings, experiment.device
    named = parse_distillation(distillation)
    options = settings.distiller_options.items()
    train_batches = experiment.train_batches
    batches = (train_batches[step].to(device) for step in range(BATCHES))
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices), autocast(device, experiment.precision):
        torch.manual_seed(stream_seed("calibration dropout", settings.seed))
        try:
            return calibrate(
                experiment.network,
                experiment.teacher.network,
                ((batch.images, batch.target) for batch in batches),
                noising,
                distillation,
                {name: value for name, value in options if name.partition(".")[0] in named},
                generator=stream_generator("calibration noise", settings.seed, device=device),
                seed=settings.seed,
                segmentation_loss=experiment.segmentation_loss,
            )
        except ValueError as fault:
            raise SettingsError(f"distillation: {fault}", names=["distillation"]) from fault


@torch.no_grad()
def _example_outputs(experiment: "Experiment", network: nn.Module) -> Outputs:
    """Outputs for one empty image, from which adapters are sized."""
    inputs = torch.zeros(1, 3 + network.label_channels, EXAMPLE_SIDE, EXAMPLE_SIDE)
    return network(inputs.to(experiment.device))
