"""On chosen frames: branch maps over several noisings, the library's drawing, deeper layers, integrated gradients."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor

from labkit.attribution import (
    BranchMaps,
    BranchMeans,
    JointMaps,
    NoisedMaps,
    branch_means,
    integrated_gradients,
    joint_layercam,
    layer_names,
    library_layercam,
    noised_layercam,
    share_of,
)
from labkit.attribution.layercam import Layer
from labkit.attribution.passes import Region, Score, class_region
from labkit.datasets import Batch, Split, frames_batch
from labkit.experiments import Experiment
from labkit.steps import noised_by_frame, predict_with_label

CENTRING_FRAMES = 64  # the first training images, over which the branches' means are measured
GRADIENT_FRAMES = 8  # integrated gradients are asked on so many
LEAST_SHARE = 0.03  # of a frame's pixels, for a class to count as being in it


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is asked of a teacher, the same for every method. Fields as for `branch_layercam`."""

    region: Region = "predicted"
    score: Score = "logit"
    layer: Layer = "folded"
    seed: int = 0  # of the first noising; the others follow
    noisings: int = 1  # averaged

    def what(self) -> dict[str, str]:
        """Region and score, as every method takes them."""
        return {"region": self.region, "score": self.score}

    def words(self) -> str:
        """For captions."""
        pixels = {"predicted": "predicted as it", "true": "labelled as it", "both": "both predicted and labelled as it"}[self.region]
        value = {"logit": "mean logit", "margin": "mean margin over the best other class"}[self.score]
        return f"{value} of the class over the pixels {pixels}"


@dataclass(frozen=True)
class Contribution:
    """Branch maps of one class on some frames, and the library's drawing of the same."""

    noised: NoisedMaps
    library: dict[str, np.ndarray]  # image and label: (N, H, W), first noising, each frame scaled by itself; NaN where absent
    region: Tensor  # (N, H, W) bool, where the score is averaged under the first noising

    @property
    def maps(self) -> BranchMaps:
        """Mean over the noisings."""
        return self.noised.mean


