"""The compare explorer: two or three runs on one frame, where they differ, and on which frames."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial

import numpy as np
from torch import Tensor

from labkit.attribution.request import scoring_batch
from labkit.datasets import DatasetInfo, ScoringBatch, Split
from labkit.explore.class_panels import class_legend, class_panel, frame_scores, iou_table
from labkit.explore.confusion import Confusion, confusion_of, confusion_panel
from labkit.explore.own import keep_upload, open_own
from labkit.explore.pictures import EVIDENCE_COLOURS, fitted, levels, right_picture
from labkit.explore.ranking import PICKS, comparable_ious, picked_frame, ranking_table
from labkit.explore.readings import Answer, point_text, read_edited, read_image_alone
from labkit.explore.regions import class_at
from labkit.explore.save import explore_command
from labkit.explore.teachers import Teachers, find_runs, missing, related_runs, run_name
from labkit.explore.view import (
    SWITCH,
    Control,
    Explorer,
    Missing,
    Panel,
    Place,
    SharedState,
    Table,
    View,
    panel,
    shared_controls,
)
from labkit.method import IGNORE_INDEX, Scores
from labkit.records import Run
from labkit.training.experiment import Experiment

LETTERS = "ABC"


@dataclass(frozen=True, kw_only=True)
class CompareState(SharedState):
    """Runs A, B and C ("": none), and the frame they are compared on."""

    first: str
    second: str
    third: str = ""
    pick: str = PICKS[0]
    frame: int = 0
    category: str = ""
    confusion: str = SWITCH[1]

    def runs(self) -> dict[str, str]:
        """Run ids by letter."""
        ids = (self.first, self.second, self.third)
        return {letter: one for letter, one in zip(LETTERS, ids, strict=True) if one}


@dataclass(frozen=True, eq=False)
class Compared:
    """One run's answer for the frame."""

    run: Run
    answer: Answer
    scores: Scores

    @property
    def name(self) -> str:
        """Who taught it, or which teacher it is, and its seed."""
        return f"{self.run.role} {self.run.kind}, seed {self.run.settings.seed}"

    @property
    def score_text(self) -> str:
        """mIoU on the frame, or that there is none."""
        miou = self.scores.miou
        return "no score" if np.isnan(miou) else f"mIoU {miou:.1f}"


def compare(settings: Place, *, run: Run | None = None) -> Explorer | Missing:
    """The explorer of `02_student_distillation` and `03_results`.

    Args:
        settings: data set, data folder and runs folder.
        run: the run to begin with, where it is complete; None: a student with a teacher.
    """
    runs = find_runs(settings)
    if not runs:
        return missing("compare", settings, lambda: compare(settings))
    loaded = Teachers(runs, data_root=settings.data_root)
    first, *others = related_runs(runs, run)
    split, info = loaded.experiment(first.run_id).val_split, loaded.experiment(first.run_id).info
    state = CompareState(
        first=first.run_id,
        second=others[0].run_id if others else first.run_id,
        third=others[1].run_id if len(others) > 1 else "",
        category=info.category(""),
    )

    @lru_cache(maxsize=8)
    def confusion(run_id: str) -> Confusion:
        experiment = loaded.experiment(run_id)
        return confusion_of(experiment, next(iter(experiment.predictors())))

    @lru_cache(maxsize=8)
    def answered(run_id: str, first: str, frame: int, *own: str) -> tuple[ScoringBatch, Answer]:
        split = open_own(*own, info) if own[0] else loaded.experiment(first).val_split
        index = 0 if own[0] else min(frame, len(split) - 1)
        return answer_as_scored(loaded.experiment(run_id), split, index)

    @lru_cache(maxsize=8)
    def comparable(*ids: str) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
        """`comparable_ious` of runs A, B and C."""
        runs = zip(LETTERS, ids, strict=True)
        return comparable_ious({letter: loaded.runs[one] for letter, one in runs if one})

    def located(state: CompareState) -> int:
        """The frame to show."""
        ious, _ = comparable(state.first, state.second, state.third)
        category = info.class_names.index(state.category)
        return picked_frame(state.pick, state.frame, ious, category)

    def draw(state: CompareState) -> View:
        ious, left_out = comparable(state.first, state.second, state.third)
        frame = located(state)
        compared = {}
        for k, run in state.runs().items():
            batch, answer = answered(run, state.first, frame, state.image, state.label)
            scores = frame_scores(answer.ids, batch.target[0], info)
            compared[k] = Compared(loaded.runs[run], answer, scores)
        matrices = []
        if state.confusion == "on":
            matrices = [
                confusion_panel(confusion(run), info, title=f"confusion, {k}")
                for k, run in state.runs().items()
            ]
        table = ranking_table(ious, info.class_names.index(state.category), state.category)
        view = draw_comparison(state, info, batch, compared, matrices, table)
        return replace(view, readout=view.readout + left_out)

    def choose(state: CompareState, x: float, y: float) -> dict[str, str]:
        own = (state.image, state.label)
        batch, _ = answered(state.first, state.first, located(state), *own)
        chosen = class_at(batch.target[0], x, y)
        return {} if chosen == IGNORE_INDEX else {"category": info.class_names[chosen]}

    def unused(state: CompareState) -> tuple[str, ...]:
        if state.image:
            return ("frame", "pick")
        ious, _ = comparable(state.first, state.second, state.third)
        no_gain = "B" not in ious and state.pick in PICKS[3:]
        by_number = state.pick == PICKS[0] or no_gain
        return ("label",) if by_number else ("label", "frame")

    return Explorer(
        "compare", "Compare explorer", state, _controls(runs, info, len(split)), draw,
        lambda state: {"this picture": explore_command("compare", settings, state)}, choose,
        unused=unused, keep=partial(keep_upload, runs=settings.runs),
        gesture="Cursor: arrow keys move it, Enter chooses the class of the label there",
    )  # fmt: skip


