"""Options that several commands share."""

from enum import StrEnum
from typing import Annotated

import typer

import labkit


class Role(StrEnum):
    """What `labkit train` trains."""

    teacher = "teacher"
    student = "student"


class Kind(StrEnum):
    """Kinds of teachers and of students."""

    assisted = "assisted"
    plain = "plain"
    alone = "alone"
    of_plain = "of-plain"
    of_assisted = "of-assisted"


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"labkit {labkit.__version__}")
        raise typer.Exit


Set = Annotated[
    list[str], typer.Option("--set", metavar="name=value", help="A setting; repeat for more.")
]
Version = Annotated[
    bool,
    typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True),
]


def values_of(pairs: list[str]) -> dict[str, str]:
    """name=value pairs; values stay text, the settings classes give them types."""
    from labkit.settings.text import parse_sets

    return parse_sets(pairs)
