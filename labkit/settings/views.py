"""Settings of notebooks and commands that train nothing."""

from typing import Literal

from pydantic import Field

from labkit.settings.base import (
    Device,
    Name,
    Natural,
    NonNegative,
    Numbers,
    PathText,
    Positive,
    Settings,
)

DATA_ROOT = 'folder that holds the data sets; "": environment variable LABKIT_DATA'
THREADS = "CPU threads; 0: as torch chooses"
AUTO = "auto: cuda where there is one"


CATEGORY = '"": car, or the first class of a data set without it'


class NoisingSettings(Settings):
    """One frame through the label noising, step by step."""

    dataset: Name = Field("streets", description="name of a file in labkit/datasets")
    data_root: PathText = Field("", description=DATA_ROOT)
    frame: Natural = Field(0, description="index in the validation split")
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
        "random", description="drawn, or a fixed ramp over the classes"
    )
    seed: Natural = Field(0, description="of the draw")
    runs: PathText = Field("runs", min_length=1, description="folder of run folders")
    figures: PathText = Field("", description='folder of figures; "": <runs>/figures/<dataset>')


class DistillersSettings(Settings):
    """Every distiller on a toy map: gradient, invariances, cost; and its measured gains."""

    dataset: Name = Field(
        "streets", description="data set whose measured gains are shown, where they are committed"
    )
    distiller: Name = Field("cwd", description="distiller the explorer begins with")
    seed: Natural = Field(0, description="of the toy student's noise")
    threads: Natural = Field(1, le=4096, description=THREADS)
    runs: PathText = Field("runs", min_length=1, description="folder of run folders")
    figures: PathText = Field("", description='folder of figures; "": <runs>/figures/<dataset>')


class ResultsSettings(Settings):
    """Tables, curves and predictions of the complete runs of one matrix."""

    matrix: PathText = Field(
        "labkit/batch/matrices/demo.yaml",
        min_length=1,
        description="matrix file; a relative path starts at the project's root",
    )
    data_root: PathText = Field("", description=DATA_ROOT)
    category: str = Field(
        "", max_length=100, description=f"class that the drawn frames hold; {CATEGORY}"
    )
    frames: int = Field(2, ge=1, le=12, description="frames whose predictions are drawn")
    draws: int = Field(2000, ge=1, le=1_000_000, description="draws of the bootstrap per interval")
    seed: Natural = Field(0, description="of the bootstrap")
    device: Device = Field("auto", description=AUTO)
    threads: Natural = Field(0, le=4096, description=THREADS)
    figures: PathText = Field("", description='folder of tables and figures; "": the matrix\'s own')


class AttributionSettings(Settings):
    """What an assisted teacher's prediction comes from: image or label."""

    dataset: Name = Field("streets", description="name of a file in labkit/datasets")
    teacher: PathText = Field(
        "", description='run id of an assisted teacher; "": the first complete one, by id'
    )
    data_root: PathText = Field("", description=DATA_ROOT)
    category: str = Field(
        "", max_length=100, description=f"class whose contribution is drawn; {CATEGORY}"
    )
    frames: int = Field(4, ge=1, le=12, description="frames drawn, chosen by the notebook's rule")
    attribution_layer: Literal["folded", "raw"] = Field(
        "folded", description="stem with its BatchNorm folded in and centred, or as it is"
    )
    region: Literal["predicted", "true", "both"] = Field(
        "predicted", description="pixels over which the class score is averaged"
    )
    score: Literal["logit", "margin"] = Field(
        "logit", description="of the class, or its margin over the best other class"
    )
    layers: str = Field(
        "",
        max_length=1000,
        description='deeper layers, separated by commas; "": four, spread from stem to decoder',
    )
    noisings: int = Field(4, ge=1, le=64, description="noisings averaged in a drawn map")
    split_frames: Natural = Field(
        100, description="validation frames of the label share table, spread evenly; 0: all"
    )
    split_noisings: int = Field(1, ge=1, le=16, description="noisings of that table")
    curve_frames: Natural = Field(
        20, description="validation frames of the curves over noise, spread evenly; 0: all"
    )
    pixel_stds: Numbers = Field(
        "0, 0.1, 0.3, 1, 3", description="pixel noise of the curve, units of the codes"
    )
    label_scales: Numbers = Field(
        "0, 1, 2, 4.5, 6", description="label scales of the curve, units of the image's std"
    )
    gradient_steps: int = Field(
        32, ge=1, le=10_000, description="points of the integrated gradients"
    )
    seed: Natural = Field(0, description="of the noising")
    device: Device = Field("auto", description=AUTO)
    threads: Natural = Field(0, le=4096, description=THREADS)
    runs: PathText = Field("runs", min_length=1, description="folder of run folders")
    figures: PathText = Field("", description='folder of figures; "": <runs>/figures/<dataset>')


class EvaluateSettings(Settings):
    """Scoring of a complete run on a split."""

    split: Name = Field("val", description="split of the data set")
    dataset: str = Field(
        "", max_length=100, description='a data set with the same classes; "": the run\'s own'
    )
    size: Natural = Field(0, description="the first so many frames; 0: all")
    data_root: PathText = Field("", description=DATA_ROOT)
    scoring_batch: Positive = Field(20, description="images scored together at most")
    device: Device = Field("auto", description=AUTO)
    threads: Natural = Field(0, le=4096, description=THREADS)
    runs: PathText = Field("runs", min_length=1, description="folder of run folders")
