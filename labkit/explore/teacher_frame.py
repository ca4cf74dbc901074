"""The teacher explorer: a trained teacher's predictions with a true, a foreign, an empty and an
edited label.
"""

from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np
from torch import Tensor

from labkit.datasets import DatasetInfo
from labkit.explore.class_panels import (
    class_legend,
    class_panel,
    error_panel,
    frame_scores,
    iou_table,
    miou_text,
)
from labkit.explore.edits import AS_IT_IS, REMOVED, describe_effect, edit_label
from labkit.explore.own import keep_upload
from labkit.explore.pictures import SCALAR, difference_picture, fitted, levels
from labkit.explore.readback import RANGE
from labkit.explore.readings import (
    ReadFrame,
    point_text,
    read_edited,
    read_frame,
)
from labkit.explore.regions import largest_region
from labkit.explore.save import explore_command
from labkit.explore.teachers import (
    Teachers,
    find_teachers,
    missing,
    run_name,
    training_line,
    widest_noise,
)
from labkit.explore.view import (
    Control,
    Explorer,
    Missing,
    Panel,
    Place,
    SharedState,
    View,
    panel,
    shared_controls,
)
from labkit.records import Run
from labkit.training.experiment import Experiment

READINGS = ("true label", "foreign label", "zero label", "edited label")
OF_LABELS = ("pixel_std", "seed", "errors_of", "x", "y", "edit")  # no meaning without


@dataclass(frozen=True, kw_only=True)
class TeacherState(SharedState):
    """Which teacher reads which label.

    x and y, percent of width and height, mark the region of the label that is edited.
    """

    run: str
    frame: int = 0
    x: float = 50.0
    y: float = 50.0
    edit: str = AS_IT_IS
    pixel_std: float = 0.03
    seed: int = 0
    category: str = ""
    errors_of: str = READINGS[0]


def teacher(settings: Place, *, run: Run | None = None) -> Explorer | Missing:
    """The explorer of `01_teacher_training`.

    Args:
        settings: of the notebook: data set, data folder and runs folder.
        run: the run to begin with, where it is complete; None: the first assisted one.
    """
    runs = find_teachers(settings, assisted=False)
    runs.sort(key=lambda one: run is not None and one.run_id != run.run_id)
    if not runs:
        return missing("teacher", settings, lambda: teacher(settings))
    teachers = Teachers(runs, data_root=settings.data_root)
    first = teachers.experiment(runs[0].run_id)
    names = first.info.class_names
    category = first.info.category("")
    target = first.val_split[0].target.numpy()
    y, x = largest_region(target, names.index(category)) or (
        target.shape[0] // 2,
        target.shape[1] // 2,
    )
    state = TeacherState(
        run=runs[0].run_id, category=category, seed=first.settings.seed,
        pixel_std=first.noising.pixel_std if first.noising else 0.0,
        x=round(100 * (x + 0.5) / target.shape[1], 1),
        y=round(100 * (y + 0.5) / target.shape[0], 1),
        edit=names[(names.index(category) + 1) % len(names)],
    )  # fmt: skip

    def commands(state: TeacherState) -> dict[str, str]:
        run = teachers.runs[state.run]
        noise = {"pixel_std": state.pixel_std} if run.kind == "assisted" else {}
        return {
            "this picture": explore_command("teacher", settings, state),
            "train such a teacher": training_line(run, noise | {"seed": state.seed}),
        }

    @lru_cache(maxsize=8)
    def read(run_id: str, frame: int, pixel_std: float, seed: int, *own: str) -> ReadFrame:
        return read_frame(
            teachers.experiment(run_id), frame, pixel_std=pixel_std, seed=seed, own=own
        )

    def draw(state: TeacherState) -> View:
        one = read(state.run, state.frame, state.pixel_std, state.seed, state.image, state.label)
        return draw_teacher(state, teachers.experiment(state.run), one)

    def unused(state: TeacherState) -> tuple[str, ...]:
        plain = teachers.runs[state.run].kind != "assisted"
        without_label = plain or bool(state.image and not state.label)
        own = ("frame",) if state.image else ("label",)
        return own + (OF_LABELS if without_label else ())

    return Explorer(
        "teacher", "Teacher explorer", state, _controls(runs, names, len(first.val_split)), draw,
        commands,
        choose=lambda state, x, y: {"x": round(100 * x, 1), "y": round(100 * y, 1)},
        point=lambda state: (state.x / 100, state.y / 100),
        keep=partial(keep_upload, runs=settings.runs), unused=unused,
        gesture="Cursor: arrow keys move it, Enter edits the label's region there",
    )  # fmt: skip


def _controls(runs: list[Run], names: tuple[str, ...], frames: int) -> tuple[Control, ...]:
    edits = (AS_IT_IS, REMOVED, *names)
    return (
        Control(
            name="run", label="run", kind="choice",
            options=tuple(run.run_id for run in runs), names=tuple(map(run_name, runs)),
        ),
        Control(name="frame", label="frame", high=frames - 1),
        Control(name="x", label="region x, %", kind="point", high=100, step=0.1),
        Control(name="y", label="region y, %", kind="point", high=100, step=0.1),
        Control(name="edit", label="edit: its class", kind="choice", options=edits),
        Control(name="pixel_std", label="pixel noise std", high=widest_noise(runs), step=0.01),
        Control(name="seed", label="seed", high=999),
        Control(name="category", label="class of errors", kind="choice", options=names),
        Control(name="errors_of", label="errors of", kind="choice", options=READINGS),
        *shared_controls(),
    )  # fmt: skip


