"""What an assisted teacher leans on, image or label: asked of a finished run, on frames and over a whole split."""

from labkit.contribution import captions
from labkit.contribution.captions import verdict
from labkit.contribution.frames import (
    GRADIENT_FRAMES,
    Contribution,
    Request,
    altered,
    choose_frames,
    deep_contribution,
    default_layers,
    frame_contribution,
    gradient_contribution,
    maps_path,
    measured_means,
    noised_labels,
    raw_maps,
    share_by_place,
)
from labkit.contribution.opinions import EVERY, OPINIONS, rank_correlations, removal_share, split_opinions
from labkit.contribution.reliance import reliance_over_noise
from labkit.contribution.sanity import SanityStep, sanity_steps, steps_by_kind, steps_table

__all__ = [
    "EVERY", "GRADIENT_FRAMES", "OPINIONS", "Contribution", "Request", "SanityStep", "altered", "captions", "choose_frames",
    "deep_contribution", "default_layers", "frame_contribution", "gradient_contribution", "maps_path", "measured_means",
    "noised_labels", "rank_correlations", "raw_maps", "reliance_over_noise", "removal_share", "sanity_steps",
    "share_by_place", "split_opinions", "steps_by_kind", "steps_table", "verdict",
]  # fmt: skip
