"""`labkit train`, `run`, `matrix` and `site`: what trains or executes."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from labkit.batch.exits import Debug, errors_explained, job
from labkit.cli.options import Role, Set, values_of
from labkit.errors import NotebookError, SettingsError

Receipt = Annotated[Path | None, typer.Option(hidden=True, help="For schedulers: written last.")]


class Notebook(StrEnum):
    """What `labkit run` executes."""

    noising = "noising"
    teacher = "teacher"
    student = "student"
    results = "results"
    attribution = "attribution"
    distillers = "distillers"


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

        values = values_of(set_)
        with stoppable():
            run = commands.train(role.value, values, devices=devices, receipt=files)
            print(run.folder)


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

        values = values_of(set_)
        name = notebook.value
        print(commands.run_notebook(name, values, timeout=timeout, receipt=files, matrix=of_matrix))


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
            raise NotebookError(f"not made: {schedule.first_names(missing)}.")


def site(
    output: Annotated[Path, typer.Option(help="Folder of the site.")] = Path("site"),
    matrix: Annotated[
        str, typer.Option(help="Matrix file whose runs are shown; default: the demo's, or a small.")
    ] = "",
    debug: Debug = False,
) -> None:
    """Execute every notebook, and write them with tables and figures as a static site."""
    with errors_explained(debug):
        from labkit.batch.site import build_site

        for line in build_site(output.absolute(), matrix=matrix):
            print(line, flush=True)
        print(f"open {output / 'index.html'}")


COMMANDS = (train, run, matrix, site)
