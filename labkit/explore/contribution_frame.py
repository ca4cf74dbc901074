"""The contribution explorer: the evidence for a class through the image and through the label, in
one scale.
"""

from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from labkit.attribution.frames import FrameMaps, maps_of_frame, run_frames, share_by_location
from labkit.attribution.layercam import BranchMeans
from labkit.attribution.report import shared_limit
from labkit.attribution.request import REGIONS, Request, altered, measured_means, scoring_batch
from labkit.datasets import Split
from labkit.errors import DataError
from labkit.explore.class_panels import class_legend, class_panel
from labkit.explore.own import keep_upload, open_own
from labkit.explore.pictures import (
    EVIDENCE_COLOURS,
    SHARE_COLOURS,
    fitted,
    fitted_at,
    levels,
    outlined,
    striped,
)
from labkit.explore.readings import point_text, read_edited
from labkit.explore.regions import class_at, value_at
from labkit.explore.save import explore_command
from labkit.explore.teachers import (
    Teachers,
    find_teachers,
    folder_of,
    missing,
    run_name,
    widest_noise,
)
from labkit.explore.view import (
    Control,
    Explorer,
    Missing,
    Panel,
    SharedState,
    View,
    changed,
    command_line,
    panel,
    shared_controls,
)
from labkit.method import IGNORE_INDEX
from labkit.plots.contribution import local_share
from labkit.records import Run
from labkit.settings import AttributionSettings
from labkit.training.experiment import Experiment


@dataclass(frozen=True, kw_only=True)
class ContributionState(SharedState):
    """The explained quantity; names and meaning as in `AttributionSettings` where it has them."""

    run: str
    frame: int = 0
    category: str = ""
    region: str = "predicted"
    attribution_layer: str = "folded"
    noisings: int = 1
    pixel_std: float = 0.03
    seed: int = 0

    def request(self) -> Request:
        """The request of every method."""
        return Request(
            region=self.region,
            layer=self.attribution_layer,
            seed=self.seed,
            noisings=self.noisings,
        )


def contribution(settings: AttributionSettings) -> Explorer | Missing:
    """The explorer of `04_attribution`, at the notebook's settings."""
    runs = find_teachers(settings, assisted=True)
    if settings.teacher:
        runs.sort(key=lambda run: not run.run_id.startswith(settings.teacher))
    if not runs:
        return missing("contribution", settings, lambda: contribution(settings))
    teachers = Teachers(runs, data_root=settings.data_root)
    first = teachers.experiment(runs[0].run_id)
    names = first.info.class_names
    category = first.info.category(settings.category)
    state = ContributionState(
        run=runs[0].run_id,
        frame=_first_frame(first, names.index(category)),
        category=category,
        region=settings.region,
        attribution_layer=settings.attribution_layer,
        noisings=settings.noisings,
        pixel_std=first.noising.pixel_std,
        seed=settings.seed,
    )
    controls = (
        Control(
            name="run", label="run", kind="choice", options=tuple(teachers.runs),
            names=tuple(map(run_name, runs)),
        ),
        Control(name="frame", label="frame", high=len(first.val_split) - 1),
        Control(name="category", label="class", kind="choice", options=names),
        Control(name="region", label="region", kind="choice", options=tuple(REGIONS)),
        Control(name="attribution_layer", label="layer", kind="choice", options=("folded", "raw")),
        Control(name="noisings", label="noisings", low=1, high=16),
        Control(name="pixel_std", label="pixel noise std", high=widest_noise(runs), step=0.01),
        Control(name="seed", label="seed", high=999),
        *shared_controls(),
    )  # fmt: skip
    centres: dict[tuple[str, float], BranchMeans] = {}

    def draw(state: ContributionState) -> View:
        experiment = teachers.experiment(state.run)
        key = state.run, state.pixel_std
        if state.attribution_layer == "folded" and key not in centres:
            centres[key] = measured_means(noised_experiment(experiment, state), Request())
        return draw_contribution(state, experiment, centres.get(key))

    def commands(state: ContributionState) -> dict[str, str]:
        return {
            "this picture": explore_command("contribution", settings, state),
            "all figures": _command(settings, state, teachers.runs[state.run]),
        }

    def choose(state: ContributionState, x: float, y: float) -> dict[str, str]:
        split = _split(teachers.experiment(state.run), state)
        target = split[_index(split, state)].target
        chosen = class_at(target, x, y)
        return {} if chosen == IGNORE_INDEX else {"category": names[chosen]}

    return Explorer(
        "contribution", "Contribution explorer", state, controls, draw, commands, choose,
        unused=lambda state: ("frame",) if state.image else ("label",),
        gesture="Cursor: arrow keys move it, Enter explains the class of the label there",
        keep=partial(keep_upload, runs=settings.runs),
    )  # fmt: skip


