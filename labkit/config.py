"""Which settings exist, in which units and ranges. Frozen, typed; unknown names and bad values are refused in words."""

import difflib
import re
from collections.abc import Iterable
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    field_validator,
)

from labkit.losses import DISTANCES

LARGEST = 2**31 - 1  # of whole numbers
Positive = Annotated[int, Field(ge=1)]
OrRecipe = Annotated[int, Field(ge=-1)]  # -1 = the data set's recipe
OrRecipeFloat = Annotated[float, Field(ge=-1, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]


def _known_distance(name: str) -> str:
    if name not in DISTANCES:
        raise ValueError(f"one of {', '.join(DISTANCES)}")
    return name


def _known_distance_or_recipe(name: str) -> str:
    return name if name == "recipe" else _known_distance(name)


def numbers(text: str) -> list[float]:
    """The numbers of a setting that holds several, separated by commas."""
    return [float(part) for part in text.split(",") if part.strip()]


def _numbers_from_0(text: str) -> str:
    try:
        found = numbers(text)
    except ValueError:
        found = []
    if not found or not all(0 <= value < float("inf") for value in found):
        raise ValueError("numbers of at least 0 separated by commas, such as 0, 0.5, 1")
    return text


Numbers = Annotated[str, AfterValidator(_numbers_from_0)]
DistanceName = Annotated[str, AfterValidator(_known_distance)]
DistanceOrRecipe = Annotated[str, AfterValidator(_known_distance_or_recipe)]
Optimiser = Literal["recipe", "sgd", "adamw"]


class SettingsError(ValueError):
    """A setting nobody knows, a value outside its type or range, or two that contradict each other. The message lists every fault.

    Attributes:
        names: settings that have no usable value.
    """

    def __init__(self, message: str, *, names: Iterable[str] = ()) -> None:
        super().__init__(message)
        self.names = frozenset(names)


class Settings(BaseModel):
    """Base of all settings: frozen, no unknown names, faults told as name, got, expected."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, coerce_numbers_to_str=True)

    @field_validator("*", mode="wrap")
    @classmethod
    def _whole_numbers(cls, value: Any, handler: ValidatorFunctionWrapHandler, info: ValidationInfo) -> Any:
        """True is no 1, and no count needs more than 31 bits."""
        whole = cls.model_fields[info.field_name].annotation is int
        if whole and isinstance(value, bool):
            raise ValueError("a whole number, not yes or no")
        found = handler(value)
        if whole and found > LARGEST:
            raise ValueError(f"at most {LARGEST}")
        return found

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            faults = error.errors()
            names = [str(fault["loc"][0]) for fault in faults]
            raise SettingsError("\n".join(_fault(type(self), fault) for fault in faults), names=names) from None


class Recipe(Settings):
    """What a data set brings: how the field (or our trials) train on it. Any run setting of the same name overrides it."""

    train_size: int = Field(ge=0, description="training images used, the first ones; 0: all")
    val_size: int = Field(ge=0, description="validation images used; 0: all")
    height: int = Field(ge=8, description="images are brought to this height, pixels")
    width: int = Field(ge=8, description="and this width, pixels")
    crop_height: int = Field(ge=8, description="training crop, pixels")
    crop_width: int = Field(ge=8, description="training crop, pixels")
    scale_min: float = Field(gt=0, description="random zoom of the training image, from")
    scale_max: float = Field(gt=0, description="to")
    brightness: float = Field(ge=0, le=1, description="brightness jitter, fraction")
    architecture: str = Field(description="unet, fpn, pspnet or deeplabv3")
    encoder: str = Field(description="an encoder of smp, or tu-<timm name>")
    encoder_weights: str = Field("none", description="none, imagenet (download) or a path to weights")
    teacher_steps: int = Field(ge=1, description="optimiser steps of a teacher")
    student_steps: int = Field(ge=1, description="optimiser steps of a student")
    batch_size: int = Field(ge=1, description="images per step")
    optimiser: Literal["sgd", "adamw"]
    learning_rate: float = Field(gt=0, description="peak, before the poly decay")
    momentum: float = Field(0.9, ge=0, lt=1, description="SGD only")
    weight_decay: float = Field(ge=0)
    warmup_steps: int = Field(ge=0, description="linear warm-up, optimiser steps")
    label_scale: float = Field(ge=0, description="label channel, in units of the normalised image's std")
    consistency_weight: float = Field(ge=0, description="weight of the dual-path consistency")
    distance: DistanceName = Field(description="distance of the student to its teacher")
    distillation_weight: float = Field(ge=0, description="its weight")
    distillation_temperature: float = Field(ge=1e-3, le=1e3, description="its temperature")


class TrainSettings(Settings):
    """What every training run has. -1 and "recipe" mean: take the data set's recipe."""

    dataset: str = Field("streets", description="name of a file in labkit/datasets")
    recipe: str = Field("default", description="one of the data set's recipes")
    data_root: str = Field("", description='folder that holds the data sets; "": environment variable LABKIT_DATA')
    train_size: OrRecipe = Field(-1, description="training images used, the first ones; 0: all")
    val_size: OrRecipe = Field(-1, description="validation images used, the first ones; 0: all")
    height: OrRecipe = Field(-1, description="images are brought to this height, pixels")
    width: OrRecipe = Field(-1, description="images are brought to this width, pixels")
    crop_height: OrRecipe = Field(-1, description="training crop, pixels")
    crop_width: OrRecipe = Field(-1, description="training crop, pixels")
    scale_min: OrRecipeFloat = Field(-1, description="random zoom of the training image, from")
    scale_max: OrRecipeFloat = Field(-1, description="random zoom of the training image, to")
    brightness: OrRecipeFloat = Field(-1, description="brightness jitter, fraction 0-1")
    architecture: str = Field("recipe", description="unet, fpn, pspnet or deeplabv3")
    encoder: str = Field("recipe", description="an encoder of smp, or tu-<timm name>")
    encoder_weights: str = Field("recipe", description="none, imagenet (download) or a path to weights")
    train_steps: OrRecipe = Field(-1, description="optimiser steps")
    batch_size: OrRecipe = Field(-1, description="images per step")
    optimiser: Optimiser = Field("recipe", description="sgd or adamw")
    learning_rate: OrRecipeFloat = Field(-1, description="peak, before the poly decay")
    momentum: OrRecipeFloat = Field(-1, description="SGD only")
    weight_decay: OrRecipeFloat = Field(-1, description="decoupled for adamw")
    warmup_steps: OrRecipe = Field(-1, description="linear warm-up, optimiser steps")
    poly_power: NonNegative = Field(0.9, description="learning rate: peak * (1 - step/steps)^power")
    seed: int = Field(0, ge=0, description="weights, data order, augmentation and noise follow from it")
    evaluate_every_steps: int = Field(0, ge=0, description="optimiser steps between evaluations; 0: quarters of the run")
    checkpoint_every_steps: Positive = Field(200, description="optimiser steps between checkpoints")
    checkpoint_every_minutes: NonNegative = Field(10, description="minutes between checkpoints, at the latest; 0: by steps alone")
    log_every_steps: Positive = Field(20, description="optimiser steps between log rows")
    precision: Literal["auto", "fp32", "bf16"] = Field("auto", description="auto: bf16 autocast where the device computes in it")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto: cuda where there is one")
    workers: int = Field(0, ge=0, description="processes that load data; they cannot change a run")
    threads: int = Field(0, ge=0, description="CPU threads; 0: as torch chooses")
    runs: str = Field("", description='folder of run folders; "": runs/ of the project')


class TeacherSettings(TrainSettings):
    """A teacher: plain (method none, reads the image) or assisted (method lad, reads image and noised label)."""

    method: Literal["none", "lad"] = Field("lad", description="none: plain, lad: assisted by the noised label")
    class_std: NonNegative = Field(1.0, description="std of the random class weights")
    pixel_std: NonNegative = Field(0.03, description="std of the pixel noise, in units of the class weights")
    label_scale: OrRecipeFloat = Field(-1, description="label channel, in units of the normalised image's std")
    void_policy: Literal["own", "zero"] = Field("own", description="void has its own weight, or weight 0")
    label_channels: Positive = Field(1, description="independent codes per class")
    weights: Literal["random", "fixed"] = Field("random", description="class weights redrawn for each image and path, or the fixed ramp")
    label_init: Literal["normal", "zeros"] = Field("normal", description="label slice of the first convolution: N(0, .1^2) or 0")
    consistency_weight: OrRecipeFloat = Field(-1, description="weight of the dual-path consistency")
    consistency_distance: DistanceName = Field("cwd", description="distance between the two paths")
    consistency_temperature: float = Field(4.0, ge=1e-3, le=1e3, allow_inf_nan=False, description="divides the logits")
    distance_stride: Positive = Field(4, description="logits finer than this stride are average-pooled to it, pixels")
    void_in_distance: bool = Field(True, description="whether void positions enter the distance")


class StudentSettings(TrainSettings):
    """A student: alone, or taught by a finished teacher."""

    teacher: str = Field("", description='run id or folder of a complete teacher; "": alone')
    distance: DistanceOrRecipe = Field("recipe", description="a name in labkit.losses.DISTANCES: cwd, kd")
    distillation_weight: OrRecipeFloat = Field(-1, description="weight of the distance to the teacher")
    distillation_temperature: OrRecipeFloat = Field(-1, description="divides the logits")
    distance_stride: Positive = Field(1, description="logits finer than this stride are average-pooled to it, pixels")
    void_in_distance: bool = Field(True, description="whether void positions enter the distance")
    distill_weights: Literal["random", "fixed"] = Field("random", description="class weights the assisted teacher is shown")
    pixel_std: NonNegative = Field(0.02, description="std of the pixel noise the assisted teacher is shown")


class NoisingSettings(Settings):
    """One frame through the label noising module, step by step."""

    dataset: str = Field("streets", description="name of a file in labkit/datasets")
    recipe: str = Field("default", description="one of the data set's recipes: the frame's size")
    data_root: str = Field("", description='folder that holds the data sets; "": environment variable LABKIT_DATA')
    frame: int = Field(0, ge=0, description="index in the validation split")
    class_std: NonNegative = Field(1.0, description="std of the random class weights")
    pixel_std: NonNegative = Field(0.03, description="std of the pixel noise, in units of the class weights")
    label_scale: NonNegative = Field(1.0, description="label channel, in units of the normalised image's std")
    void_policy: Literal["own", "zero"] = Field("own", description="void has its own weight, or weight 0")
    label_channels: Positive = Field(1, description="independent codes per class")
    weights: Literal["random", "fixed"] = Field("random", description="class weights drawn, or the fixed ramp")
    seed: int = Field(0, ge=0, description="of the draw")
    runs: str = Field("", description='folder of run folders; "": runs/ of the project')
    figures: str = Field("", description='where figures go; "": figures/<dataset> beside the run folders')


class AnalysisSettings(Settings):
    """Tables, curves, predictions and contribution maps from the complete runs of one data set."""

    dataset: str = Field("streets", description="name of a file in labkit/datasets")
    data_root: str = Field("", description='folder that holds the data sets; "": environment variable LABKIT_DATA')
    category: str = Field("car", description="class whose contribution is drawn")
    frames: int = Field(4, ge=1, le=12, description="frames drawn, chosen by the rule the notebook states")
    attribution_layer: Literal["folded", "raw"] = Field("folded", description="stem through its BatchNorm and centred, or as it is")
    region: Literal["predicted", "true", "both"] = Field("predicted", description="pixels over which the class score is averaged")
    score: Literal["logit", "margin"] = Field("logit", description="of the class, or its margin over the best other class")
    layers: str = Field("", description='deeper layers of the joint map, separated by commas; "": four, spread from stem to decoder')
    noisings: int = Field(4, ge=1, le=64, description="noisings of the label over which the drawn maps are averaged")
    split_frames: int = Field(0, ge=0, description="validation frames behind the table of opinions, spread evenly; 0: all")
    split_noisings: int = Field(1, ge=1, le=16, description="noisings behind that table")
    curve_frames: int = Field(20, ge=0, description="validation frames behind the curves over noise, spread evenly; 0: all")
    pixel_stds: Numbers = Field("0, 0.1, 0.3, 1, 3", description="pixel noise shown, units of the class weights")
    label_scales: Numbers = Field("0, 1, 2, 4.5, 6", description="label scale shown, units of the normalised image's std")
    gradient_steps: int = Field(32, ge=1, description="points of the integrated gradients")
    seed: int = Field(0, ge=0, description="of the noising shown")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto: cuda where there is one")
    threads: int = Field(0, ge=0, description="CPU threads; 0: as torch chooses")
    runs: str = Field("", description='folder of run folders; "": runs/ of the project')
    figures: str = Field("", description='where figures and tables go; "": figures/<dataset> beside the run folders')


class StudySettings(Settings):
    """Tables and figures from the complete runs of one matrix."""

    matrix: str = Field("labkit/workflow/tiny.yaml", description="matrix file; a relative path starts at the project's root")
    data_root: str = Field("", description='folder that holds the data sets; "": environment variable LABKIT_DATA')
    boundary_width: Positive = Field(2, description="a pixel is near a boundary with another class within so many pixels")
    draws: Positive = Field(2000, description="draws of the bootstrap behind every interval")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto: cuda where there is one")
    threads: int = Field(0, ge=0, description="CPU threads; 0: as torch chooses")
    figures: str = Field("", description='where tables and figures go; "": the matrix file\'s own')


class EvaluateSettings(Settings):
    """Scoring a finished run."""

    split: str = Field("val", description="split of the data set")
    dataset: str = Field("", description='a data set with the same classes; "": the run\'s own')
    size: int = Field(0, ge=0, description="the first so many frames; 0: all")
    data_root: str = Field("", description='folder that holds the data sets; "": environment variable LABKIT_DATA')
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto: cuda where there is one")
    threads: int = Field(0, ge=0, description="CPU threads; 0: as torch chooses")
    runs: str = Field("", description='folder of run folders; "": runs/ of the project')


def nearest_name(name: str, known: Iterable[str]) -> str:
    """What to say about a name nobody knows: the nearest one, or all."""
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=1)
    if near:
        return f"did you mean {near[0]}?"
    return "known: " + ", ".join(known) + "." if len(known) <= 60 else f"none of the {len(known)} known ones is near."


def _fault(settings: type[Settings], fault: Any) -> str:
    """One line: name, got, expected, and what the setting means."""
    name = ".".join(map(str, fault["loc"]))
    if fault["type"] == "extra_forbidden":
        return f"setting {name}: no such setting of {settings.__name__}; {nearest_name(name, settings.model_fields)}"
    field = settings.model_fields.get(name)
    if fault["type"] == "missing" and field:
        return f"setting {name}: is missing; expected a value ({field.description})."
    choices = get_args(field.annotation) if field else ()
    said = fault["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    expected = "one of " + ", ".join(map(str, choices)) if fault["type"] == "literal_error" else said
    meaning = f" ({field.description})" if field and field.description else ""
    alone = " Give the number alone, its unit is fixed." if re.fullmatch(r"\s*[-+.\deE]+\s*[a-zA-Zµ%]+\s*", str(fault["input"])) else ""
    return f"setting {name}: got {fault['input']!r}; expected {expected}{meaning}.{alone}"
