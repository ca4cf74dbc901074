"""The label noisings of an assisted teacher, and a student's start from its teacher's weights."""

from dataclasses import replace
from typing import TYPE_CHECKING

from torch import nn

from labkit.method import LabelNoising
from labkit.settings import TeacherSettings

if TYPE_CHECKING:
    from labkit.training.experiment import Experiment


def take_weights(student: nn.Module, teacher: nn.Module) -> None:
    """Give a student the weights of a teacher of its network, those of the label left out."""
    own, taken = student.state_dict(), teacher.state_dict()
    for name, value in own.items():
        if name in taken:
            value.copy_(taken[name][:, : value.shape[1]] if value.ndim > 1 else taken[name])


def label_noising(settings: TeacherSettings, num_classes: int) -> LabelNoising:
    """Return the label noising of an assisted teacher in training and scoring."""
    return LabelNoising(
        num_classes=num_classes,
        class_std=settings.class_std,
        pixel_std=settings.pixel_std,
        label_scale=settings.label_scale,
        void_policy=settings.void_policy,
        label_channels=settings.label_channels,
        class_codes=settings.class_codes,
    )


def distillation_noising(experiment: "Experiment") -> LabelNoising | None:
    """Noising an assisted teacher reads in distillation: its own, with the student's settings."""
    teacher, settings = experiment.teacher, experiment.settings
    if teacher is None or teacher.noising is None:
        return None
    return replace(
        teacher.noising,
        class_codes=settings.distillation_codes,
        pixel_std=settings.distillation_pixel_std,
    )
