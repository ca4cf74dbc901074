"""Calibrated weights of a run's distillers: measured on its own networks and first batches."""

import math
from typing import TYPE_CHECKING

import torch

from labkit.distillers.calibrate import Calibration, calibrate
from labkit.errors import SettingsError
from labkit.method import LabelNoising
from labkit.method.seeding import stream_generator, stream_seed
from labkit.training.device import autocast

if TYPE_CHECKING:
    from labkit.training.experiment import Experiment

BATCHES = 4  # of the run's training, from its first on


def calibrate_weights(experiment: "Experiment", noising: LabelNoising | None) -> None:
    """Give the distillers whose weight is `calibrated` their weight; the others keep theirs.

    Raises:
        SettingsError: as `measure`.
    """
    distiller = experiment.distiller
    names = [name for name, weight in distiller.weights.items() if math.isnan(weight)]
    if names:
        distiller.set_weights(measure(experiment, noising, "+".join(names)).weights)


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
    named = distillation.split("+")
    options = settings.distiller_options.items()
    batches = (experiment.train_batches[step].to(device) for step in range(BATCHES))
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
            )
        except ValueError as fault:
            raise SettingsError(f"distillation: {fault}", names=["distillation"]) from fault
