"""What a student's teacher reads and how it answers, by the settings of the student."""

from dataclasses import replace
from typing import TYPE_CHECKING

from torch import nn

from labkit.method.assistance import MeanOverNoisings, Noising, repeat_noising

if TYPE_CHECKING:
    from labkit.training.experiment import Experiment


def distillation_noising(experiment: "Experiment") -> Noising | None:
    """Noising an assisted teacher reads in distillation: its own, with the student's settings."""
    teacher, settings = experiment.teacher, experiment.settings
    if teacher is None or teacher.noising is None:
        return None
    noising = replace(
        teacher.noising,
        class_codes=settings.distillation_codes,
        pixel_std=settings.distillation_pixel_std,
    )
    if settings.distillation_noisings > 1:
        noising = repeat_noising(noising, settings.distillation_noisings)
    return noising


def teaching_network(experiment: "Experiment") -> nn.Module | None:
    """The teacher of an experiment as its student is taught: (N, 3 + C, H, W) -> Outputs."""
    teacher, settings = experiment.teacher, experiment.settings
    if teacher is None:
        return None
    network = teacher.network
    if teacher.noising is not None and settings.distillation_noisings > 1:
        network = MeanOverNoisings(network, settings.distillation_noisings)
    return network
