"""What a teacher reads and how it answers in training and teaching, by a run's settings."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from torch import Tensor, nn

from labkit.method import LabelNoising, cross_entropy, hard_pixel_cross_entropy
from labkit.method.soft_labels import soft_cross_entropy
from labkit.settings import TeacherSettings, TrainSettings

if TYPE_CHECKING:
    from labkit.training.experiment import Experiment


def segmentation_loss_of(settings: TrainSettings) -> Callable[..., Tensor]:
    """(logits, target, *, stride) -> scalar: what the main logits of a network learn."""
    if settings.hard_pixels:
        return hard_pixel_cross_entropy
    soft = {name: getattr(settings, name) for name in ("label_smoothing", "boundary_smoothing")}
    return partial(soft_cross_entropy, **soft) if any(soft.values()) else cross_entropy


def take_weights(student: nn.Module, teacher: nn.Module) -> None:
    """Give a student the weights of a teacher of its network, those of the label left out."""
    own, taken = student.state_dict(), teacher.state_dict()
    for name, value in own.items():
        if name in taken:
            value.copy_(taken[name][:, : value.shape[1]] if value.ndim > 1 else taken[name])


def label_noising(settings: TeacherSettings, num_classes: int) -> LabelNoising:
    """What an assisted teacher reads when it is scored, and while it trains and teaches."""
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
