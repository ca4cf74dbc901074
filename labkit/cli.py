"""The command line. Heavy packages are imported inside the commands that need them."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

import labkit
from labkit.batch.data_commands import data_app
from labkit.batch.exits import Debug, errors_explained, job
from labkit.errors import DataError, NotebookError, SettingsError

app = typer.Typer(
    help="Label Assisted Distillation: train, score and compare, unattended.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.add_typer(data_app, name="data", no_args_is_help=True)

Set = Annotated[
    list[str], typer.Option("--set", metavar="name=value", help="A setting; repeat for more.")
]
Receipt = Annotated[Path | None, typer.Option(hidden=True, help="For schedulers: written last.")]


class Role(StrEnum):
    """What `labkit train` trains."""

    teacher = "teacher"
    student = "student"


class Notebook(StrEnum):
    """What `labkit run` executes."""

    noising = "noising"
    teacher = "teacher"
    student = "student"
    results = "results"
    attribution = "attribution"


class Explorer(StrEnum):
    """What `labkit explore` draws."""

    noising = "noising"
    teacher = "teacher"
    contribution = "contribution"


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"labkit {labkit.__version__}")
        raise typer.Exit


Version = Annotated[
    bool,
    typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True),
]


@app.callback()
def main(version: Version = False) -> None:
    """Exit codes: 0 done; 1 failed; 2 bad settings, data or records, nothing was started;
    124 time limit; 130 Ctrl-C; 129, 131, 143 other signals. Whatever stopped a command, the same
    command goes on."""


@app.command()
def train(
    role: Role,
    set_: Set = [],  # noqa: B006
    devices: Annotated[
        int, typer.Option(min=1, help="Processes, one per GPU; the batch is shared out.")
    ] = 1,
    receipt: Receipt = None,
    debug: Debug = False,
) -> None:
    """Train a teacher or a student, from its last checkpoint; a complete run is left alone."""
    with errors_explained(debug), job(receipt) as files:
        from labkit.batch import commands
        from labkit.batch.signals import stoppable

        values = _values(set_)
        with stoppable():
            run = commands.train(role.value, values, devices=devices, receipt=files)
            print(run.folder)


@app.command()
def run(
    notebook: Notebook,
    set_: Set = [],  # noqa: B006
    timeout: Annotated[
        float, typer.Option(min=0, help="Seconds for the notebook; 0 = no limit.")
    ] = 0,
    receipt: Receipt = None,
    of_matrix: Annotated[Path | None, typer.Option(hidden=True)] = None,
    debug: Debug = False,
) -> None:
    """Execute a notebook and verify every cell; teacher and student train an incomplete run."""
    with errors_explained(debug), job(receipt) as files:
        from labkit.batch import commands

        values = _values(set_)
        name = notebook.value
        print(commands.run_notebook(name, values, timeout=timeout, receipt=files, matrix=of_matrix))


@app.command()
def matrix(
    what: Annotated[
        str, typer.Argument(metavar="[status] FILE", help="A matrix file, or status and one.")
    ],
    file: Annotated[str, typer.Argument(hidden=True)] = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be started; start nothing.")
    ] = False,
    jobs: Annotated[
        int,
        typer.Option(
            min=0, help="Runs side by side; 0 = two on a CPU, one on a GPU, a cluster's profile."
        ),
    ] = 0,
    keep_going: Annotated[
        bool,
        typer.Option("--keep-going", help="After a failure, start what does not depend on it."),
    ] = False,
    profile: Annotated[
        str, typer.Option(help="local, slurm, or a folder with a Snakemake profile.")
    ] = "local",
    debug: Debug = False,
) -> None:
    """Make every run of a matrix file, then its tables; `matrix status FILE`: how far it is."""
    with errors_explained(debug):
        from labkit.batch import schedule

        if file and what != "status":
            raise SettingsError(
                f"labkit matrix {what[:100]} {file[:100]}: expected one file, or: "
                "labkit matrix status FILE."
            )
        options = {"jobs": jobs, "keep_going": keep_going, "profile": profile}
        if file or dry_run:
            for line in schedule.status(file) if file else schedule.dry_run(what, **options):
                print(line)
            return
        if missing := schedule.run_matrix(what, **options):
            raise NotebookError(f"not made: {', '.join(missing)}.")


@app.command()
def evaluate(run: str, set_: Set = [], debug: Debug = False) -> None:  # noqa: B006
    """Score a complete run on a split: --set split=test, --set dataset=NAME of the same classes."""
    with errors_explained(debug):
        from labkit.settings.views import EvaluateSettings
        from labkit.training.scoring import evaluate_run

        for line in evaluate_run(run, EvaluateSettings(**_values(set_))):
            print(line)


@app.command()
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
        values = _values(set_)
        if missing := [str(path) for path in (*images, label) if path and not path.is_file()]:
            raise DataError(f"{missing[0]}: no such file; expected a PNG or JPEG picture.")
        from labkit.training.picture import predict_images

        for line in predict_images(run, images, label=label, output=output, **values):
            print(line)


@app.command()
def runs(
    dataset: Annotated[str, typer.Option(help="Runs of this data set alone.")] = "",
    sort: Annotated[str, typer.Option(help="id, miou, seconds or finished.")] = "id",
    set_: Set = [],  # noqa: B006
    debug: Debug = False,
) -> None:
    """List the runs of a folder (--set runs=FOLDER): state, mIoU, seconds and id."""
    with errors_explained(debug):
        from labkit.batch.listing import runs_table

        for line in runs_table(_values(set_), dataset=dataset, sort=sort):
            print(line)


@app.command()
def settings(
    role: Role,
    set_: Set = [],  # noqa: B006
    debug: Debug = False,
) -> None:
    """List every setting: recipe's value (--set dataset=camvid), default, range, meaning."""
    with errors_explained(debug):
        from labkit.batch.listing import settings_lines

        for line in settings_lines(role.value, _values(set_)):
            print(line)


@app.command()
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

        for line in export_run(run, output=output, values=_values(set_)):
            print(line)


@app.command()
def networks(debug: Debug = False) -> None:
    """List the networks: stride, parameters, multiply-adds and auxiliary heads."""
    with errors_explained(debug):
        from labkit.batch.listing import network_lines

        for line in network_lines():
            print(line)


@app.command()
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
        values = _values(set_)
        from labkit.explore.save import save_picture

        path = save or Path(f"{explorer.value}.png")
        for line in save_picture(explorer.value, values, path):
            print(line)


def _values(pairs: list[str]) -> dict[str, str]:
    """name=value pairs; values stay text, the settings classes give them types."""
    from labkit.settings.text import parse_sets

    return parse_sets(pairs)
