"""Captions from the record: which run, which noise, which frames, which scale; and a summary of the
share estimates.
"""

from collections.abc import Sequence

import pandas as pd

from labkit.attribution.estimates import ESTIMATES
from labkit.attribution.frames import LEAST_SHARE, FrameMaps, share_by_location
from labkit.attribution.request import Request
from labkit.training.experiment import Experiment

LEAST_IOU = 1  # percent: below it a drop of IoU is noise


def teacher_caption(experiment: Experiment) -> str:
    """The run, its network and the noise of its label."""
    settings, noising = experiment.settings, experiment.noising
    codes = f"class std {noising.class_std:g}"
    if noising.class_codes == "fixed":
        codes = "the fixed ramp of class codes"
    return (
        f"Run {experiment.run.run_id}: assisted teacher, {settings.architecture} with "
        f"{settings.encoder}, "
        f"{settings.train_steps} steps on {settings.dataset}; label scale {noising.label_scale:g}, "
        f"{codes}, "
        f"pixel std {noising.pixel_std:g}."
    )


def frames_caption(frames: Sequence[str], category: str) -> str:
    """Which frames, by which rule."""
    return (
        f"Frames {', '.join(frames)}: those in which {category} fills at least {LEAST_SHARE:.0%} "
        "of the labelled pixels, "
        "spread evenly over the split."
    )


def maps_caption(
    experiment: Experiment,
    request: Request,
    frames: Sequence[FrameMaps],
    *,
    category: str,
    limit: float,
) -> str:
    """The caption of the branch maps."""
    location = share_by_location(frames)
    return (
        f"Evidence for {category} through image and label (LayerCAM per branch, stem "
        f"{request.layer}: {request.describe()}; "
        f"{request.describe_noisings()}). Both in one scale, 0 to {limit:.3g} logits (99.5th "
        "percentile of all maps); the share is "
        "grey where both together stay below 5 % of that. ± is the deviation over noisings. Label "
        "share inside the region "
        f"{_range(location.inside)}, outside {_range(location.outside)}; "
        f"{_range(location.evidence_outside)} of the evidence lies "
        f"outside. {frames_caption([one.name for one in frames], category)} "
        f"{teacher_caption(experiment)}"
    )


def library_caption(
    experiment: Experiment, request: Request, *, category: str, frames: Sequence[str]
) -> str:
    """The caption of our maps beside the library's."""
    return (
        f"Evidence for {category} at the raw stem in one scale, and the same maps by the grad-cam "
        "library, which scales each to 0-1 "
        f"on its own ({request.describe()}; {request.describe_noisings()}). "
        f"{frames_caption(frames, category)} "
        f"{teacher_caption(experiment)}"
    )


def layers_caption(
    experiment: Experiment, *, category: str, frames: Sequence[str], layers: Sequence[str]
) -> str:
    """The caption of the joint maps."""
    return (
        f"Joint evidence for {category} (image and label together) at {', '.join(layers)}, and "
        "their element-wise maximum after "
        "tanh(2 x map / its largest), as LayerCAM's authors combine layers. "
        f"{frames_caption(frames, category)} "
        f"{teacher_caption(experiment)}"
    )


def estimates_caption(experiment: Experiment, request: Request, table: pd.DataFrame) -> str:
    """The caption of the three estimates of the label share."""
    whole = table.iloc[-1]
    return (
        f"Label share per class by LayerCAM at the stem ({request.layer}), by Shapley values and "
        f"by removal, over {whole.frames} "
        f"frames of {experiment.settings.score_split}; {request.describe()}; "
        f"{request.describe_noisings()}; baselines: zero "
        "label, blank (mean) image. "
        f"Spearman's correlation over {whole.rank_n:.0f} classes: {_ranks(whole, '.2f')}. "
        f"{teacher_caption(experiment)}"
    )