def draw_teacher(state: TeacherState, experiment: Experiment, one: ReadFrame) -> View:
    """Predictions beside the label, their errors, and whether the prediction follows an edited
    label.
    """
    if "image alone" in one.answers:
        return _draw_image_alone(state, experiment.info, one)
    info, truth = experiment.info, one.truth
    category = info.class_names.index(state.category)
    region, edited = edit_label(truth, info, x=state.x, y=state.y, edit=state.edit)
    after = one.answers["true label"]
    if edited is not truth:
        after = read_edited(
            experiment, one.batch, edited, pixel_std=state.pixel_std, seed=state.seed
        )
    answers = {**one.answers, "edited label": after}
    ids = {name: answer.ids for name, answer in answers.items()}
    scores = {name: frame_scores(ids[name], truth, info) for name in READINGS if name in ids}
    description, effect = describe_effect(region, truth, ids, info, edit=state.edit)
    errors_of = state.errors_of if state.errors_of in ids else READINGS[0]
    outline = region.numpy() if state.outlines == "on" else None
    classes = _classes(state, info)

    def predicted(name: str) -> Panel:
        return classes(
            f"prediction, {name}", ids[name], region=outline if name in READINGS[::3] else None,
            note="" if name == "edited label" else f"mIoU {scores[name].miou:.1f}",
            alt=f"Prediction with the {name}",
        )  # fmt: skip

    panels = (
        classes("label", truth, alt="True label", region=outline, hint="click a region to edit it"),
        classes("edited label", edited, alt=f"Label after the edit: {description}", region=outline),
        _image_panel(state, one),
        _channel_panel(after.label_channel),
        predicted("true label"),
        predicted("edited label"),
        _difference_panel("changed by the edit", ids["true label"], ids["edited label"]),
        error_panel(ids[errors_of], truth, category, errors_of, info),
        *(predicted(name) for name in READINGS[1:3] if name in ids),
        _difference_panel(
            "two noisings disagree", *(ids[k].where(one.labelled, truth) for k in list(ids)[:2])
        ),
    )
    readout = (effect, f"Edited label: {description}.", miou_text(scores))
    shown = {name: answers[name] for name in ("true label", "edited label", *READINGS[1:3])
             if name in answers}  # fmt: skip
    return View(
        panels, readout, (iou_table(scores, info),), class_legend(info),
        partial(point_text, shown, truth, info.class_names),
    )  # fmt: skip


def _draw_image_alone(state: TeacherState, info: DatasetInfo, one: ReadFrame) -> View:
    """A plain teacher, or a picture without a label: one prediction, its errors and scores."""
    (answer,) = one.answers.values()
    classes, truth = _classes(state, info), one.truth
    look = partial(point_text, one.answers, truth, info.class_names)
    first = _image_panel(state, one)
    prediction = classes("prediction", answer.ids, alt="Prediction from the image alone")
    if not one.labelled.any():
        text = "The prediction from the image alone: there is no label to edit or to score by."
        return View((first, prediction), (text,), (), class_legend(info), look)
    scores = frame_scores(answer.ids, truth, info)
    category = info.class_names.index(state.category)
    panels = (
        first,
        classes("label", truth, alt="True label"),
        prediction,
        error_panel(answer.ids, truth, category, "image alone", info),
    )
    text = (
        f"A plain teacher reads the image alone: mIoU of this frame {scores.miou:.1f}. There is no "
        "label to edit."
    )
    table = iou_table({"image alone": scores}, info)
    return View(panels, (text,), (table,), class_legend(info), look)


def _classes(state: TeacherState, info: DatasetInfo) -> partial[Panel]:
    """`class_panel` with names and lines as the state has them."""
    return partial(class_panel, info=info, named=state.names == "on", lines=state.outlines == "on")


def _image_panel(state: TeacherState, one: ReadFrame) -> Panel:
    name = "own picture" if state.image else f"frame {one.batch.index.item()}"
    pixels = fitted(one.image.permute(1, 2, 0).numpy())
    height, width = one.image.shape[1:]
    return panel("image", pixels, alt=f"Image, {name}, {height} x {width} pixels.", note=name)


def _channel_panel(channel: Tensor) -> Panel:
    """The first label channel (C, h, w) that a teacher reads."""
    values = channel[0].numpy()
    count = f", channel 1 of {len(channel)}" if len(channel) > 1 else ""
    return panel(
        "its input", levels(fitted(values), -RANGE, RANGE), table=SCALAR,
        note=f"edited label, noised; {-RANGE:g} to {RANGE:g} std of the image{count}",
        alt=f"Noised edited label{count}: values from {values.min():.2f} to {values.max():.2f} "
        "std of the image.",
    )  # fmt: skip


def _difference_panel(title: str, first: Tensor, second: Tensor) -> Panel:
    """Pixels where two class maps (H, W) differ."""
    differ = (first != second).numpy()
    share = f"{100 * np.mean(differ):.1f} % of the pixels"
    return panel(title, difference_picture(differ), note=f"dark, {share}", alt=f"{title}: {share}.")
