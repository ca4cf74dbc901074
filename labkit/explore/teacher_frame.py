"""The teacher explorer: a trained teacher's predictions with a true, a foreign, an empty and an
edited label.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from labkit.datasets import DatasetInfo, ScoringBatch
from labkit.datasets.batches import resize_label
from labkit.explore.pictures import (
    class_picture,
    difference_picture,
    error_picture,
    fitted,
    outlined,
)
from labkit.explore.regions import largest_region, region_at
from labkit.explore.teachers import (
    Place,
    Teachers,
    find_teachers,
    missing,
    one_frame,
    training_line,
)
from labkit.explore.view import Control, Explorer, Missing, Panel, Table, View, panel
from labkit.method import (
    IGNORE_INDEX,
    Counts,
    Scores,
    assisted_input,
    count_pixels,
    scores_from_counts,
)
from labkit.records import Run
from labkit.training.device import full_float32
from labkit.training.experiment import Experiment
from labkit.training.predict import noise_by_frame, predicted_classes

AS_IT_IS, REMOVED = "as it is", "removed (void)"
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
    category = "car" if "car" in names else names[0]
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
        return {"train such a teacher": training_line(run, noise | {"seed": state.seed})}

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
        _classes("label", truth, info, alt="True label"),
    )
    if experiment.noising is None:
        return _draw_plain(state, experiment, batch, first)
    category = info.class_names.index(state.category)
    region, edited = edit_label(truth, state, info)
    answers = answer(experiment, batch, edited, pixel_std=state.pixel_std, seed=state.seed)
    readings = [name for name in READINGS if name in answers]
    scores = {name: _scores(answers[name], truth, info) for name in readings}
    errors_of = state.errors_of if state.errors_of in readings else readings[0]
    shown = tuple(
        _classes(
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
    description, effect = _effect(region, truth, answers, state, info)
    outline = fitted(region.numpy())
    panels = (
        *first, *shown,
        panel("two noisings disagree", difference_picture(differ.numpy()), note=f"dark, {disagreement:.1f} % of the labelled pixels",
              alt=f"Pixels where seeds {state.seed} and {state.seed + 1} give different answers: {disagreement:.1f} %."),
        _errors(answers[errors_of], truth, category, errors_of, info),
        _classes("edited label", edited, info, alt=f"Label after the edit: {description}", outline=outline, note="region outlined"),
        _classes("prediction, edited label", answers["edited label"], info, alt=f"Prediction after the edit: {effect}", outline=outline),
    )  # fmt: skip
    readout = (
        _miou_text(scores),
        f"Two noisings (seeds {state.seed} and {state.seed + 1}) disagree on {disagreement:.1f} % "
        "of the labelled pixels.",
        f"Edited label: {description}. {effect}",
    )
    return View(panels, readout, (_iou_table(scores, info),))


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


def edit_label(truth: Tensor, state: TeacherState, info: DatasetInfo) -> tuple[Tensor, Tensor]:
    """The region under (x, y), (H, W) bool, and the label with that region given another class or
    made void.
    """
    height, width = truth.shape
    y, x = (
        min(int(share * size / 100), size - 1)
        for share, size in ((state.y, height), (state.x, width))
    )
    region = torch.from_numpy(region_at(truth.numpy(), y, x))
    if state.edit == AS_IT_IS:
        return region, truth
    new = IGNORE_INDEX if state.edit == REMOVED else info.class_names.index(state.edit)
    return region, truth.masked_fill(region, new)


def _effect(
    region: Tensor,
    truth: Tensor,
    answers: dict[str, Tensor],
    state: TeacherState,
    info: DatasetInfo,
) -> tuple[str, str]:
    """What was edited, and what the prediction followed."""
    old_id = int(truth[region][0])
    names = [*info.class_names, "void"]
    old = names[min(old_id, info.num_classes)]
    description = f"the {old} region at ({state.x} %, {state.y} %), {int(region.sum())} pixels, {_edit_text(state, old)}"
    before, after = answers["true label"], answers["edited label"]
    if state.edit in (AS_IT_IS, old) or old_id == IGNORE_INDEX:
        return (
            description,
            "Give a labelled region another class to see what the prediction follows.",
        )
    kept, had = (100 * (one[region] == old_id).float().mean().item() for one in (after, before))
    elsewhere = 100 * (before != after)[~region].float().mean().item() if (~region).any() else 0.0
    text = f"Inside it {old} was predicted on {had:.0f} % of the pixels and now is on {kept:.0f} %"
    if state.edit == REMOVED:
        follows = "the image" if kept >= had / 2 else "the label"
    else:
        taken = 100 * (after[region] == names.index(state.edit)).float().mean().item()
        text += f", {state.edit} on {taken:.0f} %"
        follows = (
            "neither" if max(kept, taken) < 25 else "the label" if taken > kept else "the image"
        )
    return (
        description,
        f"{text}: the prediction follows {follows}. Elsewhere {elsewhere:.1f} % changed.",
    )


def _edit_text(state: TeacherState, old: str) -> str:
    if state.edit in (AS_IT_IS, old):
        return "left as it is"
    return "removed (void)" if state.edit == REMOVED else f"labelled {state.edit}"


def _draw_plain(
    state: TeacherState, experiment: Experiment, batch: ScoringBatch, first: tuple[Panel, ...]
) -> View:
    """A plain teacher reads no label: one prediction, its errors and scores."""
    info, truth = experiment.info, batch.target[0]
    prediction = experiment.logits("image", batch).argmax(1)[0]
    scores = _scores(prediction, truth, info)
    panels = (
        *first,
        _classes(
            "prediction",
            prediction,
            info,
            alt="Prediction from the image alone",
            note=f"mIoU {scores.miou:.1f}",
        ),
        _errors(prediction, truth, info.class_names.index(state.category), "image alone", info),
    )
    readout = (
        f"A plain teacher reads the image alone: mIoU of this frame {scores.miou:.1f}. There is no label to edit.",
    )
    return View(panels, readout, (_iou_table({"image alone": scores}, info),))


def _miou_text(scores: dict[str, Scores]) -> str:
    parts = [f"{name} {one.miou:.1f}" for name, one in scores.items() if name != "edited label"]
    text = f"mIoU of this frame: {', '.join(parts)}"
    if "foreign label" in scores:
        reliance = scores["true label"].miou - scores["foreign label"].miou
        text += f"; reliance {reliance:.1f}"
    return text + "."


def _scores(prediction: Tensor, truth: Tensor, info: DatasetInfo) -> Scores:
    counts = count_pixels(prediction[None], truth[None], num_classes=info.num_classes)
    return scores_from_counts(Counts(*(part[0] for part in counts)))


def _classes(
    title: str,
    ids: Tensor,
    info: DatasetInfo,
    *,
    alt: str,
    note: str = "",
    outline: np.ndarray | None = None,
) -> Panel:
    """A panel of class ids; the alt text names the classes by size."""
    values = ids.masked_fill(ids == IGNORE_INDEX, info.num_classes).numpy()
    names = [*info.class_names, "void"]
    counts = np.bincount(values.ravel(), minlength=len(names))
    shares = ", ".join(
        f"{names[k]} {100 * counts[k] / values.size:.1f} %"
        for k in np.argsort(-counts, kind="stable")
        if counts[k]
    )
    pixels = class_picture(values, info.palette, names)
    return panel(
        title,
        pixels if outline is None else outlined(pixels, outline),
        alt=f"{alt}: {shares}.",
        note=note,
    )


def _errors(
    prediction: Tensor, truth: Tensor, category: int, reading: str, info: DatasetInfo
) -> Panel:
    labelled = truth != IGNORE_INDEX
    predicted, true = (prediction == category) & labelled, truth == category
    counts = [int(one.sum()) for one in (predicted & true, true & ~predicted, predicted & ~true)]
    name = info.class_names[category]
    alt = f"Errors for {name}, {reading}: {counts[0]} pixels hit, {counts[1]} missed, {counts[2]} false alarms."
    pixels = error_picture(prediction.numpy(), truth.numpy(), category, IGNORE_INDEX)
    note = f"{reading}: hit grey {counts[0]}, miss black {counts[1]}, false alarm striped {counts[2]} pixels"
    return panel(f"errors, {name}", pixels, alt=alt, note=note)


def _iou_table(scores: dict, info: DatasetInfo) -> Table:
    rows = [
        (name, *(_percent(one.iou[k]) for one in scores.values()))
        for k, name in enumerate(info.class_names)
    ]
    rows.append(("mean", *(_percent(one.miou) for one in scores.values())))
    return Table(
        "IoU of this frame by class, percent; – is in neither label nor prediction.",
        ("class", *scores),
        tuple(rows),
    )


def _percent(value: float) -> str:
    return "–" if value != value else f"{value:.1f}"
