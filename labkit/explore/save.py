"""An explorer's view as one picture, and its state as the options of `labkit explore`."""

import importlib
import io
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import matplotlib
from PIL import Image, ImageDraw, ImageFont

from labkit.errors import RecordError, SettingsError, nearest_name
from labkit.explore.pictures import INK
from labkit.explore.view import Control, Explorer, Missing, Panel, Place, View, as_dict, changed
from labkit.records import write_bytes
from labkit.settings import AttributionSettings, DistillersSettings, NoisingSettings, Settings
from labkit.settings.base import find_faults

DPI = 300
CELL = 960  # pixels: 3.2 inches, half of a page's width; twice the widest panel
COLUMNS = 2
GAP, MARGIN = 48, 40  # pixels
TITLE, TEXT = 35, 29  # pixels: 8.5 and 7 points at 300 dpi
LEADING = 1.3
BACKGROUND = (255, 255, 255)
PLACE = ("dataset", "data_root", "runs")  # settings that say where runs and data are
EXPLORERS: dict[str, tuple[str, type[Settings]]] = {  # their modules import this one
    "noising": ("labkit.explore.noised_frame", NoisingSettings),
    "teacher": ("labkit.explore.teacher_frame", AttributionSettings),
    "contribution": ("labkit.explore.contribution_frame", AttributionSettings),
    "compare": ("labkit.explore.compare_frame", AttributionSettings),
    "distiller": ("labkit.explore.distiller_field", DistillersSettings),
}


def view_png(view: View) -> bytes:
    """A view as one PNG at 300 dpi: panels with titles and notes, two to a row, legend and readout.

    The same view gives the same bytes.
    """
    cells = [_cell(one) for one in view.panels]
    rows = [cells[i : i + COLUMNS] for i in range(0, len(cells), COLUMNS)]
    width = 2 * MARGIN + COLUMNS * CELL + (COLUMNS - 1) * GAP
    below = [
        _legend(view.legend, width - 2 * MARGIN),
        _text_block(view.readout, width - 2 * MARGIN),
    ]
    heights = [max(one.height for one in row) + GAP for row in rows]
    height = 2 * MARGIN + sum(heights) + sum(block.height for block in below)
    page = Image.new("RGB", (width, height), BACKGROUND)
    y = MARGIN
    for row, row_height in zip(rows, heights, strict=True):
        for column, one in enumerate(row):
            page.paste(one, (MARGIN + column * (CELL + GAP), y))
        y += row_height
    for block in below:
        page.paste(block, (MARGIN, y))
        y += block.height
    buffer = io.BytesIO()
    page.save(buffer, "PNG", dpi=(DPI, DPI), compress_level=6)
    return buffer.getvalue()


def beside(panels: Sequence[Panel]) -> bytes:
    """Panels side by side in one PNG, at the height of the first."""
    pictures = [Image.open(io.BytesIO(one.content), formats=("PNG",)).convert("RGB")
                for one in panels]  # fmt: skip
    height = pictures[0].height
    sized = [
        one.resize((round(one.width * height / one.height), height), Image.Resampling.BICUBIC)
        for one in pictures
    ]
    page = Image.new("RGB", (sum(one.width for one in sized), height))
    x = 0
    for one in sized:
        page.paste(one, (x, 0))
        x += one.width
    buffer = io.BytesIO()
    page.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def save_picture(name: str, values: Mapping[str, str], path: Path) -> list[str]:
    """Draw one state of an explorer and write its picture.

    Args:
        name: of `EXPLORERS`.
        values: fields of the state, and where runs and data are; others are as the explorer begins.
        path: of a PNG file; its folder exists.

    Returns:
        The picture's path, and the readout.

    Raises:
        SettingsError: a value that the explorer does not have, or `path` is no .png.
        RecordError: there is no run to explore.
        FileError: the file cannot be written.
    """
    if path.suffix != ".png":
        raise SettingsError(f"--save {path}: expected the name of a .png file.")
    explorer = open_explorer(name, values)
    fields_given = {key: value for key, value in values.items() if key not in PLACE}
    view = explorer.draw(state_from_options(explorer, fields_given))
    write_bytes(path, view_png(view))
    return [str(path), *view.readout]


def open_explorer(name: str, values: Mapping[str, str]) -> Explorer:
    """An explorer of the data set and folders in `values`, in its first state.

    Raises:
        SettingsError: a data set or folder that cannot be used.
        RecordError: there is no run to explore.
    """
    place = {key: value for key, value in values.items() if key in PLACE}
    if name == "noising":  # its split is as long as the frame asks for
        place |= {key: value for key, value in values.items() if key == "frame"}
    module, settings = EXPLORERS[name]
    explorer = getattr(importlib.import_module(module), name)(settings(**place))
    if isinstance(explorer, Missing):
        raise RecordError(f"explore {name}: {explorer.sentence} First: labkit train teacher.")
    return explorer


def state_options(state: Any) -> dict[str, str]:
    """Every field of a state as text, so that a line holds whatever the defaults are."""
    return {name: str(value) for name, value in as_dict(state).items()}


