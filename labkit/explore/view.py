"""What an explorer is, without widgets: a frozen state, controls that change it, a pure function to
a view.
"""

import shlex
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal, Protocol

import numpy as np

from labkit.explore.pictures import png

SWITCH = ("on", "off")  # options of a choice that is shown as a box to tick
SWITCHES = {"names": "class names", "outlines": "outlines"}  # fields of every state, and labels
FILES = {"image": "own image", "label": "its label"}


class Place(Protocol):
    """Settings that say where runs and data are."""

    dataset: str
    data_root: str
    runs: str


@dataclass(frozen=True, kw_only=True)
class SharedState:
    """What every explorer's state holds.

    Attributes:
        names, outlines: "on" or "off", whether classes are named and outlined in the pictures.
        image: path of an own picture in place of the split's frames; "": none.
        label: path of its class ids; "": none, every pixel is void.
    """

    names: str = SWITCH[0]
    outlines: str = SWITCH[0]
    image: str = ""
    label: str = ""


@dataclass(frozen=True, kw_only=True)
class Control:
    """One field of a state and its range.

    Attributes:
        kind: "number" is a slider with a numeric entry, "point" an entry that a click on a picture
            fills, "choice" a list, "file" the path of an uploaded picture or "".
        low, high, step: of a number; a whole step makes it an integer.
        options: of a choice; `SWITCH` is a box to tick.
        names: of the options, where they are shown by others than their own.
    """

    name: str
    label: str
    kind: Literal["number", "point", "choice", "file"] = "number"
    low: float = 0
    high: float = 1
    step: float = 1
    options: tuple[str, ...] = ()
    names: tuple[str, ...] = ()

    @property
    def whole(self) -> bool:
        return isinstance(self.step, int)


@dataclass(frozen=True)
class Panel:
    """One picture: PNG bytes, a note under it, and its numbers as alternative text.

    Attributes:
        hint: what a click does; shown where clicks are answered.
        pointable: the picture covers the frame, so that a point in it is one of the frame.
        over: PNG bytes of a second picture of the same size, to swipe between the two; b"": none.
    """

    title: str
    content: bytes
    size: tuple[int, int]  # width, height, pixels
    alt: str
    note: str = ""
    hint: str = ""
    pointable: bool = True
    over: bytes = b""


@dataclass(frozen=True)
class Table:
    """Numbers as text; the first column names the row."""

    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class View:
    """What a state looks like.

    Attributes:
        readout: sentences; the first is the verdict, which stands over the pictures.
        legend: class names with their colours (RGB, 0-255).
        look: what there is to say of a point of the frame, x and y in 0-1.
    """

    panels: tuple[Panel, ...]
    readout: tuple[str, ...]
    tables: tuple[Table, ...] = ()
    legend: tuple[tuple[str, tuple[int, int, int]], ...] = ()
    look: Callable[[float, float], str] | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Explorer:
    """Everything a page needs.

    Attributes:
        name: one word; showing it again replaces the explorer of the same name.
        state: the frozen state to begin with; its fields are the controls' names.
        draw: state -> View, pure.
        commands: state -> lines to paste, by their purpose.
        choose: (state, x, y) -> the fields that a click on that point changes, x and y in 0-1.
        point: state -> where the cursor is, x and y in 0-1.
        unused: state -> names of the controls without meaning in it.
        gesture: what a click does, in words.
        keep: keeps the bytes of an uploaded file and returns its path.
        film: state -> captions and PNG bytes of pictures to play; None: there is nothing to play.
        film_title: what is played.
    """

    name: str
    title: str
    state: Any
    controls: tuple[Control, ...]
    draw: Callable[[Any], View]
    commands: Callable[[Any], dict[str, str]]
    choose: Callable[[Any, float, float], dict[str, Any]] = lambda state, x, y: {}
    point: Callable[[Any], tuple[float, float]] = lambda state: (0.5, 0.5)
    unused: Callable[[Any], Collection[str]] = lambda state: ()
    gesture: str = ""
    keep: Callable[[bytes], str] = lambda content: ""
    film: Callable[[Any], Sequence[tuple[str, bytes]]] | None = None
    film_title: str = ""


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
    title: str,
    pixels: np.ndarray,
    *,
    alt: str,
    note: str = "",
    hint: str = "",
    table: np.ndarray | None = None,
    pointable: bool = True,
) -> Panel:
    """A panel from (H, W, 3) pixels, or (H, W) indices of a table."""
    size = pixels.shape[1], pixels.shape[0]
    return Panel(title, png(pixels, table), size, alt, note, hint, pointable)


def shared_controls() -> tuple[Control, ...]:
    """Boxes to tick for class names and outlines, and uploads of an own picture and its label."""
    switches = (
        Control(name=name, label=label, kind="choice", options=SWITCH)
        for name, label in SWITCHES.items()
    )
    files = (Control(name=name, label=label, kind="file") for name, label in FILES.items())
    return (*switches, *files)


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