def _controls(runs: list[Run], info: DatasetInfo, frames: int) -> tuple[Control, ...]:
    ids, names = tuple(run.run_id for run in runs), tuple(map(run_name, runs))
    return (
        Control(name="first", label="run A", kind="choice", options=ids, names=names),
        Control(name="second", label="run B", kind="choice", options=ids, names=names),
        Control(
            name="third", label="run C", kind="choice", options=("", *ids), names=("none", *names)
        ),
        Control(name="category", label="class", kind="choice", options=info.class_names),
        Control(name="pick", label="show", kind="choice", options=PICKS),
        Control(name="frame", label="frame", high=frames - 1),
        Control(name="confusion", label="confusion", kind="choice", options=SWITCH),
        *shared_controls(),
    )


def answer_as_scored(
    experiment: Experiment, split: Split, index: int
) -> tuple[ScoringBatch, Answer]:
    """A frame of a split, and the run's answer as its first score reads it: an assisted teacher
    with the true label, every other network from the image alone.

    Args:
        split: the same for all runs that are compared; their own may have other sizes.
    """
    batch = scoring_batch(experiment, split, [index])
    truth, noising = batch.target[0], experiment.noising
    if noising is None or (truth == IGNORE_INDEX).all():
        return batch, read_image_alone(experiment, batch)
    seed = experiment.settings.seed
    return batch, read_edited(experiment, batch, truth, pixel_std=noising.pixel_std, seed=seed)


def draw_comparison(
    state: CompareState,
    info: DatasetInfo,
    batch: ScoringBatch,
    compared: dict[str, Compared],
    matrices: Sequence[Panel],
    ranking: Table,
) -> View:
    """Predictions beside each other, A over B to swipe, who is right, and how certain each is.

    Args:
        batch: the frame.
        compared: by letter, A and B at least.
        matrices: panels of confusion, of any number.
    """
    truth = batch.target[0]
    classes = partial(
        class_panel, info=info, named=state.names == "on", lines=state.outlines == "on"
    )
    image = info.pixels(batch.images[0])
    name = "own picture" if state.image else f"frame {batch.index.item()}"
    predictions = [
        classes(
            f"prediction, {k}", one.answer.ids, note=f"{one.score_text}; {one.name}",
            alt=f"Prediction of {k}, {one.name}",
        )
        for k, one in compared.items()
    ]  # fmt: skip
    a, b = compared["A"].answer.ids, compared["B"].answer.ids
    swipe = classes(
        "A over B", a, over=b, alt="Prediction of A over that of B",
        note="left of the line A, right of it B",
    )  # fmt: skip
    panels = (
        panel("image", fitted(image.permute(1, 2, 0).numpy()), alt=f"Image, {name}.", note=name),
        classes("label", truth, alt="True label", hint="click a class to choose it"),
        *predictions,
        swipe,
        _right_panel(a, b, truth),
        *(_entropy_panel(k, one.answer) for k, one in compared.items()),
        *matrices,
    )
    labelled = truth != IGNORE_INDEX
    differ = 100 * ((a != b) & labelled).sum().item() / max(labelled.sum().item(), 1)
    gain = compared["A"].scores.miou - compared["B"].scores.miou
    verdict = (
        f"A is {abs(gain):.1f} points of mIoU {'above' if gain >= 0 else 'below'} B on this frame; "
        f"they differ on {differ:.1f} % of the labelled pixels."
        if labelled.any()
        else "There is no label to score by."
    )
    scores = {k: one.scores for k, one in compared.items()}
    look = partial(
        point_text, {k: one.answer for k, one in compared.items()}, truth, info.class_names
    )
    lines = (
        verdict,
        *(f"{k}: {one.name} ({one.run.run_id}), {one.score_text}."
          for k, one in compared.items()),
    )  # fmt: skip
    return View(panels, lines, (iou_table(scores, info), ranking), class_legend(info), look)


def _right_panel(a: Tensor, b: Tensor, truth: Tensor) -> Panel:
    """Which of two predictions (H, W) is right where."""
    right = [(one == truth).numpy() for one in (a, b)]
    only = [100 * np.mean(right[i] & ~right[1 - i]) for i in range(2)]
    text = f"only A {only[0]:.1f} % (blue), only B {only[1]:.1f} % (striped)"
    pixels = right_picture(*right, (truth == IGNORE_INDEX).numpy())
    return panel("who is right", pixels, alt=f"Pixels where {text} is right.",
                 note=text)  # fmt: skip


def _entropy_panel(name: str, answer: Answer) -> Panel:
    """How uncertain a prediction is, 0-1 of the highest entropy there can be."""
    logs = answer.logits.float().log_softmax(0)
    entropy = (-(logs.exp() * logs).sum(0) / np.log(len(logs))).numpy()
    height, width = (min(one // answer.stride, two) for one, two in zip(
        answer.image_size, entropy.shape, strict=True))  # fmt: skip
    return panel(
        f"entropy, {name}", EVIDENCE_COLOURS[levels(fitted(entropy[:height, :width]), 0, 1)],
        note=f"bright undecided; mean {entropy.mean():.2f} of 1",
        alt=f"Entropy of {name}: mean {entropy.mean():.3f}, highest {entropy.max():.3f} of 1.",
    )  # fmt: skip
