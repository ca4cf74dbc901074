"""The teacher explorer: a trained teacher's predictions with a true, a foreign, an empty and an
edited label.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from labkit.datasets import ScoringBatch
from labkit.datasets.batches import resize_label
from labkit.explore.class_panels import (
    class_panel,
    error_panel,
    frame_scores,
    iou_table,
    miou_text,
)
from labkit.explore.edits import AS_IT_IS, REMOVED, describe_effect, edit_label
from labkit.explore.pictures import (
    difference_picture,
    fitted,
)
from labkit.explore.regions import largest_region
from labkit.explore.save import explore_command
from labkit.explore.teachers import (
    Teachers,
    find_teachers,
    missing,
    one_frame,
    training_line,
)
from labkit.explore.view import Control, Explorer, Missing, Panel, Place, View, panel
from labkit.method import (
    IGNORE_INDEX,
    assisted_input,
)
from labkit.records import Run
from labkit.training.device import full_float32
from labkit.training.experiment import Experiment
from labkit.training.predict import noise_by_frame, predicted_classes

READINGS = ("true label", "foreign label", "zero label", "edited label")


@dataclass(frozen=True, kw_only=True)
class TeacherState:
    """Which teacher reads which label.

    x and y, percent of width and height, mark the region of the label that is edited.
    """

    run: str
    frame: int = 0
    pixel_std: float = 0.03
    seed: int = 0
    category: str = ""
    errors_of: str = READINGS[0]
    x: int = 50
    y: int = 50
    edit: str = AS_IT_IS


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
        x=round(100 * (x + 0.5) / target.shape[1]), y=round(100 * (y + 0.5) / target.shape[0]),
        edit=names[(names.index(category) + 1) % len(names)],
    )  # fmt: skip
    controls = (
        Control(name="run", label="run", kind="choice", options=tuple(teachers.runs)),
        Control(name="frame", label="frame", high=len(first.val_split) - 1),
        Control(name="pixel_std", label="pixel noise std", high=2, step=0.01),
        Control(name="seed", label="seed", high=999),
        Control(name="category", label="class of errors", kind="choice", options=names),
        Control(name="errors_of", label="errors of", kind="choice", options=READINGS),
        Control(name="x", label="region x, %", high=100),
        Control(name="y", label="region y, %", high=100),
        Control(
            name="edit", label="edit: its class", kind="choice", options=(AS_IT_IS, REMOVED, *names)
        ),
    )

    def commands(state: TeacherState) -> dict[str, str]:
        run = teachers.runs[state.run]
        noise = {"pixel_std": state.pixel_std} if run.kind == "assisted" else {}
        return {
            "this picture": explore_command("teacher", settings, state),
            "train such a teacher": training_line(run, noise | {"seed": state.seed}),
        }

    def draw(state: TeacherState) -> View:
        return draw_teacher(state, teachers.experiment(state.run))

    return Explorer("teacher", "Teacher explorer", state, controls, draw, commands)


def draw_teacher(state: TeacherState, experiment: Experiment) -> View:
    """Predictions beside the label, their errors, and whether the prediction follows an edited
    label.
    """
    info = experiment.info
    image, batch = one_frame(experiment, state.frame)
    truth = batch.target[0]
    first = (
        panel(
            "image",
            fitted(image.permute(1, 2, 0).numpy()),
            alt=f"Frame {state.frame}.",
            note=f"frame {state.frame}",
        ),
        class_panel("label", truth, info, alt="True label"),
    )
    if experiment.noising is None:
        return _draw_plain(state, experiment, batch, first)
    category = info.class_names.index(state.category)
    region, edited = edit_label(truth, info, x=state.x, y=state.y, edit=state.edit)
    answers = answer(experiment, batch, edited, pixel_std=state.pixel_std, seed=state.seed)
    readings = [name for name in READINGS if name in answers]
    scores = {name: frame_scores(answers[name], truth, info) for name in readings}
    errors_of = state.errors_of if state.errors_of in readings else readings[0]
    predictions = tuple(
        class_panel(
            f"prediction, {name}",
            answers[name],
            info,
            alt=f"Prediction with the {name}",
            note=f"mIoU {scores[name].miou:.1f}",
        )
        for name in readings
        if name != "edited label"
    )
    labelled = truth != IGNORE_INDEX
    differ = (answers["true label"] != answers["second noising"]) & labelled
    disagreement = 100 * differ.sum().item() / max(labelled.sum().item(), 1)
    description, effect = describe_effect(region, truth, answers, info, edit=state.edit)
    outline = fitted(region.numpy())
    seeds = f"seeds {state.seed} and {state.seed + 1}"
    panels = (
        *first,
        *predictions,
        panel(
            "two noisings disagree",
            difference_picture(differ.numpy()),
            note=f"dark, {disagreement:.1f} % of the labelled pixels",
            alt=f"Pixels where {seeds} give different answers: {disagreement:.1f} %.",
        ),
        error_panel(answers[errors_of], truth, category, errors_of, info),
        class_panel(
            "edited label",
            edited,
            info,
            alt=f"Label after the edit: {description}",
            outline=outline,
            note="region outlined",
        ),
        class_panel(
            "prediction, edited label",
            answers["edited label"],
            info,
            alt=f"Prediction after the edit: {effect}",
            outline=outline,
        ),
    )
    readout = (
        miou_text(scores),
        f"Two noisings (seeds {state.seed} and {state.seed + 1}) disagree on {disagreement:.1f} % "
        "of the labelled pixels.",
        f"Edited label: {description}. {effect}",
    )
    return View(panels, readout, (iou_table(scores, info),))


@torch.no_grad()
def answer(
    experiment: Experiment, batch: ScoringBatch, edited: Tensor, *, pixel_std: float, seed: int
) -> dict[str, Tensor]:
    """(H, W) class ids at the label's size by what is read: the four readings and a second noising,
    in one pass.

    Args:
        edited: (H, W) class ids at the label's own size.
    """
    noising = replace(experiment.noising, pixel_std=pixel_std)
    size = tuple(batch.images.shape[2:])
    labels = {"true label": batch.label, "second noising": batch.label,
              "edited label": resize_label(edited[None], size)}  # fmt: skip
    if batch.foreign_label is not None:
        labels["foreign label"] = batch.foreign_label
    channels = {
        name: noise_by_frame(noising, label, batch.index, seed=seed + (name == "second noising"))
        for name, label in labels.items()
    }
    channels["zero label"] = torch.zeros_like(channels["true label"])
    images = batch.images.expand(len(channels), -1, -1, -1)
    with full_float32(experiment.device):
        outputs = experiment.network(assisted_input(images, torch.cat(list(channels.values()))))
        ids = predicted_classes(
            outputs.logits, outputs.stride, image_size=size, label_size=tuple(edited.shape)
        )
    return dict(zip(channels, ids.cpu(), strict=True))


def _draw_plain(
    state: TeacherState, experiment: Experiment, batch: ScoringBatch, first: tuple[Panel, ...]
) -> View:
    """A plain teacher reads no label: one prediction, its errors and scores."""
    info, truth = experiment.info, batch.target[0]
    prediction = experiment.logits("image", batch).argmax(1)[0]
    scores = frame_scores(prediction, truth, info)
    panels = (
        *first,
        class_panel(
            "prediction",
            prediction,
            info,
            alt="Prediction from the image alone",
            note=f"mIoU {scores.miou:.1f}",
        ),
        error_panel(prediction, truth, info.class_names.index(state.category), "image alone", info),
    )
    readout = (
        f"A plain teacher reads the image alone: mIoU of this frame {scores.miou:.1f}. There is no "
        "label to edit.",
    )
    return View(panels, readout, (iou_table({"image alone": scores}, info),))
