"""One call per figure of `04_attribution`: what it draws, its table and its caption."""

from collections.abc import Sequence

import numpy as np

from labkit.attribution import captions
from labkit.attribution.compare import (
    GRADIENT_FRAMES,
    default_layers,
    gradient_table,
    joint_maps,
    library_maps,
)
from labkit.attribution.estimates import label_share_estimates
from labkit.attribution.frames import (
    Frame,
    FrameMaps,
    frame_maps,
    open_frames,
    raw_maps,
    run_frames,
    share_by_location,
)
from labkit.attribution.noise_sweep import noise_sweep
from labkit.attribution.request import Request
from labkit.attribution.sanity import sanity_steps, steps_table
from labkit.attribution.subject import Report, Subject, find_teacher, open_subject
from labkit.settings import numbers

__all__ = [
    "Report",
    "Subject",
    "estimates_report",
    "find_teacher",
    "gradients_report",
    "layers_report",
    "library_report",
    "maps_report",
    "open_subject",
    "sanity_report",
    "shared_limit",
    "sweep_report",
]

PERCENTILE = 99.5  # of all maps of a figure: the upper end of their common scale


def maps_report(subject: Subject) -> Report:
    """Branch maps of the class, image and label in one scale."""
    frames = frame_maps(
        subject.experiment, subject.frames, category=subject.category, request=subject.request
    )
    category, limit = subject.settings.category, shared_limit(frames)
    table = share_by_location(frames)
    share = table.whole.mean()
    return subject.report(
        f"contribution_{category}",
        caption=captions.maps_caption(
            subject.experiment, subject.request, frames, category=category, limit=limit
        ),
        alt=f"Maps of image and label evidence for {category}; label share {share:.0f} percent.",
        figure={
            **_pictures(frames),
            **_branches(frames),
            "shares": [one.share for one in frames],
            "deviations": [one.deviation for one in frames],
            "category": category,
            "limit": limit,
        },
        table=table,
        arrays=raw_maps(frames),
    )


def library_report(subject: Subject) -> Report:
    """Our maps at the raw stem in one scale, beside the grad-cam library's."""
    request = Request(region=subject.settings.region, layer="raw", seed=subject.settings.seed)
    options = {"category": subject.category, "request": request}
    frames = frame_maps(subject.experiment, subject.frames, **options)
    library = library_maps(subject.experiment, subject.frames, **options)
    category = subject.settings.category
    return subject.report(
        f"library_{category}",
        caption=captions.library_caption(
            subject.experiment, request, category=category, frames=subject.frame_names
        ),
        alt=f"Maps of {category}: ours in one scale, the library's each with its own maximum at 1.",
        figure={
            "images": [one.image for one in frames],
            **_branches(frames),
            "library": library,
            "category": category,
            "limit": shared_limit(frames),
        },
    )


def layers_report(subject: Subject) -> Report:
    """Joint maps at deeper layers and their maximum."""
    layers = default_layers(subject.experiment, subject.settings.layers)
    request = subject.request
    options = {"category": subject.category, "request": request}
    joint = joint_maps(subject.experiment, subject.frames, layers=layers, **options)
    frames = open_frames(subject.experiment, subject.frames, category=subject.category)
    category = subject.settings.category
    return subject.report(
        f"layers_{category}",
        caption=captions.layers_caption(
            subject.experiment, category=category, frames=subject.frame_names, layers=layers
        ),
        alt=f"Maps of joint evidence for {category} at {len(layers)} layers, and their maximum.",
        figure={
            **_pictures(frames),
            "layers": {layer: [one.scaled[layer][0] for one in joint] for layer in layers},
            "strides": joint[0].strides,
            "combined": [one.combined[0] for one in joint],
        },
    )


def estimates_report(subject: Subject) -> Report:
    """Label share per class by three methods, over the split."""
    experiment, request = subject.experiment, subject.split_request
    table = label_share_estimates(
        experiment, experiment.val_split, frames=subject.settings.split_frames, request=request
    )
    return subject.report(
        "label_share",
        caption=captions.estimates_caption(experiment, request, table),
        alt="Dot plot of the label share of every class by LayerCAM, Shapley values and removal.",
        figure={"table": table},
        table=table,
    )


def gradients_report(subject: Subject) -> Report:
    """Integrated gradients on some frames; a table without a figure."""
    experiment, settings = subject.experiment, subject.settings
    frames = run_frames(experiment, category=subject.category, count=GRADIENT_FRAMES)
    steps = settings.gradient_steps
    return subject.report(
        "integrated_gradients",
        caption=captions.gradients_caption(
            experiment, subject.request, category=settings.category, steps=steps
        ),
        table=gradient_table(
            experiment, frames, category=subject.category, request=subject.request, steps=steps
        ),
    )


def sweep_report(subject: Subject) -> Report:
    """Reliance and label share over the noise of the label."""
    experiment, settings = subject.experiment, subject.settings
    request = subject.averaged_over(1)
    table = noise_sweep(
        experiment, experiment.val_split, pixel_stds=numbers(settings.pixel_stds),
        label_scales=numbers(settings.label_scales), frames=settings.curve_frames, request=request,
    )  # fmt: skip
    count = min(settings.curve_frames or len(experiment.val_split), len(experiment.val_split))
    return subject.report(
        "reliance",
        caption=captions.sweep_caption(experiment, request, frames=count),
        alt="Reliance, label gain and label share of one teacher over pixel noise and label scale.",
        figure={"table": table},
        table=table,
    )


def sanity_report(subject: Subject) -> Report:
    """Maps while weights are redrawn and while the label is permuted."""
    steps = sanity_steps(
        subject.experiment, subject.frames, category=subject.category,
        request=subject.request, seed=subject.settings.seed,
    )  # fmt: skip
    (frame,) = open_frames(subject.experiment, subject.frames[:1], category=subject.category)
    return subject.report(
        "sanity",
        caption=captions.sanity_caption(
            subject.experiment, category=subject.settings.category, frames=subject.frame_names
        ),
        alt="Rank correlation with the trained maps as weights are redrawn and the label permuted.",
        figure={"outline": frame.outline, "steps": steps},
        table=steps_table(steps),
    )


def shared_limit(frames: list[FrameMaps]) -> float:
    """One upper limit for all maps of a figure: the 99.5th percentile of their finite values; 1
    where there are none.
    """
    maps = [values for one in frames for values in (one.image_map, one.label_map)]
    values = np.concatenate([one.numpy().ravel() for one in maps])
    if not np.isfinite(values).any():
        return 1.0
    return float(max(np.nanpercentile(values, PERCENTILE), 1e-12))


def _pictures(frames: Sequence[Frame]) -> dict[str, list]:
    return {
        "images": [one.image for one in frames],
        "outlines": [one.outline for one in frames],
    }


def _branches(frames: Sequence[FrameMaps]) -> dict[str, list]:
    return {
        "image_maps": [one.image_map for one in frames],
        "label_maps": [one.label_map for one in frames],
    }
