"""What an explorer is, without widgets: a frozen state, controls that change it, a pure function to
a view.
"""

import base64
import html
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, Protocol

import numpy as np

from labkit.explore.pictures import png

WIDEST = 960  # pixels of all pictures side by side
GRID = "display:grid;grid-template-columns:repeat(auto-fill,minmax(230px,1fr));gap:10px"


class Place(Protocol):
    """Settings that say where runs and data are."""

    dataset: str
    data_root: str
    runs: str


@dataclass(frozen=True, kw_only=True)
class Control:
    """One field of a state and its range.

    Attributes:
        kind: "number" is a slider with a numeric entry, "choice" a list.
        low, high, step: of a number; a whole step makes it an integer.
        options: of a choice.
    """

    name: str
    label: str
    kind: Literal["number", "choice"] = "number"
    low: float = 0
    high: float = 1
    step: float = 1
    options: tuple[str, ...] = ()

    @property
    def whole(self) -> bool:
        return isinstance(self.step, int)


@dataclass(frozen=True)
class Panel:
    """One picture: PNG bytes, a note under it, and its numbers as alternative text."""

    title: str
    content: bytes
    size: tuple[int, int]  # width, height, pixels
    alt: str
    note: str = ""


@dataclass(frozen=True)
class Table:
    """Numbers as text; the first column names the row."""

    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class View:
    """What a state looks like."""

    panels: tuple[Panel, ...]
    readout: tuple[str, ...]
    tables: tuple[Table, ...] = ()


@dataclass(frozen=True)
class Explorer:
    """Everything a page needs.

    Attributes:
        name: one word; showing it again replaces the explorer of the same name.
        state: the frozen state to begin with; its fields are the controls' names.
        draw: state -> View, pure.
        commands: state -> lines to paste, by their purpose.
    """

    name: str
    title: str
    state: Any
    controls: tuple[Control, ...]
    draw: Callable[[Any], View]
    commands: Callable[[Any], dict[str, str]]


@dataclass(frozen=True)
class Missing:
    """An explorer that has nothing to explore yet, and how to make it.

    Attributes:
        train: makes what is missing; it is called away from the main thread.
        progress: how far that is, 0-1; called from any thread.
        then: the explorer shown afterwards.
    """

    name: str
    sentence: str
    offer: str
    train: Callable[[], object]
    progress: Callable[[], float]
    then: Callable[[], "Explorer | Missing"] = field(compare=False)


def panel(
    title: str, pixels: np.ndarray, *, alt: str, note: str = "", table: np.ndarray | None = None
) -> Panel:
    """A panel from (H, W, 3) pixels, or (H, W) indices of a table."""
    return Panel(title, png(pixels, table), (pixels.shape[1], pixels.shape[0]), alt, note)


def view_html(view: View, *, name: str, renders: int) -> str:
    """A view as HTML that needs neither script nor style sheet, takes its text colour from the page
    and wraps in a narrow one.

    Args:
        name, renders: kept as data attributes, so that a test in the page can count them.
    """
    figures = "".join(_figure(one) for one in view.panels)
    lines = "".join(f"<li>{html.escape(line)}</li>" for line in view.readout)
    return (
        f'<div class="labkit-view" data-explorer="{html.escape(name)}" data-renders="{renders}"'
        f' style="max-width:{WIDEST}px;line-height:1.35">'
        f'<div style="{GRID}">{figures}</div>'
        f'<ul class="labkit-readout" style="margin:8px 0;padding-left:1.2em">{lines}</ul>'
        f"{''.join(map(_table, view.tables))}</div>"
    )


def _figure(one: Panel) -> str:
    source = base64.b64encode(one.content).decode()
    note = f" <span>{html.escape(one.note)}</span>" if one.note else ""
    width, height = one.size
    return (
        f'<figure style="margin:0">'
        f'<img src="data:image/png;base64,{source}" alt="{html.escape(one.alt)}" width="{width}"'
        f' height="{height}" decoding="sync" style="width:100%;height:auto;display:block">'
        '<figcaption style="font-size:13px;margin-top:2px">'
        f"<b>{html.escape(one.title)}</b>{note}</figcaption></figure>"
    )


def _table(table: Table) -> str:
    cell = 'style="text-align:right;padding:1px 10px"'
    head = "".join(f'<th scope="col" {cell}>{html.escape(one)}</th>' for one in table.header)
    rows = "".join(
        f'<tr><th scope="row" style="text-align:left;padding:1px 10px">{html.escape(row[0])}</th>'
        + "".join(f"<td {cell}>{html.escape(one)}</td>" for one in row[1:])
        + "</tr>"
        for row in table.rows
    )
    return (
        '<table style="border-collapse:collapse;font-size:13px;margin:6px 0">'
        '<caption style="text-align:left;caption-side:top;padding:2px 0">'
        f"{html.escape(table.caption)}</caption>"
        f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
    )


def changed(values: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Values of names that exist among the defaults and differ from them; None is no default."""
    return {
        name: value
        for name, value in values.items()
        if name in defaults and value != defaults[name]
    }


def command_line(command: str, name: str, values: Mapping[str, Any]) -> str:
    """`labkit COMMAND NAME` with settings, quoted for a shell."""
    pairs = [part for key, value in values.items() for part in ("--set", f"{key}={value}")]
    return shlex.join(["labkit", command, name, *pairs])


def as_dict(state: Any) -> dict[str, Any]:
    """Fields of a state by name."""
    return {one.name: getattr(state, one.name) for one in fields(state)}
