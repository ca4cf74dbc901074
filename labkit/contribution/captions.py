"""Words from the record: captions that say which run, shown what, which frames, in which scale; and what the opinions say."""

from collections.abc import Sequence

import pandas as pd

from labkit.contribution.frames import LEAST_SHARE, Contribution, Request, share_by_place
from labkit.contribution.opinions import OPINIONS
from labkit.experiments import Experiment

BARELY = 1  # percent of IoU: below it a drop is noise


def teacher_in_words(experiment: Experiment) -> str:
    """The run, its network and how its label is noised."""
    settings, noising = experiment.settings, experiment.noising
    codes = f"class std {noising.class_std:g}" if noising.weights == "random" else "class weights the fixed ramp"
    return (
        f"Run {experiment.run.run_id}: assisted teacher, {settings.architecture} with {settings.encoder}, {settings.train_steps} steps "
        f"on {settings.dataset}; label scale {noising.label_scale:g}, {codes}, pixel std {noising.pixel_std:g}."
    )


def noisings_in_words(request: Request) -> str:
    """How many noisings, and their seeds."""
    last = request.seed + request.noisings - 1
    return f"one noising (seed {last})" if request.noisings == 1 else f"mean of {request.noisings} noisings (seeds {request.seed}-{last})"


def frames_in_words(frames: Sequence[str], category: str) -> str:
    """Which frames, by which rule."""
    return f"Frames {', '.join(frames)}: those in which {category} fills at least {LEAST_SHARE:.0%}, spread evenly over the split."


def maps_caption(
    experiment: Experiment, request: Request, found: Contribution, *, category: str, frames: Sequence[str], limit: float
) -> str:
    """Of the branch maps."""
    place = share_by_place(found)
    return (
        f"Evidence for {category} through image and label (LayerCAM per branch, stem {request.layer}: {request.words()}; "
        f"{noisings_in_words(request)}). "
        f"Both in one scale, 0 to {limit:.3g} logits (99.5th percentile of all maps); the share is grey where both together stay "
        f"below 5 % of that. ± is the deviation over noisings. Label share inside the region "
        f"{_range(place.inside)}, outside {_range(place.outside)}; {_range(place.evidence_outside)} of the evidence lies outside. "
        f"{frames_in_words(frames, category)} {teacher_in_words(experiment)}"
    )


def opinions_caption(experiment: Experiment, request: Request, table: pd.DataFrame) -> str:
    """Of the three opinions."""
    whole = table.iloc[-1]
    return (
        f"Label share per class by LayerCAM at the stem ({request.layer}), by Shapley values and by removal, "
        f"over {whole.frames} frames of val; "
        f"{request.words()}; {noisings_in_words(request)}; baselines: zero label, blank (mean) image. Spearman's correlation over "
        f"{whole.rank_n:.0f} classes: LayerCAM-Shapley {whole.rank_layercam_shapley:.2f}, LayerCAM-removal "
        f"{whole.rank_layercam_removal:.2f}, Shapley-removal {whole.rank_shapley_removal:.2f}. {teacher_in_words(experiment)}"
    )


def curves_caption(experiment: Experiment, request: Request, *, frames: int) -> str:
    """Of reliance over noise."""
    return (
        f"One trained teacher shown noise it was not trained with: reliance, label gain and label share (all classes) on {frames} "
        f"frames of val; {request.words()}; {noisings_in_words(request)}. {teacher_in_words(experiment)}"
    )


def sanity_caption(experiment: Experiment, *, category: str, frames: Sequence[str]) -> str:
    """Of the sanity figure."""
    return (
        f"Maps of {category} on frame {frames[0]}, drawn as ranks, while weights are redrawn from the logits down to the stem and while "
        f"the label is permuted; below, Spearman's correlation with the untouched map, mean over {len(frames)} frames. No threshold: a "
        f"map at the stem keeps its activation whatever lies above. {teacher_in_words(experiment)}"
    )


def layers_caption(experiment: Experiment, *, category: str, frames: Sequence[str], layers: Sequence[str]) -> str:
    """Of the joint maps."""
    return (
        f"Joint evidence for {category} (image and label together) at {', '.join(layers)}, and their element-wise maximum after "
        f"tanh(2 x map / its largest), as LayerCAM's authors combine layers. {frames_in_words(frames, category)} "
        f"{teacher_in_words(experiment)}"
    )


def gradients_caption(experiment: Experiment, request: Request, *, category: str, steps: int) -> str:
    """Of the table of integrated gradients."""
    return (
        f"Integrated gradients (captum, Gauss-Legendre, {steps} points) of the score of {category} from blank image and zero label to "
        f"both; {request.words()}, noising of seed {request.seed}. error = image + label - difference. {teacher_in_words(experiment)}"
    )


def verdict(table: pd.DataFrame) -> str:
    """What the three opinions say together, in words and numbers, as Markdown; nothing is smoothed over where they differ."""
    classes, whole = table.iloc[:-1], table.iloc[-1]
    judged = classes.dropna(subset=list(OPINIONS))
    lines = [
        f"* Over all classes the label's share is **{whole.layercam:.0f} %** by LayerCAM at the stem, **{whole.shapley:.0f} %** by Shapley "
        f"values and **{whole.removal:.0f} %** by removal."
    ]
    if len(judged) > 2:
        lines.append(
            f"* Do they rank the {len(judged)} classes alike? Spearman's correlation: LayerCAM-Shapley {whole.rank_layercam_shapley:+.2f}, "
            f"LayerCAM-removal {whole.rank_layercam_removal:+.2f}, Shapley-removal {whole.rank_shapley_removal:+.2f}."
        )
        spread = judged[list(OPINIONS)].max(axis=1) - judged[list(OPINIONS)].min(axis=1)
        for place, word in ((spread.idxmax(), "most"), (spread.idxmin(), "least")):
            row = judged.loc[place]
            lines.append(
                f"* They differ {word} on **{row['class']}**: LayerCAM {row.layercam:.0f} %, Shapley {row.shapley:.0f} %, "
                f"removal {row.removal:.0f} %."
            )
        ranges = {name: (judged[name].min(), judged[name].max()) for name in OPINIONS}
        told = ", ".join(f"{name} {low:.0f}-{high:.0f} %" for name, (low, high) in ranges.items())
        lines.append(f"* From class to class they range over: {told}.")
    barely = classes["class"][(classes.iou_true_label < BARELY) & classes.removal.notna()]
    if len(barely):
        lines.append(f"* Removal's share says little for {', '.join(barely)}: not even with its label does an IoU of {BARELY} % come out.")
    silent = list(classes["class"][classes.absent])
    if silent:
        lines.append(f"* No map for {', '.join(silent)}: not one frame holds the region.")
    lines.append(
        "* LayerCAM sees evidence as it enters the stem, Shapley and removal what the answer would be without it: shares need not be "
        "equal, and where their ranks differ neither alone is a proof."
    )
    return "\n".join(lines)


def _range(percents: pd.Series) -> str:
    return "(no map)" if percents.isna().all() else f"{percents.min():.0f}-{percents.max():.0f} %"
