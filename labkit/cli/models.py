"""`labkit evaluate`, `predict`, `export` and `explore`: what a complete run does."""

import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from labkit.batch.exits import Debug, errors_explained
from labkit.cli.options import Kind, Set, values_of
from labkit.errors import DataError

PREDICT_SETTINGS = ("runs", "data_root", "device", "threads")
SUFFIXES = (".png", ".jpg", ".jpeg")
PREDICTION = re.compile(rf"(.+?)-(?:{'|'.join(Kind)})(?:-ids|-overlay)?\.png")


class Form(StrEnum):
    """How `labkit predict` writes a prediction."""

    colours = "colours"
    ids = "ids"
    overlay = "overlay"
    probabilities = "probabilities"


class Explorer(StrEnum):
    """What `labkit explore` draws."""

    noising = "noising"
    teacher = "teacher"
    contribution = "contribution"
    compare = "compare"
    distiller = "distiller"


def evaluate(run: str, set_: Set = [], debug: Debug = False) -> None:  # noqa: B006
    """Score a complete run on a split: --set split=test, --set dataset=NAME of the same classes."""
    with errors_explained(debug):
        from labkit.settings.views import EvaluateSettings
        from labkit.training.scoring import evaluate_run

        for line in evaluate_run(run, EvaluateSettings(**values_of(set_))):
            print(line)


def predict(
    run: str,
    images: Annotated[
        list[Path], typer.Argument(help="PNG or JPEG files, or folders that hold some.")
    ],
    as_: Annotated[
        Form, typer.Option("--as", help="Coloured classes, ids, colours over the image, or npz.")
    ] = Form.colours,
    label: Annotated[
        Path | None,
        typer.Option(help="Label for an assisted teacher: single-channel class ids, 255 = void."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(help="File (of one image) or folder; default: beside each image."),
    ] = None,
    set_: Set = [],  # noqa: B006
    debug: Debug = False,
) -> None:
    """Write the prediction of a complete run for one image, many, or all images of a folder."""
    with errors_explained(debug):
        from labkit.batch.run_lists import refuse_others

        values = values_of(set_)
        refuse_others(values, PREDICT_SETTINGS, "labkit predict")
        paths = _pictures(images)
        if label and not label.is_file():
            raise DataError(f"{label}: no such file; expected a PNG of class ids.")
        if output is None and any(path.is_dir() for path in images):
            raise DataError(
                "--output is missing: the images are a folder; expected a folder for predictions."
            )
        from labkit.training.picture import predict_images

        options = {"form": as_.value, "label": label, "output": output}
        for line in predict_images(run, paths, **options, **values):
            print(line)


def _pictures(paths: list[Path]) -> list[Path]:
    """The files named, and in place of a folder its PNG and JPEG files by name, without the
    predictions beside their pictures.
    """
    pictures: list[Path] = []
    for path in paths:
        files = [path]
        if path.is_dir():
            files = sorted(file for file in path.iterdir() if file.suffix.lower() in SUFFIXES)
            stems = {file.stem for file in files}
            named = {file: PREDICTION.fullmatch(file.name) for file in files}
            files = [file for file in files if not (named[file] and named[file][1] in stems)]
        if not (files and all(file.is_file() for file in files)):
            what = "holds no" if path.is_dir() else "no such file; expected a"
            raise DataError(f"{path}: {what} PNG or JPEG picture.")
        pictures += files
    return pictures


def export(
    run: str,
    output: Annotated[
        Path | None, typer.Option(help="New or empty folder; default: export in the run's folder.")
    ] = None,
    set_: Set = [],  # noqa: B006
    debug: Debug = False,
) -> None:
    """Write weights, ONNX and a model card of a student or plain teacher, for use elsewhere."""
    with errors_explained(debug):
        from labkit.training.export import export_run

        for line in export_run(run, output=output, values=values_of(set_)):
            print(line)


def explore(
    explorer: Explorer,
    set_: Set = [],  # noqa: B006
    save: Annotated[
        Path | None, typer.Option(help="PNG file of the picture; default: <explorer>.png.")
    ] = None,
    debug: Debug = False,
) -> None:
    """Draw one state of an explorer: --set run=RUN, --set frame=3 and every other control."""
    with errors_explained(debug):
        values = values_of(set_)
        from labkit.explore.save import save_picture

        path = save or Path(f"{explorer.value}.png")
        for line in save_picture(explorer.value, values, path):
            print(line)


COMMANDS = (evaluate, predict, export, explore)
