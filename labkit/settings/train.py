"""Settings that every training run has, and which of them are part of a run's id."""

from collections.abc import Iterator
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from labkit.settings.base import (
    Device,
    Name,
    Natural,
    NonNegative,
    PathText,
    Positive,
    Settings,
    Side,
    Size,
)

# Where and how fast a run happens, not what it computes: no part of a run's id or config.json.
# For `teacher` and a path in `encoder_weights` a run's identity holds the hash of the content.
LOCAL_FIELDS = frozenset(
    {
        "data_root",
        "runs",
        "device",
        "workers",
        "threads",
        "resident",
        "compile",
        "scoring_batch",
        "log_every_steps",
        "evaluate_every_steps",
        "checkpoint_every_steps",
        "checkpoint_every_minutes",
        "teacher",
    }
)

# Settings that came after runs had been made: left out of a run's id and config.json while they
# have the default of the class, so that those runs keep their ids. Loading fills the default in.
LATER_FIELDS = frozenset(
    {
        "score_split",
        "start_from_teacher",
    }
)


class TrainSettings(Settings):
    """Settings of every training run. The data set's recipe overrides these defaults.

    Attributes:
        role: teacher or student.
        kind: assisted or plain for teachers; alone, of-plain or of-assisted for students.
    """

    role: ClassVar[str] = ""
    kind: ClassVar[str] = ""

    dataset: Name = Field("streets", description="name of a file in labkit/datasets")
    recipe: Name = Field("default", description="one of the data set's recipes")
    data_root: PathText = Field(
        "", description='folder that holds the data sets; "": environment variable LABKIT_DATA'
    )
    train_size: Natural = Field(0, description="training images used, the first ones; 0: all")
    score_split: Literal["val", "test"] = Field(
        "val", description="split that scores the run; test: confirms what was chosen on val"
    )
    val_size: Natural = Field(0, description="images scored, the first ones; 0: all")
    resize: Size = Field("native", description="size of a training image before the random zoom")
    score_size: Size = Field(
        "native", description="size of an image when scored; the label keeps its own"
    )
    crop_height: Side = Field(64, description="training crop, pixels")
    crop_width: Side = Field(128, description="training crop, pixels")
    scale_min: float = Field(1, gt=0, le=16, description="random zoom of the training image, from")
    scale_max: float = Field(1, gt=0, le=16, description="random zoom of the training image, to")
    brightness: float = Field(0, ge=0, le=1, description="brightness jitter, fraction")
    architecture: Name = Field("unet", description="a network of labkit/networks")
    encoder: Name = Field(
        "tu-mobilenetv3_small_100", description="an encoder of smp, or tu-<timm name>"
    )
    encoder_weights: PathText = Field(
        "none", min_length=1, description="none, imagenet (download) or a file of weights"
    )
    auxiliary_weight: NonNegative = Field(
        0, description="weight of the auxiliary head's loss; 0: no auxiliary head"
    )
    hard_pixels: bool = Field(
        False, description="cross-entropy of the hardest pixels alone (OHEM), of all heads"
    )
    train_steps: Positive = Field(1200, description="optimiser steps")
    batch_size: Positive = Field(8, description="images per step")
    scoring_batch: Positive = Field(20, description="images scored together at most")
    optimiser: Literal["sgd", "adamw"] = Field("adamw", description="optimiser")
    learning_rate: float = Field(
        2e-3, gt=0, allow_inf_nan=False, description="peak, before the poly decay"
    )
    momentum: float = Field(0.9, ge=0, lt=1, description="of SGD; adamw has none")
    weight_decay: NonNegative = Field(
        1e-2, description="decoupled for adamw; not of biases and normalisation"
    )
    warmup_steps: Natural = Field(30, description="linear warm-up, optimiser steps")
    poly_power: NonNegative = Field(0.9, description="learning rate: peak * (1 - step/steps)^power")
    boundary_width: Positive = Field(
        2, description="a pixel this near another class counts as boundary, pixels"
    )
    seed: Natural = Field(0, description="weights, data order, augmentation and noise follow it")
    evaluate_every_steps: Natural = Field(
        0, description="optimiser steps between evaluations; 0: quarters of the run"
    )
    checkpoint_every_steps: Positive = Field(200, description="optimiser steps between checkpoints")
    checkpoint_every_minutes: NonNegative = Field(
        10, description="minutes between checkpoints at most; 0: by steps alone"
    )
    log_every_steps: Positive = Field(20, description="optimiser steps between log rows")
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto", description="of training; auto: bf16 autocast where the device is faster in it"
    )
    device: Device = Field("auto", description="auto: cuda where there is one")
    workers: Natural = Field(0, le=256, description="processes that load data; cannot change a run")
    threads: Natural = Field(0, le=4096, description="CPU threads; 0: as torch chooses")
    resident: bool = Field(
        False, description="training frames are kept on the device and augmented there"
    )
    compile: bool = Field(
        False, description="torch.compile of the trained network; without it where that fails"
    )
    runs: PathText = Field("runs", min_length=1, description="folder of run folders")

    @model_validator(mode="after")
    def _no_contradictions(self) -> Self:
        if faults := list(self.contradictions()):
            raise ValueError("\n".join(faults))
        return self

    def contradictions(self) -> Iterator[str]:
        """Yield one line for each pair of settings that contradict each other."""
        if self.scale_min > self.scale_max:
            yield (
                f"setting scale_min: got {self.scale_min}; "
                f"expected at most scale_max, {self.scale_max}."
            )
        if "x" in self.resize:
            for name, side in zip(("height", "width"), self.resize.split("x"), strict=True):
                crop, largest = getattr(self, f"crop_{name}"), round(int(side) * self.scale_max)
                if crop > largest:
                    yield (
                        f"setting crop_{name}: got {crop} pixels; expected at most {largest}, "
                        f"the image's {name} (resize={self.resize}) at the largest zoom."
                    )
        if self.resident and self.workers:
            yield (
                f"setting workers: got {self.workers} with resident=yes; "
                "expected 0, resident frames are not loaded. Leave one of them out."
            )
        if self.optimiser != "sgd" and self.momentum != self._default("momentum"):
            yield (
                f"setting momentum: got {self.momentum}, which does not apply: "
                f"{self.optimiser} has no momentum. Use optimiser=sgd, or leave it out."
            )

    @classmethod
    def _default(cls, name: str) -> object:
        return cls.model_fields[name].default