def choose_frames(split: Split, *, category: int, count: int) -> list[int]:
    """The stated rule: frames in which the class fills at least 3 % of the pixels, spread evenly over those; ascending.

    Raises:
        ValueError: no frame of the split holds that much of the class.
    """
    holding = [i for i in range(len(split)) if (split[i].target == category).float().mean() >= LEAST_SHARE]
    if not holding:
        raise ValueError(f"choose_frames: no frame holds class {category} on {LEAST_SHARE:.0%} of its pixels; choose another category.")
    count = min(count, len(holding))
    return [holding[(2 * i + 1) * len(holding) // (2 * count)] for i in range(count)]


def frame_contribution(experiment: Experiment, batch: Batch, *, category: int, request: Request) -> Contribution:
    """What the evidence for a class came through.

    Args:
        experiment: an assisted teacher, complete.
        batch: the frames looked at.
        category: class id.
    """
    network, batch = experiment.network, batch.to(experiment.device)
    shown = noised_labels(experiment, batch, request)
    asked = {"category": category, "target": batch.target, **request.what()}
    means = measured_means(experiment, seed=request.seed) if request.layer == "folded" else None
    noised = noised_layercam(network, batch.images, shown, layer=request.layer, means=means, **asked)
    with torch.no_grad():
        logits = predict_with_label(network, batch, experiment.noising, seed=request.seed)
    inside = class_region(logits, category=category, region=request.region, target=batch.target)
    held = inside.flatten(1).any(1)
    library = {branch: np.full(inside.shape, np.nan, dtype=np.float32) for branch in ("image", "label")}
    if held.any():
        drawn = library_layercam(network, batch.images[held], shown[0][held], category=category, region=inside[held])
        for branch, values in drawn.items():
            library[branch][held.cpu().numpy()] = values
    return Contribution(_on_cpu(noised), library, inside.cpu())


def default_layers(experiment: Experiment, given: str = "") -> list[str]:
    """Names of the layers of the joint map: those given, separated by commas, or four from the stem to the last decoder piece."""
    if given.strip():
        return [name.strip() for name in given.split(",") if name.strip()]
    names = layer_names(experiment.network, with_maps=True)
    inner = [name for name in names if not name.startswith("segmentation_head") and name.split(".")[-1].isdigit()]
    return list(dict.fromkeys([names[0], *(inner[round(i * (len(inner) - 1) / 2)] for i in range(3))]))


def share_by_place(found: Contribution) -> pd.DataFrame:
    """Label share of each frame, over the whole of it, inside the region whose score is explained, and outside; percent.

    Returns:
        Columns whole, inside, outside, and evidence_outside: how much of all evidence lies outside. Blank where there is no map.
    """
    image, label = found.maps.image, found.maps.label
    inside = F.adaptive_max_pool2d(found.region[:, None].float(), image.shape[1:])[:, 0]  # a position that touches the region
    sums = {name: [(part * where).sum((1, 2)) for part in (label, image)]
            for name, where in (("whole", torch.ones_like(inside)), ("inside", inside), ("outside", 1 - inside))}  # fmt: skip
    shares = {name: 100 * share_of(*parts) for name, parts in sums.items()}
    return pd.DataFrame({**shares, "evidence_outside": 100 * sum(sums["outside"]) / sum(sums["whole"])})


def deep_contribution(experiment: Experiment, batch: Batch, *, category: int, layers: Sequence[str], request: Request) -> JointMaps:
    """Joint maps at deeper layers under the first noising, and their element-wise maximum."""
    batch = batch.to(experiment.device)
    (shown,) = noised_labels(experiment, batch, request, count=1)
    found = joint_layercam(experiment.network, batch.images, shown, layers=layers, category=category, target=batch.target, **request.what())
    by_name = ({name: one.cpu() for name, one in maps.items()} for maps in found[:2])
    return JointMaps(*by_name, *(part.cpu() for part in found[2:]))


def gradient_contribution(
    experiment: Experiment, split: Split, index: Sequence[int], *, category: int, request: Request, steps: int
) -> pd.DataFrame:
    """Integrated gradients on stated frames: one row per frame, in the unit of the class score.

    Returns:
        Columns frame, image, label, label_share, difference (score of both minus score of nothing), error and
        error_percent (of the difference); blank where the region is empty.
    """
    batch = frames_batch(split, experiment.info, index).to(experiment.device)
    (shown,) = noised_labels(experiment, batch, request, count=1)
    found = integrated_gradients(
        experiment.network, batch.images, shown, category=category, target=batch.target, steps=steps, **request.what()
    )
    columns = {name: getattr(found, name).cpu().numpy() for name in ("image", "label", "difference", "error")}
    table = pd.DataFrame({"frame": [split.frame_name(i) for i in index], **columns})
    table.insert(3, "label_share", 100 * share_of(found.label, found.image).cpu().numpy())
    return table.assign(error_percent=100 * (table.error / table.difference).abs())


def noised_labels(experiment: Experiment, batch: Batch, request: Request, *, count: int = 0) -> list[Tensor]:
    """Label channels (N, C, H, W) of the batch under each noising; count 0: as many as requested."""
    seeds = range(request.seed, request.seed + (count or request.noisings))
    return [noised_by_frame(experiment.noising, batch.target, batch.index, seed=seed) for seed in seeds]


def measured_means(experiment: Experiment, *, seed: int) -> BranchMeans:
    """Means of both branches per stem channel, over the first 64 training images and one noising each."""
    split, info = experiment.train_split, experiment.info
    first = frames_batch(split, info, range(min(CENTRING_FRAMES, len(split)))).to(experiment.device)
    return branch_means(experiment.network, [(first.images, noised_by_frame(experiment.noising, first.target, first.index, seed=seed))])


def altered(experiment: Experiment, **changes: Any) -> Experiment:
    """The same experiment with another network or noising; training frames already opened are shared."""
    other = replace(experiment, **changes)
    vars(other)["train_split"] = experiment.train_split
    return other


def maps_path(experiment: Experiment, category: str) -> Path:
    """Where the raw maps of a class are kept: in the run's folder."""
    return experiment.run.folder / "attribution" / f"{category}.npz"


def raw_maps(found: Contribution, frames: Sequence[str]) -> dict[str, Any]:
    """Arrays worth keeping: signed and positive maps, deviations, scores and shares, unscaled, with the frames' names."""
    noised = found.noised
    maps = {name: getattr(noised.mean, name).numpy() for name in noised.mean._fields}
    kept = {"image_std": noised.image_std, "label_std": noised.label_std, "share": noised.share, "region": found.region}
    return {"frames": np.array(frames), **maps, **{name: values.numpy() for name, values in kept.items()}}


def _on_cpu(noised: NoisedMaps) -> NoisedMaps:
    return NoisedMaps(BranchMaps(*(part.cpu() for part in noised.mean)), *(part.cpu() for part in noised[1:]))
