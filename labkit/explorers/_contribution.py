"""The contribution explorer: through which input did the evidence for a class come, in one scale."""

from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor

from labkit.attribution import BranchMeans, noised_layercam
from labkit.config import AnalysisSettings
from labkit.contribution import altered, measured_means
from labkit.datasets import Batch
from labkit.experiments import Experiment
from labkit.explorers._pictures import EVIDENCE, SCALAR, fitted, levels, outlined, striped
from labkit.explorers._teachers import Teachers, find_teachers, missing, one_frame
from labkit.explorers._view import Control, Explorer, Missing, Panel, View, as_dict, batch_lines, changed, panel
from labkit.steps import noised_by_frame

LITTLE = 0.05  # of the scale's upper end: below it a share means nothing
PERCENTILE = 99.5


@dataclass(frozen=True, kw_only=True)
class ContributionState:
    """What is asked; names and meaning as in `AnalysisSettings` where it has them."""

    run: str
    frame: int = 0
    category: str = ""
    region: str = "predicted"
    attribution_layer: str = "folded"
    noisings: int = 1
    pixel_std: float = 0.03
    seed: int = 0


def contribution(settings: AnalysisSettings) -> Explorer | Missing:
    """The explorer of `03_analysis`, at the notebook's settings."""
    found = find_teachers(settings, assisted=True)
    if not found:
        return missing("contribution", settings, lambda: contribution(settings))
    teachers = Teachers(found, data_root=settings.data_root)
    first = teachers.experiment(found[0].run_id)
    names = first.info.class_names
    category = settings.category if settings.category in names else names[0]
    given = settings.model_dump()
    asked = {name: given[name] for name in ("region", "attribution_layer", "noisings", "seed") if name in given}
    state = ContributionState(
        run=found[0].run_id, frame=_frame_with(first, names.index(category)), category=category,
        pixel_std=first.noising.pixel_std, **asked,
    )  # fmt: skip
    controls = (
        Control(name="run", label="run", kind="choice", options=tuple(teachers.runs)),
        Control(name="frame", label="frame", high=len(first.val_split) - 1),
        Control(name="category", label="class", kind="choice", options=names),
        Control(name="region", label="region", kind="choice", options=("predicted", "true", "both")),
        Control(name="attribution_layer", label="layer", kind="choice", options=("folded", "raw")),
        Control(name="noisings", label="noisings averaged", low=1, high=16),
        Control(name="pixel_std", label="pixel noise std", high=2, step=0.01),
        Control(name="seed", label="seed", high=999),
    )
    defaults = AnalysisSettings().model_dump()
    centres: dict[tuple[str, float], BranchMeans] = {}

    def draw(state: ContributionState) -> View:
        experiment = teachers.experiment(state.run)
        key = state.run, state.pixel_std
        if key not in centres:
            centres[key] = measured_means(_noised(experiment, state), seed=0)
        return draw_contribution(state, experiment, centres[key])

    def commands(state: ContributionState) -> dict[str, str]:
        return batch_lines("analysis", "03_analysis", changed(given | as_dict(state), defaults))

    return Explorer("contribution", "Contribution explorer", state, controls, draw, commands)


def draw_contribution(state: ContributionState, experiment: Experiment, centre: BranchMeans) -> View:
    """Frame, evidence through the image and through the label in one scale, and the label's share.

    Args:
        centre: what the folded branches are centred on.
    """
    image, batch = one_frame(experiment, state.frame)
    category = experiment.info.class_names.index(state.category)
    maps, shares = averaged_maps(state, experiment, batch, centre)
    outline = (batch.target[0] == category).numpy()
    frame = outlined(fitted(image.permute(1, 2, 0).numpy()), fitted(outline))
    where = f"Frame {state.frame}; the label holds {state.category} on {100 * outline.mean():.1f} % of the pixels, outlined."
    first = panel("frame", frame, alt=where, note=f"{state.category} of the label outlined")
    if maps is None:
        text = f"{state.category}: no pixel is {_REGION[state.region]} in this frame, so there is no evidence to split."
        return View((first,), (text,))
    from_image, from_label = maps
    limit = max(float(np.percentile(np.concatenate([from_image, from_label]), PERCENTILE)), 1e-12)
    share = 100 * shares.nanmean().item()
    spread = f" ± {100 * shares.std().item():.1f}" if len(shares) > 1 else ""
    panels = (
        first,
        _evidence("through the image", from_image, limit, outline, state),
        _evidence("through the label", from_label, limit, outline, state),
        _share(from_image, from_label, limit, outline, share, state),
    )
    inside, outside = _share_within(from_image, from_label, outline)
    readout = (
        f"Label share for {state.category}: {share:.1f}{spread} % of the evidence over the whole frame"
        + (f" ({len(shares)} noisings)." if len(shares) > 1 else "."),
        f"Inside the label's {state.category}: {inside}; outside: {outside}.",
        f"Evidence is in logits, image and label in one scale (0 to {limit:.3f}); "
        f"score: mean logit over the pixels {_REGION[state.region]}; stem {state.attribution_layer}.",
    )
    return View(panels, readout)


