"""Every setting of a training run, declared once with its unit, range and default."""

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from labkit.settings.base import NonNegative, PathText, Temperature
from labkit.settings.train import LATER_FIELDS, LOCAL_FIELDS, TrainSettings

__all__ = [
    "KINDS",
    "LATER_FIELDS",
    "LOCAL_FIELDS",
    "AssistedStudentSettings",
    "DistilledStudentSettings",
    "PlainTeacherSettings",
    "StudentSettings",
    "TeacherSettings",
    "TrainSettings",
    "settings_class",
]


class PlainTeacherSettings(TrainSettings):
    """A teacher that reads the image alone."""

    role = "teacher"
    kind = "plain"


class TeacherSettings(TrainSettings):
    """An assisted teacher: it reads the image and the noised label."""

    role = "teacher"
    kind = "assisted"

    class_std: NonNegative = Field(1.0, description="std of the random class codes")
    pixel_std: NonNegative = Field(0.03, description="std of the pixel noise, units of the codes")
    label_scale: NonNegative = Field(
        3.0, description="label channel, units of the normalised image's std"
    )
    void_policy: Literal["own", "zero"] = Field(
        "own", description="void has its own code, or code 0"
    )
    label_channels: int = Field(1, ge=1, le=64, description="independent codes per class")
    class_codes: Literal["random", "fixed"] = Field(
        "random", description="drawn for each image and path, or a fixed ramp over the classes"
    )
    label_init: Literal["normal", "zeros"] = Field(
        "normal", description="label slice of the first convolution: N(0, 0.1^2) or 0"
    )
    consistency_weight: NonNegative = Field(0.1, description="weight of the dual-path consistency")
    consistency_distance: Literal["cwd", "kd"] = Field(
        "cwd", description="distance between the two paths"
    )
    consistency_temperature: Temperature = Field(4.0, description="divides the logits")
    distance_stride: int = Field(
        4, ge=1, le=64, description="finer logits are average-pooled to this stride, pixels"
    )
    void_in_distance: bool = Field(True, description="whether void positions enter the distance")
    separate_paths: bool = Field(
        False, description="two passes of one batch, instead of one pass of both paths"
    )

    def contradictions(self) -> Iterator[str]:
        yield from super().contradictions()
        if self.class_codes == "fixed" and self.label_channels > 1:
            yield (
                f"setting label_channels: got {self.label_channels} with class_codes=fixed; "
                "expected 1, the ramp is one code. Use class_codes=random."
            )
        if self.class_codes == "fixed" and self.class_std != self._default("class_std"):
            yield (
                f"setting class_std: got {self.class_std}, which does not apply: fixed codes are "
                "not drawn. Use class_codes=random, or leave it out."
            )


class StudentSettings(TrainSettings):
    """A student that learns from the labels alone."""

    role = "student"
    kind = "alone"


class DistilledStudentSettings(StudentSettings):
    """A student taught by a plain teacher."""

    kind = "of-plain"

    teacher: PathText = Field(min_length=1, description="run id or folder of a complete teacher")
    distillation: str = Field(
        "cwd:3",
        max_length=500,
        description="distillers with their weights: cwd:3, cwd:3+skd:10, at:calibrated (measured)",
    )
    distiller_options: dict[str, bool | int | float | str] = Field(
        {}, description='settings of the distillers, as "cwd.temperature"'
    )
    start_from_teacher: bool = Field(
        False, description="it begins with its teacher's weights, without the label slice"
    )


class AssistedStudentSettings(DistilledStudentSettings):
    """A student taught by an assisted teacher."""

    kind = "of-assisted"

    distillation_codes: Literal["random", "fixed"] = Field(
        "random", description="class codes the teacher reads during distillation"
    )
    distillation_pixel_std: NonNegative = Field(
        0.02, description="std of the pixel noise the teacher reads, units of the codes"
    )


KINDS: tuple[type[TrainSettings], ...] = (
    TeacherSettings,
    PlainTeacherSettings,
    StudentSettings,
    DistilledStudentSettings,
    AssistedStudentSettings,
)


def settings_class(role: str, kind: str) -> type[TrainSettings]:
    """Return the settings class of a role and kind.

    Raises:
        KeyError: there is none.
    """
    return {(settings.role, settings.kind): settings for settings in KINDS}[role, kind]
