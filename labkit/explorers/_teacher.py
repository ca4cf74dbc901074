"""The teacher explorer: what a trained teacher answers under a true, a foreign, an empty and an operated label."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from labkit.config import TeacherSettings
from labkit.datasets import Batch, DatasetInfo
from labkit.engine import autocast
from labkit.experiments import Experiment
from labkit.explorers._pictures import class_picture, difference_picture, error_picture, fitted, outlined
from labkit.explorers._regions import largest_region, region_at
from labkit.explorers._teachers import Teachers, find_teachers, missing, one_frame, teacher_lines
from labkit.explorers._view import Control, Explorer, Missing, Panel, Table, View, panel
from labkit.lnm import IGNORE_INDEX
from labkit.metrics import confusion_matrix, scores_from_confusion
from labkit.records import Run
from labkit.steps import assisted_input, noised_by_frame, zero_label_shape

AS_IT_IS, REMOVED = "as it is", "removed (void)"
READINGS = ("true label", "foreign label", "zero label", "operated label")


@dataclass(frozen=True, kw_only=True)
class TeacherState:
    """What is shown to which teacher. x and y are percent of width and height; they mark the label's region under the knife."""

    run: str
    frame: int = 0
    pixel_std: float = 0.03
    seed: int = 0
    category: str = ""
    errors_of: str = READINGS[0]
    x: int = 50
    y: int = 50
    surgery: str = AS_IT_IS