def state_from_options(explorer: Explorer, options: Mapping[str, str]) -> Any:
    """The state an explorer begins with, changed by options; the inverse of `state_options`.

    Args:
        options: by field; of a choice the beginning is enough where one option alone has it.

    Raises:
        SettingsError: an unknown field, or a value outside its control; one line each.
    """
    controls = {one.name: one for one in explorer.controls}
    kinds = {one.name: type(getattr(explorer.state, one.name)) for one in fields(explorer.state)}
    values, faults = {}, []
    for name, text in options.items():
        try:
            if name not in kinds:
                raise SettingsError(f"no such setting; {nearest_name(name[:80], kinds)}")
            values[name] = _value(text, kinds[name], controls.get(name), explorer.name)
        except SettingsError as error:
            faults.append(f"explore {explorer.name}, setting {name[:80]}: {error}")
    if faults:
        raise SettingsError("\n".join(faults), names=options)
    return replace(explorer.state, **values)


def explore_command(name: str, settings: Place, state: Any) -> str:
    """The command that draws a state: `labkit explore NAME ... --save NAME.png`.

    Args:
        settings: that the explorer was opened with; of them data set and folders are kept, where
            they are not the default.
    """
    place = {one: getattr(settings, one, "") for one in PLACE}
    values = changed(place, AttributionSettings().model_dump()) | state_options(state)
    pairs = [part for key, value in values.items() for part in ("--set", f"{key}={value}")]
    return shlex.join(["labkit", "explore", name, *pairs, "--save", f"{name}.png"])


def _value(text: str, kind: type, control: Control | None, explorer: str) -> Any:
    if control is not None and control.kind == "choice":
        return _option(text, control.options)
    try:
        value = kind(text)
    except ValueError:
        number = "whole number" if kind is int else "number"
        raise SettingsError(f"got {text[:80]!r}; expected a {number}.") from None
    ranged = control is not None and control.kind != "file"
    if ranged and not (
        control.low <= value <= control.high or _is_setting(control, text, explorer)
    ):
        raise SettingsError(
            f"got {text[:80]}; expected a number from {control.low:g} to {control.high:g}."
        )
    return value


def _is_setting(control: Control, text: str, explorer: str) -> bool:
    """Whether a notebook's settings take a number, which then widen its slider; a frame's limit is
    its split.
    """
    _, settings = EXPLORERS[explorer]
    known = control.name in settings.model_fields and control.name != "frame"
    return known and not find_faults(settings, {control.name: text})


def _option(text: str, options: tuple[str, ...]) -> str:
    if text in options:
        return text
    begin = [one for one in options if text and one.startswith(text)]
    if len(begin) == 1:
        return begin[0]
    if begin:
        raise SettingsError(f"got {text[:80]!r}; several begin so: {', '.join(begin[:10])}.")
    raise SettingsError(f"got {text[:80]!r}; {nearest_name(text[:80], options)}")


def _cell(one: Panel) -> Image.Image:
    """A panel at a cell's width, its title above it and its note below."""
    with Image.open(io.BytesIO(one.content), formats=("PNG",)) as content:
        size = (CELL, round(CELL * content.height / content.width))
        picture = content.convert("RGB")
    if one.over:  # right of a line in the middle, as in a page
        with Image.open(io.BytesIO(one.over), formats=("PNG",)) as over:
            middle = over.width // 2
            right = over.convert("RGB").crop((middle, 0, over.width, over.height))
        picture.paste(right, (middle, 0))
    picture = picture.resize(size, Image.Resampling.BICUBIC)
    title, note = _text_block([one.title], CELL, TITLE), _text_block([one.note], CELL)
    cell = Image.new("RGB", (CELL, title.height + picture.height + note.height), BACKGROUND)
    cell.paste(title, (0, 0))
    cell.paste(picture, (0, title.height))
    cell.paste(note, (0, title.height + picture.height))
    return cell


def _text_block(texts: Iterable[str], width: int, size: int = TEXT) -> Image.Image:
    """Texts below each other, wrapped at words, as a picture of this width."""
    letters = _font(size)
    lines = [line for text in texts if text for line in _wrapped(text, width, letters)]
    block = Image.new("RGB", (width, round(LEADING * size * len(lines)) + 8), BACKGROUND)
    pen = ImageDraw.Draw(block)
    for number, line in enumerate(lines):
        pen.text((0, round(LEADING * size * number) + 4), line, font=letters, fill=INK)
    return block


def _legend(classes: Sequence[tuple[str, tuple[int, int, int]]], width: int) -> Image.Image:
    """Class names beside squares of their colours, as many to a line as fit."""
    letters, places, x, y = _font(TEXT), [], 0, 0
    for name, colour in classes:
        wide = round(letters.getlength(name)) + 4 * TEXT
        if x and x + wide > width:
            x, y = 0, y + 2 * TEXT
        places.append((x, y, name, colour))
        x += wide
    block = Image.new("RGB", (width, y + 2 * TEXT if places else 1), BACKGROUND)
    pen = ImageDraw.Draw(block)
    for x, y, name, colour in places:
        pen.rectangle((x, y, x + TEXT, y + TEXT), fill=colour, outline=INK)
        pen.text((x + 1.5 * TEXT, y - 4), name, font=letters, fill=INK)
    return block


@lru_cache(maxsize=4)
def _font(size: int) -> ImageFont.FreeTypeFont:
    """The font of matplotlib's figures, which comes with matplotlib."""
    return ImageFont.truetype(Path(matplotlib.get_data_path(), "fonts/ttf/DejaVuSans.ttf"), size)


def _wrapped(text: str, width: int, letters: ImageFont.FreeTypeFont) -> Iterator[str]:
    measure: Callable[[str], float] = letters.getlength
    line = ""
    for word in text.split():
        longer = f"{line} {word}".strip()
        if line and measure(longer) > width:
            yield line
            longer = word
        line = longer
    yield line