_REGION = {"predicted": "predicted as it", "true": "labelled as it", "both": "both predicted and labelled as it"}


def averaged_maps(
    state: ContributionState, experiment: Experiment, batch: Batch, centre: BranchMeans
) -> tuple[tuple[np.ndarray, np.ndarray] | None, Tensor]:
    """Image and label map (h, w), mean over the noisings seed, seed + 1, ..., and the label share under each.

    Returns:
        None for the maps where the region is empty under every noising.
    """
    network, noising = experiment.network, _noised(experiment, state).noising
    category = experiment.info.class_names.index(state.category)
    seeds = range(state.seed, state.seed + state.noisings)
    found = noised_layercam(
        network, batch.images, [noised_by_frame(noising, batch.target, batch.index, seed=seed) for seed in seeds], category=category,
        region=state.region, target=batch.target, layer=state.attribution_layer, means=centre,
    )  # fmt: skip
    maps = (found.mean.image[0].numpy(), found.mean.label[0].numpy()) if found.mean.present.all() else None
    return maps, found.share[:, 0]


def _noised(experiment: Experiment, state: ContributionState) -> Experiment:
    """The experiment at the state's pixel noise."""
    return altered(experiment, noising=replace(experiment.noising, pixel_std=state.pixel_std))


def _frame_with(experiment: Experiment, category: int, *, among: int = 20) -> int:
    """Of the first validation frames, the one with most of the class."""
    split = experiment.val_split
    return max(range(min(among, len(split))), key=lambda i: (split[i].target == category).sum().item())


def _evidence(title: str, values: np.ndarray, limit: float, outline: np.ndarray, state: ContributionState) -> Panel:
    pixels = EVIDENCE[levels(_at_size(values, outline.shape), 0, limit)]
    alt = f"Evidence for {state.category} {title}: mean {values.mean():.4f}, highest {values.max():.3f} logits, scale 0 to {limit:.3f}."
    return panel(title, outlined(pixels, fitted(outline)), alt=alt, note=f"dark 0, bright {limit:.3f} logits; mean {values.mean():.4f}")


def _share(
    from_image: np.ndarray, from_label: np.ndarray, limit: float, outline: np.ndarray, share: float, state: ContributionState
) -> Panel:
    total = from_image + from_label
    ratio = from_label / np.maximum(total, 1e-12)
    pixels = SCALAR[levels(_at_size(ratio, outline.shape), 0, 1)]
    little = _at_size(total, outline.shape) <= LITTLE * limit
    pixels[little] = 205
    pixels = striped(pixels, little, (165, 165, 165))
    alt = f"Label share for {state.category} at every place: {share:.1f} % over the whole frame; striped where there is little evidence."
    return panel("label share", outlined(pixels, fitted(outline)), alt=alt, note="dark 0 %, bright 100 %; striped: little evidence")


def _at_size(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A map at the stem's stride, by nearest neighbour, at the frame's size and then a panel's."""
    rows = (np.arange(size[0]) * values.shape[0]) // size[0]
    columns = (np.arange(size[1]) * values.shape[1]) // size[1]
    return fitted(values[rows][:, columns])


def _share_within(from_image: np.ndarray, from_label: np.ndarray, outline: np.ndarray) -> tuple[str, str]:
    """Label share inside and outside the labelled class, in words."""
    rows, columns = (np.arange(size) * whole // size for size, whole in zip(from_image.shape, outline.shape, strict=True))
    inside = outline[rows][:, columns]
    told = []
    for part in (inside, ~inside):
        label, image = from_label[part].sum(), from_image[part].sum()
        told.append(f"{100 * label / (label + image):.1f} %" if label + image > 0 else "no evidence")
    return told[0], told[1]
