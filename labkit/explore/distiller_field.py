"""The distiller explorer: a toy map of three classes, and where a distiller pushes the student."""

from typing import Any

import matplotlib
import numpy as np
import torch

from labkit.distillers import available, distiller_facts
from labkit.explore.distiller_map import (
    COLUMNS,
    LABEL,
    NAMES,
    PALETTE,
    ROWS,
    DistillerState,
    Field,
    gradient_field,
    has_temperature,
    toy_changes,
)
from labkit.explore.distiller_tables import UNSEEN
from labkit.explore.pictures import fitted, levels, outlined
from labkit.explore.save import explore_command
from labkit.explore.view import Control, Explorer, Panel, Table, View, command_line, panel
from labkit.method import IGNORE_INDEX
from labkit.settings import DistillersSettings

PUSH = (255 * matplotlib.colormaps["RdBu"](np.arange(256))[:, :3]).round().astype(np.uint8)


def distiller(settings: DistillersSettings) -> Explorer:
    """The explorer of `05_distillers`, at the notebook's settings."""
    controls = (
        Control(name="distiller", label="distiller", kind="choice", options=tuple(available())),
        Control(name="temperature", label="temperature", low=0.25, high=8, step=0.25),
        Control(name="teacher_scale", label="teacher logits", high=10, step=0.5),
        Control(name="student_scale", label="student logits", high=10, step=0.5),
        Control(name="shift", label="pole shift", high=4),
        Control(name="noise", label="student noise", high=3, step=0.1),
        Control(name="row", label="cell: row", high=ROWS - 1),
        Control(name="column", label="cell: column", high=COLUMNS - 1),
        Control(name="bump_class", label="class raised", kind="choice", options=NAMES),
        Control(name="bump", label="in the cell", low=-8, high=8, step=0.5),
        Control(name="offset", label="everywhere", low=-8, high=8, step=0.5),
        Control(name="seed", label="seed", high=999),
    )
    return Explorer(
        "distiller",
        "Distiller explorer",
        DistillerState(distiller=settings.distiller, seed=settings.seed),
        controls,
        draw_distiller,
        lambda state: {
            "this picture": explore_command("distiller", settings, state),
            "a student taught by it": command_line("train", "student", _taught_by(state)),
        },
        choose=lambda state, x, y: {
            "row": min(int(y * ROWS), ROWS - 1),
            "column": min(int(x * COLUMNS), COLUMNS - 1),
        },
        point=lambda state: ((state.column + 0.5) / COLUMNS, (state.row + 0.5) / ROWS),
        unused=lambda state: () if has_temperature(state.distiller) else ("temperature",),
        gesture="Cursor on the toy map: arrow keys move it, Enter chooses the cell there",
    )


def _taught_by(state: DistillerState) -> dict[str, Any]:
    """Settings of a student that the state's distiller teaches."""
    values: dict[str, Any] = {"teacher": "RUN", "distillation": state.distiller}
    if has_temperature(state.distiller):
        values[f"{state.distiller}.temperature"] = state.temperature
    return values


def draw_distiller(state: DistillerState) -> View:
    """Probabilities of both, the push on every class, and the changes the distiller sees."""
    field = gradient_field(state)
    limit = max(field.push.abs().max().item(), 1e-12)
    panels = (
        _probabilities("teacher", field.teacher, state),
        _probabilities("student", field.student, state),
        *(_push(field, category, limit, state) for category in range(len(NAMES))),
    )
    legend = tuple(zip(NAMES, PALETTE, strict=True))
    return View(panels, _readout(field, state), (_changes(state),), legend, look=_look(field))


def push_sums(field: Field) -> dict[str, float]:
    """How much of the push is left when it is summed, as a share of its absolute values.

    Returns:
        Over the classes of each position: 0 where a constant added to a position costs nothing.
        Over the positions of each class: 0 where a constant added to a class costs nothing.
    """
    whole = field.push.abs().sum().clamp(min=1e-12)
    return {
        name: (field.push.sum(dims).abs().sum() / whole).item()
        for name, dims in {"classes": (0,), "positions": (1, 2)}.items()
    }


def _readout(field: Field, state: DistillerState) -> tuple[str, ...]:
    facts = distiller_facts(state.distiller)
    category, row, column = np.unravel_index(field.push.abs().argmax().item(), field.push.shape)
    sign = "up" if field.push[category, row, column] > 0 else "down"
    sums = push_sums(field)
    return (
        f"{state.distiller} = {field.value:.4g} at weight 1: {facts['summary']}",
        f"The strongest push is {sign}, on {NAMES[category]} in row {row}, column {column}.",
        "Summed over the classes of each position, "
        f"{100 * sums['classes']:.0f} % of the push is left; over the positions of each class, "
        f"{100 * sums['positions']:.0f} %.",
    )


def _probabilities(whose: str, logits: torch.Tensor, state: DistillerState) -> Panel:
    shares = logits.softmax(0)
    pixels = np.einsum("khw,kc->hwc", shares.numpy(), np.array(PALETTE, dtype=float))
    percent = 100 * shares[:, state.row, state.column]
    at = ", ".join(f"{name} {value:.0f} %" for name, value in zip(NAMES, percent, strict=True))
    return panel(
        f"{whose}: probabilities",
        _marked(fitted(pixels.round().astype(np.uint8)), state),
        note=f"in the cell: {at}",
        alt=f"Class probabilities of the {whose} on {ROWS} x {COLUMNS} cells; row {state.row}, "
        f"column {state.column}: {at}.",
    )


def _push(field: Field, category: int, limit: float, state: DistillerState) -> Panel:
    values = field.push[category].numpy()
    pixels = PUSH[levels(fitted(values), -limit, limit)]
    here = values[state.row, state.column]
    return panel(
        f"push on {NAMES[category]}",
        _marked(pixels, state),
        note=f"blue up, red down, at most {limit:.2g}; in the cell {here:+.2g}",
        alt=f"Minus the gradient for the student's logits of {NAMES[category]}: "
        f"{values.min():+.2g} to {values.max():+.2g}.",
    )


def _marked(pixels: np.ndarray, state: DistillerState) -> np.ndarray:
    """With a line around the chosen cell."""
    cell = np.zeros((ROWS, COLUMNS), dtype=bool)
    cell[state.row, state.column] = True
    return outlined(pixels, fitted(cell))


def _changes(state: DistillerState) -> Table:
    rows = tuple(
        (name, "unchanged" if change < UNSEEN else f"{100 * change:.3g} %")
        for name, change in toy_changes(state).items()
    )
    caption = f"What {state.distiller} sees: by how much a change of logits and features moves it"
    return Table(caption, ("change", "value"), rows)


def _look(field: Field):
    def look(x: float, y: float) -> str:
        row, column = min(int(y * ROWS), ROWS - 1), min(int(x * COLUMNS), COLUMNS - 1)
        label = int(LABEL[row, column])
        named = "void" if label == IGNORE_INDEX else NAMES[label]
        parts = [f"row {row}, column {column}: labelled {named}"]
        for category, name in enumerate(NAMES):
            s, t, push = (
                values[category, row, column].item()
                for values in (field.student, field.teacher, field.push)
            )
            parts.append(f"{name}: student {s:.2f}, teacher {t:.2f}, push {push:+.2g}")
        return "; ".join(parts)

    return look
