"""`labkit data`: describe, check, show and cache data sets, and start a folder of one's own."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from labkit.batch.exits import Debug, errors_explained

data_app = typer.Typer(
    help="Data sets: describe one, check, show and cache its files, start a folder of your own."
)

Root = Annotated[str, typer.Argument(help="Folder that holds the data sets; default LABKIT_DATA.")]


@data_app.command()
def check(
    dataset: str,
    root: Root = "",
    split: Annotated[list[str], typer.Option(help="A split; repeat for more. Default: all.")] = [],  # noqa: B006
    json_: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
    debug: Debug = False,
) -> None:
    """Check every file of a data set; exit code 2 where it has faults."""
    with errors_explained(debug):
        from labkit.batch.listing import check_lines

        passed, lines = check_lines(dataset, root, splits=split, as_json=json_)
        for line in lines:
            print(line)
        if not passed:
            raise typer.Exit(2)


@data_app.command()
def show(
    dataset: str,
    root: Root = "",
    split: Annotated[str, typer.Option(help="The split.")] = "val",
    count: Annotated[
        int, typer.Option(min=1, max=60, help="Frames, spread evenly over the split.")
    ] = 12,
    save: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="A .png file; default runs/sheets/<dataset>-<split>.png."
        ),
    ] = None,
    debug: Debug = False,
) -> None:
    """Draw frames with the outlines of their labels, class names and class shares: one picture."""
    with errors_explained(debug):
        from labkit.batch.sheet import save_sheet

        print(save_sheet(dataset, root, split=split, count=count, path=save))


@data_app.command()
def cache(
    dataset: str,
    root: Root = "",
    split: Annotated[
        list[str], typer.Option(help="A split; repeat for more. Default: train and val.")
    ] = [],  # noqa: B006
    debug: Debug = False,
) -> None:
    """Decode a data set once into the folder that LABKIT_CACHE names: 4 bytes per pixel."""
    with errors_explained(debug):
        from labkit.batch.signals import stoppable
        from labkit.datasets import cache_dataset
        from labkit.datasets.decoding import describe_cache

        splits = split or ["train", "val"]
        for line in describe_cache(dataset, root, splits=splits):
            print(line)
        with stoppable():
            for folder in cache_dataset(dataset, root, splits=splits, progress=True):
                print(folder)


@data_app.command()
def describe(dataset: str, debug: Debug = False) -> None:
    """Print what to download for a data set, from where, in which layout, under which terms."""
    with errors_explained(debug):
        from labkit.datasets.describe import describe_dataset

        print(describe_dataset(dataset))


@data_app.command()
def init(folder: Path, debug: Debug = False) -> None:
    """Write a first dataset.json for a folder of images and labels of your own."""
    with errors_explained(debug):
        from labkit.datasets.init_folder import init_folder

        written = init_folder(folder)
        print(f"{written}: replace the class names, then:")
        data, matrix = shlex.quote(str(folder)), shlex.quote(str(folder / "matrix.yaml"))
        print(f"labkit data check folder {data}")
        print(f"LABKIT_DATA={data} labkit matrix {matrix}")