def draw_contribution(
    state: ContributionState, experiment: Experiment, centre: BranchMeans | None
) -> View:
    """Frame, label and prediction, evidence through the image and through the label in one scale,
    and the label's share.

    Args:
        centre: means that the folded branches are centred on; None for the raw stem.
    """
    experiment, info = noised_experiment(experiment, state), experiment.info
    frame = _index(experiment.val_split, state)
    category = info.class_names.index(state.category)
    batch = scoring_batch(experiment, experiment.val_split, [frame])
    truth = batch.target[0]
    answer = read_edited(experiment, batch, truth, pixel_std=state.pixel_std, seed=state.seed)
    point = partial(point_text, {"its label": answer}, truth, info.class_names)
    classes = partial(
        class_panel, info=info, named=state.names == "on", lines=state.outlines == "on"
    )
    prediction = classes("prediction", answer.ids, alt="Prediction with the label")
    if (truth == IGNORE_INDEX).all():
        text = "Evidence is shared between image and label: give this picture its label too."
        return View((prediction,), (text,), (), class_legend(info), point)
    one = maps_of_frame(experiment, frame, category=category, request=state.request(), means=centre)
    first = (
        _frame_panel(one, state),
        classes("label", truth, alt="True label", hint="click a class to explain it"),
        prediction,
    )
    if not one.maps.present.all():
        text = (
            f"{state.category}: no pixel is {REGIONS[state.region]} in this frame, so there is no "
            "evidence to split."
        )
        return View(first, (text,), (), class_legend(info), point)
    limit = shared_limit([one])
    panels = (
        *first,
        _evidence("through the image", one.image_map.numpy(), limit, one, state),
        _evidence("through the label", one.label_map.numpy(), limit, one, state),
        _share(one, limit, state),
    )

    def look(x: float, y: float) -> str:
        image, label = (value_at(values, x, y) for values in (one.image_map, one.label_map))
        share = f", label share {100 * label / (image + label):.0f} %" if image + label else ""
        return (
            f"{point(x, y)} Evidence for {state.category} in logits: image {image:.3f}, "
            f"label {label:.3f}{share}."
        )

    return View(panels, _readout(one, limit, state), (), class_legend(info), look)


def _index(split: Split, state: ContributionState) -> int:
    """The state's frame, or the last one of a split that is shorter."""
    return min(state.frame, len(split) - 1)


def _split(experiment: Experiment, state: ContributionState) -> Split:
    """The frames that a state takes its own from."""
    if state.image:
        return open_own(state.image, state.label, experiment.info)
    return experiment.val_split


def _frame_panel(one: FrameMaps, state: ContributionState) -> Panel:
    share = 100 * one.outline.float().mean().item()
    return panel(
        "frame",
        _outlined(fitted(one.image.permute(1, 2, 0).numpy()), one, state),
        alt=f"Frame {one.name}; the label holds {state.category} on {share:.1f} % of the pixels.",
        note=f"{state.category} of the label outlined" if state.outlines == "on" else one.name,
    )


def _outlined(pixels: np.ndarray, one: FrameMaps, state: ContributionState) -> np.ndarray:
    """With the class of the label outlined, where the state has outlines."""
    return outlined(pixels, fitted(one.outline.numpy())) if state.outlines == "on" else pixels


def noised_experiment(experiment: Experiment, state: ContributionState) -> Experiment:
    """The experiment at the state's pixel noise and on the state's frames."""
    noising = replace(experiment.noising, pixel_std=state.pixel_std)
    other = altered(experiment, noising=noising)
    vars(other)["val_split"] = _split(experiment, state)
    return other


def _readout(one: FrameMaps, limit: float, state: ContributionState) -> tuple[str, ...]:
    row = share_by_location([one]).iloc[0]
    spread = "" if np.isnan(one.deviation) else f" ± {100 * one.deviation:.1f}"
    count = f" ({state.noisings} noisings)" if state.noisings > 1 else ""
    return (
        f"Label share for {state.category}: {row.whole:.1f}{spread} % of the evidence over the "
        f"whole frame{count}.",
        f"Inside the explained region: {_percent(row.inside)}; outside: {_percent(row.outside)}; "
        f"{_percent(row.evidence_outside)} of the evidence lies outside.",
        f"Evidence is in logits, image and label in one scale (0 to {limit:.3f}); "
        f"score: mean logit over the pixels {REGIONS[state.region]}; stem "
        f"{state.attribution_layer}.",
    )


def _command(settings: AttributionSettings, state: ContributionState, run: Run) -> str:
    """The notebook of this class, region and layer, with this teacher in its folder."""
    asked = {
        "teacher": state.run, "category": state.category, "region": state.region,
        "attribution_layer": state.attribution_layer, "noisings": state.noisings,
        "seed": state.seed, "runs": folder_of(run, settings),
    }  # fmt: skip
    values = changed(settings.model_dump() | asked, AttributionSettings().model_dump())
    return command_line("run", "attribution", values)


def _first_frame(experiment: Experiment, category: int) -> int:
    """The frame that the notebook's rule chooses; the first one where no frame holds the class."""
    try:
        return run_frames(experiment, category=category, count=1)[0]
    except DataError:
        return 0


def _evidence(
    title: str, values: np.ndarray, limit: float, one: FrameMaps, state: ContributionState
) -> Panel:
    pixels = EVIDENCE_COLOURS[levels(fitted_at(values, one.outline.shape), 0, limit)]
    alt = (
        f"Evidence for {state.category} {title}: mean {values.mean():.4f}, highest "
        f"{values.max():.3f} logits, scale 0 to {limit:.3f}."
    )
    note = f"dark 0, bright {limit:.3f} logits; mean {values.mean():.4f}"
    return panel(title, _outlined(pixels, one, state), alt=alt, note=note)


def _share(one: FrameMaps, limit: float, state: ContributionState) -> Panel:
    share = fitted_at(local_share(one.image_map, one.label_map, limit), one.outline.shape)
    little = np.isnan(share)
    pixels = SHARE_COLOURS[levels(share, 0, 1)]
    pixels[little] = 205
    pixels = striped(pixels, little, (165, 165, 165))
    alt = (
        f"Label share for {state.category} by position: {100 * one.share:.1f} % over the whole "
        "frame; striped where there is little evidence."
    )
    note = "purple: image, white: half, orange: label; striped: little evidence"
    return panel("label share", _outlined(pixels, one, state), alt=alt, note=note)


def _percent(value: float) -> str:
    return "no evidence" if np.isnan(value) else f"{value:.1f} %"
