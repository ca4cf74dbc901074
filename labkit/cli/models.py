"""`labkit evaluate`, `predict`, `export` and `explore`: what a complete run does."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from labkit.batch.exits import Debug, errors_explained
from labkit.cli.options import Set, values_of
from labkit.errors import DataError


class Explorer(StrEnum):
    """What `labkit explore` draws."""

    noising = "noising"
    teacher = "teacher"
    contribution = "contribution"


def evaluate(run: str, set_: Set = [], debug: Debug = False) -> None:  # noqa: B006
    """Score a complete run on a split: --set split=test, --set dataset=NAME of the same classes."""
    with errors_explained(debug):
        from labkit.settings.views import EvaluateSettings
        from labkit.training.scoring import evaluate_run

        for line in evaluate_run(run, EvaluateSettings(**values_of(set_))):
            print(line)


def predict(
    run: str,
    images: Annotated[list[Path], typer.Argument(help="PNG or JPEG files.")],
    label: Annotated[
        Path | None,
        typer.Option(help="Label for an assisted teacher: single-channel class ids, 255 = void."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="File (of one image) or folder; default: beside each image.")
    ] = None,
    set_: Set = [],  # noqa: B006
    debug: Debug = False,
) -> None:
    """Write the coloured prediction of a complete run for one or many images."""
    with errors_explained(debug):
        values = values_of(set_)
        if missing := [str(path) for path in (*images, label) if path and not path.is_file()]:
            raise DataError(f"{missing[0]}: no such file; expected a PNG or JPEG picture.")
        from labkit.training.picture import predict_images

        for line in predict_images(run, images, label=label, output=output, **values):
            print(line)


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
