"""`labkit runs`, `compare`, `settings` and `networks`: lists."""

from typing import Annotated

import typer

from labkit.batch.exits import Debug, errors_explained
from labkit.cli.options import Kind, Role, Set, values_of
from labkit.errors import SettingsError


def runs(
    dataset: Annotated[str, typer.Option(help="Runs of this data set alone.")] = "",
    role: Annotated[Role | None, typer.Option(help="teacher or student.")] = None,
    kind: Annotated[Kind | None, typer.Option(help="What it reads, or who taught it.")] = None,
    sort: Annotated[str, typer.Option(help="id, miou, seconds or finished.")] = "id",
    prune: Annotated[
        bool, typer.Option("--prune", help="List the failed and stopped runs; --yes removes them.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="With --prune: remove them.")] = False,
    set_: Set = [],  # noqa: B006
    debug: Debug = False,
) -> None:
    """List the runs of a folder (--set runs=FOLDER): state, mIoU, seconds and id."""
    with errors_explained(debug):
        from labkit.batch.run_lists import prune_lines, runs_table

        if yes and not prune:
            raise SettingsError(
                "labkit runs --yes works only together with --prune. Add it, or leave --yes out."
            )
        values = values_of(set_)
        filters = {"dataset": dataset, "role": role or "", "kind": kind or ""}
        lines = (
            prune_lines(values, filters=filters, yes=yes)
            if prune
            else runs_table(values, sort=sort, filters=filters)
        )
        for line in lines:
            print(line)


def compare(
    runs: Annotated[
        list[str], typer.Argument(help="Two to six runs: ids, or unique beginnings of ids.")
    ],
    set_: Set = [],  # noqa: B006
    debug: Debug = False,
) -> None:
    """Show how complete runs differ: settings, scores and IoU by class."""
    with errors_explained(debug):
        from labkit.batch.run_lists import compare_lines

        for line in compare_lines(runs, values_of(set_)):
            print(line)


def settings(
    role: Role,
    set_: Set = [],  # noqa: B006
    debug: Debug = False,
) -> None:
    """List every setting: recipe's value (--set dataset=camvid), default, range, meaning."""
    with errors_explained(debug):
        from labkit.batch.listing import settings_lines

        for line in settings_lines(role.value, values_of(set_)):
            print(line)


def networks(debug: Debug = False) -> None:
    """List the networks: stride, parameters, multiply-adds and auxiliary heads."""
    with errors_explained(debug):
        from labkit.batch.listing import network_lines

        for line in network_lines():
            print(line)


COMMANDS = (runs, compare, settings, networks)