def sweep_caption(experiment: Experiment, request: Request, *, frames: int) -> str:
    """The caption of reliance and share over noise."""
    return (
        "One trained teacher with noise it was not trained with: reliance, label gain and label "
        f"share (all classes) on {frames} "
        f"frames of {experiment.settings.score_split}; {request.describe()}; "
        f"{request.describe_noisings()}. "
        f"{teacher_caption(experiment)}"
    )


def sanity_caption(experiment: Experiment, *, category: str, frames: Sequence[str]) -> str:
    """The caption of the sanity checks."""
    return (
        f"Spearman's correlation with the trained teacher's map of {category}, mean over "
        f"{len(frames)} frames, while weights are "
        "redrawn from the logits down to the stem and while the label is permuted; below, the "
        f"maps of frame {frames[0]} as ranks. "
        "No threshold: a map at the stem keeps its activation whatever the later layers are. "
        f"{teacher_caption(experiment)}"
    )


def gradients_caption(
    experiment: Experiment, request: Request, *, category: str, steps: int
) -> str:
    """The caption of the table of integrated gradients."""
    return (
        f"Integrated gradients (captum, Gauss-Legendre, {steps} points) of the score of {category} "
        "from blank image and zero label "
        f"to both; {request.describe()}, noising of seed {request.seed}. error = image + label - "
        "difference. "
        f"{teacher_caption(experiment)}"
    )


def summary(table: pd.DataFrame) -> str:
    """The three estimates compared, as Markdown: shares, rank correlations, largest and smallest
    difference, and gaps.
    """
    classes, whole = table.iloc[:-1], table.iloc[-1]
    complete = classes.dropna(subset=list(ESTIMATES))
    lines = [
        f"* Over all classes the label's share is **{whole.layercam:.0f} %** by LayerCAM at the "
        f"stem, **{whole.shapley:.0f} %** by "
        f"Shapley values and **{whole.removal:.0f} %** by removal."
    ]
    if len(complete) > 2:
        lines += _comparison(complete, whole)
    weak = classes["class"][(classes.iou_true_label < LEAST_IOU) & classes.removal.notna()]
    if len(weak):
        lines.append(
            f"* Removal's share means little for {', '.join(weak)}: even with its label the IoU is "
            f"below {LEAST_IOU} %."
        )
    absent = list(classes["class"][classes.absent])
    if absent:
        lines.append(f"* No map for {', '.join(absent)}: no frame holds the region.")
    lines.append(
        "* LayerCAM measures evidence as it enters the stem; Shapley values and removal compare "
        "answers with and without an input. "
        "The shares need not be equal, and where their ranks differ no single one is a proof."
    )
    return "\n".join(lines)


def _comparison(complete: pd.DataFrame, whole: pd.Series) -> list[str]:
    """Rank correlations, the classes of largest and smallest spread, and the range of every
    estimate.
    """
    lines = [
        f"* Do they rank the {len(complete)} classes alike? Spearman's correlation: "
        f"{_ranks(whole, '+.2f')}."
    ]
    shares = complete[list(ESTIMATES)]
    spread = shares.max(axis=1) - shares.min(axis=1)
    for position, word in ((spread.idxmax(), "most"), (spread.idxmin(), "least")):
        row = complete.loc[position]
        lines.append(
            f"* They differ {word} on **{row['class']}**: LayerCAM {row.layercam:.0f} %, Shapley "
            f"{row.shapley:.0f} %, "
            f"removal {row.removal:.0f} %."
        )
    ranges = ", ".join(f"{name} {_range(shares[name])}" for name in ESTIMATES)
    return [*lines, f"* Their ranges over classes: {ranges}."]


def _ranks(whole: pd.Series, style: str) -> str:
    pairs = (
        ("LayerCAM-Shapley", "rank_layercam_shapley"),
        ("LayerCAM-removal", "rank_layercam_removal"),
        ("Shapley-removal", "rank_shapley_removal"),
    )
    return ", ".join(f"{title} {whole[name]:{style}}" for title, name in pairs)


def _range(percents: pd.Series) -> str:
    return "(no map)" if percents.isna().all() else f"{percents.min():.0f}-{percents.max():.0f} %"
