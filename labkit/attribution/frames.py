"""Choice of frames, and branch maps of one class on chosen frames, averaged over noisings."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor

from labkit.attribution.common import class_region, eval_float32, full_size_logits, share_of
from labkit.attribution.layercam import BranchMaps, BranchMeans, label_share
from labkit.attribution.noisings import NoisedMaps, nan_std, noised_layercam
from labkit.attribution.request import Request, measured_means, noised_labels, scoring_batch
from labkit.datasets import ScoringBatch, Split
from labkit.errors import DataError
from labkit.training.experiment import Experiment

LEAST_SHARE = 0.03  # of a frame's labelled pixels, for a class to count as being in it


@dataclass(frozen=True)
class Frame:
    """One frame at the size at which the run scores it."""

    name: str
    image: Tensor  # (3, H, W) uint8
    outline: Tensor  # (H, W) bool, where the label holds the class


@dataclass(frozen=True)
class FrameMaps(Frame):
    """Branch maps of one class on one frame."""

    region: Tensor  # (H, W) bool, where the score is averaged under the first noising
    noised: NoisedMaps  # of this frame, N = 1

    @property
    def maps(self) -> BranchMaps:
        """Mean over the noisings, N = 1."""
        return self.noised.mean

    @property
    def image_map(self) -> Tensor:
        """(h, w) evidence through the image."""
        return self.maps.image[0]

    @property
    def label_map(self) -> Tensor:
        """(h, w) evidence through the label."""
        return self.maps.label[0]

    @property
    def share(self) -> float:
        """Label share over the whole frame, 0-1; NaN where there is no map."""
        return float(label_share(self.maps)[0])

    @property
    def deviation(self) -> float:
        """Standard deviation of the share over noisings, ddof 1; NaN for one noising."""
        return float(nan_std(self.noised.share)[0])


def class_pixels(split: Split, num_classes: int) -> np.ndarray:
    """Labelled pixels of every class in every frame, (F, K) int64; reads every label."""
    return np.stack(
        [
            torch.bincount(split[i].target.flatten(), minlength=256)[:num_classes].numpy()
            for i in range(len(split))
        ]
    )


def choose_frames(labelled: np.ndarray, *, category: int, count: int) -> list[int]:
    """The rule for drawn frames: those in which the class fills at least 3 % of the labelled
    pixels, spread evenly, ascending.

    Args:
        labelled: (F, K) labelled pixels by frame and class, as a run's frame counts hold them.

    Raises:
        DataError: no frame holds that much of the class.
    """
    enough = labelled[:, category] >= LEAST_SHARE * np.maximum(labelled.sum(1), 1)
    candidates = np.flatnonzero(enough & (labelled[:, category] > 0)).tolist()
    if not candidates:
        raise DataError(
            f"choose_frames: no frame holds class {category} on {LEAST_SHARE:.0%} of its labelled "
            "pixels; "
            "choose another class."
        )
    count = min(count, len(candidates))
    return [candidates[(2 * i + 1) * len(candidates) // (2 * count)] for i in range(count)]


def run_frames(experiment: Experiment, *, category: int, count: int) -> list[int]:
    """`choose_frames` of the run's validation split, from its recorded counts; reads no label."""
    counts = experiment.run.frame_counts()
    labelled = next(counts[name] for name in counts if name.endswith(".whole.labelled"))
    return choose_frames(np.asarray(labelled), category=category, count=count)


def open_frames(experiment: Experiment, index: Sequence[int], *, category: int) -> list[Frame]:
    """Frames of the validation split, without maps."""
    split = experiment.val_split
    return [_frame(experiment, scoring_batch(experiment, split, [i]), category) for i in index]


def frame_maps(
    experiment: Experiment, index: Sequence[int], *, category: int, request: Request
) -> list[FrameMaps]:
    """Branch maps of one class on frames of the validation split, of any sizes.

    Args:
        experiment: an assisted teacher, complete.
        index: of the frames.
        category: class id.
    """
    means = measured_means(experiment, request)
    return [
        maps_of_frame(experiment, i, category=category, request=request, means=means) for i in index
    ]


def maps_of_frame(
    experiment: Experiment,
    frame: int,
    *,
    category: int,
    request: Request,
    means: BranchMeans | None,
) -> FrameMaps:
    """`frame_maps` of one frame, with the branches' means given."""
    split = experiment.val_split
    batch = scoring_batch(experiment, split, [frame])
    labels = noised_labels(experiment, batch, request)
    options = {"category": category, "target": batch.label, **request.options()}
    noised = noised_layercam(
        experiment.network, batch.images, labels, layer=request.layer, means=means, **options
    )
    picture = _frame(experiment, batch, category)
    return FrameMaps(
        picture.name,
        picture.image,
        picture.outline,
        explained_region(experiment, batch, labels[0], category=category, request=request)[0].cpu(),
        _on_cpu(noised),
    )


def explained_region(
    experiment: Experiment,
    batch: ScoringBatch,
    label_channel: Tensor,
    *,
    category: int,
    request: Request,
) -> Tensor:
    """(N, H, W) bool: the pixels over which the class score is averaged."""
    with eval_float32(experiment.network, batch.images.device) as network, torch.no_grad():
        logits = full_size_logits(network, batch.images, label_channel)
    return class_region(logits, category=category, region=request.region, target=batch.label)


def share_by_location(frames: Sequence[FrameMaps]) -> pd.DataFrame:
    """Label share of each frame: over the whole of it, inside the region whose score is explained,
    and outside; percent.

    A position of the map is inside where it touches the region. This is the one definition for
    tables and explorers.

    Returns:
        Columns frame, whole, inside, outside, and evidence_outside: the part of all evidence that
            lies outside. NaN without a map.
    """
    rows = []
    for one in frames:
        image, label = one.image_map, one.label_map
        inside = F.adaptive_max_pool2d(one.region[None].float(), image.shape)[0]
        row = {"frame": one.name}
        sums = {}
        for name, where in (
            ("whole", torch.ones_like(inside)),
            ("inside", inside),
            ("outside", 1 - inside),
        ):
            parts = (label * where).sum(), (image * where).sum()
            sums[name] = sum(parts)
            row[name] = 100 * float(share_of(*parts))
        rows.append(row | {"evidence_outside": 100 * float(sums["outside"] / sums["whole"])})
    return pd.DataFrame(rows)


def raw_maps(frames: Sequence[FrameMaps]) -> dict[str, Any]:
    """Arrays to keep: unscaled maps, deviations, scores, shares and regions, with the frame's
    number before each name.
    """
    arrays: dict[str, Any] = {"frames": np.array([one.name for one in frames])}
    for number, one in enumerate(frames):
        mean = {name: getattr(one.maps, name) for name in one.maps._fields}
        mean |= {"image_std": one.noised.image_std, "label_std": one.noised.label_std}
        arrays |= {f"{number}.{name}": values[0].numpy() for name, values in mean.items()}
        arrays[f"{number}.share"] = one.noised.share[:, 0].numpy()
        arrays[f"{number}.region"] = one.region.numpy()
    return arrays


def _frame(experiment: Experiment, batch: ScoringBatch, category: int) -> Frame:
    return Frame(
        experiment.val_split.frame_name(int(batch.index[0])),
        experiment.info.pixels(batch.images[0].cpu()),
        (batch.label[0] == category).cpu(),
    )


def _on_cpu(noised: NoisedMaps) -> NoisedMaps:
    mean = BranchMaps(*(part.cpu() for part in noised.mean))
    return NoisedMaps(mean, *(part.cpu() for part in noised[1:]))