def teacher(settings: TeacherSettings, *, run: Run | None = None) -> Explorer | Missing:
    """The explorer of `01_teacher_training`.

    Args:
        run: the one to begin with, complete; None: the first assisted one found.
    """
    found = find_teachers(settings, assisted=False)
    if run is not None:
        found = [run, *(one for one in found if one.run_id != run.run_id)]
    if not found:
        return missing("teacher", settings, lambda: teacher(settings))
    teachers = Teachers(found, data_root=settings.data_root)
    first = teachers.experiment(found[0].run_id)
    names = first.info.class_names
    category = "car" if "car" in names else names[0]
    target = first.val_split[0].target.numpy()
    y, x = largest_region(target, names.index(category)) or (target.shape[0] // 2, target.shape[1] // 2)
    state = TeacherState(
        run=found[0].run_id, category=category, pixel_std=first.settings.pixel_std, seed=first.settings.seed,
        x=round(100 * (x + 0.5) / target.shape[1]), y=round(100 * (y + 0.5) / target.shape[0]),
        surgery=names[(names.index(category) + 1) % len(names)],
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
        Control(name="surgery", label="its class", kind="choice", options=(AS_IT_IS, REMOVED, *names)),
    )

    def commands(state: TeacherState) -> dict[str, str]:
        return teacher_lines(teachers.runs[state.run], {"pixel_std": state.pixel_std, "seed": state.seed})

    def draw(state: TeacherState) -> View:
        return draw_teacher(state, teachers.experiment(state.run))

    return Explorer("teacher", "Teacher explorer", state, controls, draw, commands)


def draw_teacher(state: TeacherState, experiment: Experiment) -> View:
    """Predictions beside the truth, their errors, and whether an operated label is followed."""
    info = experiment.info
    image, batch = one_frame(experiment, state.frame)
    truth = batch.target[0]
    first = (
        panel("image", fitted(image.permute(1, 2, 0).numpy()), alt=f"Frame {state.frame}.", note=f"frame {state.frame}"),
        _classes("label", truth, info, alt="Ground truth"),
    )
    if experiment.noising is None:
        return _draw_plain(state, experiment, batch, first)
    category = info.class_names.index(state.category)
    region, operated = operate(truth, state, info)
    answers = answer(experiment, batch, operated, pixel_std=state.pixel_std, seed=state.seed)
    scores = {name: _scores(answers[name], truth, info) for name in READINGS}
    shown = tuple(
        _classes(f"prediction, {name}", answers[name], info, alt=f"Prediction with the {name}", note=f"mIoU {scores[name].miou:.1f}")
        for name in READINGS[:3]
    )
    labelled = truth != IGNORE_INDEX
    differ = (answers["true label"] != answers["second noising"]) & labelled
    disagreement = 100 * differ.sum().item() / max(labelled.sum().item(), 1)
    spoken, verdict = _verdict(region, truth, answers, state, info)
    outline = fitted(region.numpy())
    panels = (
        *first, *shown,
        panel("two noisings disagree", difference_picture(differ.numpy()), note=f"dark, {disagreement:.1f} % of the labelled pixels",
              alt=f"Pixels where seeds {state.seed} and {state.seed + 1} give different answers: {disagreement:.1f} %."),
        _errors(answers[state.errors_of], truth, category, state.errors_of, info),
        _classes("operated label", operated, info, alt=f"Label after surgery: {spoken}", outline=outline, note="region outlined"),
        _classes("prediction, operated label", answers["operated label"], info, alt=f"Prediction after: {verdict}", outline=outline),
    )  # fmt: skip
    readout = (
        f"mIoU of this frame: true label {scores['true label'].miou:.1f}, foreign label {scores['foreign label'].miou:.1f}, "
        f"zero label {scores['zero label'].miou:.1f}; reliance {scores['true label'].miou - scores['foreign label'].miou:.1f}.",
        f"Two noisings (seeds {state.seed} and {state.seed + 1}) disagree on {disagreement:.1f} % of the labelled pixels.",
        f"Label surgery: {spoken}. {verdict}",
    )
    return View(panels, readout, (_iou_table(scores, info),))


@torch.no_grad()
def answer(experiment: Experiment, batch: Batch, operated: Tensor, *, pixel_std: float, seed: int) -> dict[str, Tensor]:
    """(H, W) class ids by what is shown: the four readings, and the true label under a second noising. One pass for all."""
    noising = replace(experiment.noising, pixel_std=pixel_std)
    shown = {
        "true label": noised_by_frame(noising, batch.target, batch.index, seed=seed),
        "second noising": noised_by_frame(noising, batch.target, batch.index, seed=seed + 1),
        "foreign label": noised_by_frame(noising, batch.foreign_target, batch.index, seed=seed),
        "zero label": batch.images.new_zeros(zero_label_shape(experiment.network, batch)),
        "operated label": noised_by_frame(noising, operated[None], batch.index, seed=seed),
    }
    images = batch.images.expand(len(shown), -1, -1, -1)
    network = experiment.network
    with autocast(experiment.device, experiment.precision):
        logits = network(assisted_input(images, torch.cat(list(shown.values()))).to(experiment.device))
        ids = network.to_full_size(logits, images.shape[2:]).argmax(1).cpu()
    return dict(zip(shown, ids, strict=True))


def operate(truth: Tensor, state: TeacherState, info: DatasetInfo) -> tuple[Tensor, Tensor]:
    """The region under (x, y), (H, W) bool, and the label with that region given another class or made void."""
    height, width = truth.shape
    y, x = (min(int(share * size / 100), size - 1) for share, size in ((state.y, height), (state.x, width)))
    region = torch.from_numpy(region_at(truth.numpy(), y, x))
    if state.surgery == AS_IT_IS:
        return region, truth
    new = IGNORE_INDEX if state.surgery == REMOVED else info.class_names.index(state.surgery)
    return region, truth.masked_fill(region, new)


def _verdict(region: Tensor, truth: Tensor, answers: dict[str, Tensor], state: TeacherState, info: DatasetInfo) -> tuple[str, str]:
    """What was done, and what the prediction followed."""
    old_id = int(truth[region][0])
    names = [*info.class_names, "void"]
    old = names[min(old_id, info.num_classes)]
    spoken = f"the {old} region at ({state.x} %, {state.y} %), {int(region.sum())} pixels, {_done(state, old)}"
    before, after = answers["true label"], answers["operated label"]
    if state.surgery in (AS_IT_IS, old) or old_id == IGNORE_INDEX:
        return spoken, "Give a labelled region another class to see what the prediction follows."
    kept, had = (100 * (one[region] == old_id).float().mean().item() for one in (after, before))
    elsewhere = 100 * (before != after)[~region].float().mean().item() if (~region).any() else 0.0
    text = f"Inside it {old} was predicted on {had:.0f} % of the pixels and now is on {kept:.0f} %"
    if state.surgery == REMOVED:
        follows = "the image" if kept >= had / 2 else "the label"
    else:
        taken = 100 * (after[region] == names.index(state.surgery)).float().mean().item()
        text += f", {state.surgery} on {taken:.0f} %"
        follows = "neither" if max(kept, taken) < 25 else "the label" if taken > kept else "the image"
    return spoken, f"{text}: the prediction follows {follows}. Elsewhere {elsewhere:.1f} % changed."


def _done(state: TeacherState, old: str) -> str:
    if state.surgery in (AS_IT_IS, old):
        return "left as it is"
    return "removed (void)" if state.surgery == REMOVED else f"labelled {state.surgery}"


def _draw_plain(state: TeacherState, experiment: Experiment, batch: Batch, first: tuple[Panel, ...]) -> View:
    """A plain teacher reads no label: one prediction, its errors and scores."""
    info, truth = experiment.info, batch.target[0]
    prediction = experiment.logits("image", batch).argmax(1)[0]
    scores = _scores(prediction, truth, info)
    panels = (
        *first,
        _classes("prediction", prediction, info, alt="Prediction from the image alone", note=f"mIoU {scores.miou:.1f}"),
        _errors(prediction, truth, info.class_names.index(state.category), "image alone", info),
    )
    readout = (f"A plain teacher reads the image alone: mIoU of this frame {scores.miou:.1f}. There is no label to operate on.",)
    return View(panels, readout, (_iou_table({"image alone": scores}, info),))


def _scores(prediction: Tensor, truth: Tensor, info: DatasetInfo):
    return scores_from_confusion(confusion_matrix(prediction[None], truth[None], num_classes=info.num_classes))


def _classes(title: str, ids: Tensor, info: DatasetInfo, *, alt: str, note: str = "", outline: np.ndarray | None = None) -> Panel:
    """A panel of class ids; the alt text names the classes by size."""
    values = ids.masked_fill(ids == IGNORE_INDEX, info.num_classes).numpy()
    names = [*info.class_names, "void"]
    counts = np.bincount(values.ravel(), minlength=len(names))
    told = ", ".join(f"{names[k]} {100 * counts[k] / values.size:.1f} %" for k in np.argsort(-counts, kind="stable") if counts[k])
    pixels = class_picture(values, info.palette, names)
    return panel(title, pixels if outline is None else outlined(pixels, outline), alt=f"{alt}: {told}.", note=note)


def _errors(prediction: Tensor, truth: Tensor, category: int, reading: str, info: DatasetInfo) -> Panel:
    labelled = truth != IGNORE_INDEX
    predicted, true = (prediction == category) & labelled, truth == category
    counts = [int(one.sum()) for one in (predicted & true, true & ~predicted, predicted & ~true)]
    name = info.class_names[category]
    alt = f"Errors for {name}, {reading}: {counts[0]} pixels hit, {counts[1]} missed, {counts[2]} false alarms."
    pixels = error_picture(prediction.numpy(), truth.numpy(), category, IGNORE_INDEX)
    note = f"{reading}: hit grey {counts[0]}, miss black {counts[1]}, false alarm striped {counts[2]} pixels"
    return panel(f"errors, {name}", pixels, alt=alt, note=note)


def _iou_table(scores: dict, info: DatasetInfo) -> Table:
    rows = [(name, *(_percent(one.iou[k]) for one in scores.values())) for k, name in enumerate(info.class_names)]
    rows.append(("mean", *(_percent(one.miou) for one in scores.values())))
    return Table("IoU of this frame by class, percent; – is in neither label nor prediction.", ("class", *scores), tuple(rows))


def _percent(value: float) -> str:
    return "–" if value != value else f"{value:.1f}"
