"""`labkit runs`, `settings` and `networks`: lists."""

from typing import Annotated

import typer

from labkit.batch.exits import Debug, errors_explained
from labkit.cli.options import Role, Set, values_of


def runs(
    dataset: Annotated[str, typer.Option(help="Runs of this data set alone.")] = "",
    sort: Annotated[str, typer.Option(help="id, miou, seconds or finished.")] = "id",
    set_: Set = [],  # noqa: B006
    debug: Debug = False,
) -> None:
    """List the runs of a folder (--set runs=FOLDER): state, mIoU, seconds and id."""
    with errors_explained(debug):
        from labkit.batch.listing import runs_table

        for line in runs_table(values_of(set_), dataset=dataset, sort=sort):
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


COMMANDS = (runs, settings, networks)
