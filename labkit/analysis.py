"""What 03_analysis asks of finished runs: which runs, which frames, what they predict and what a teacher leans on."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from labkit.attribution import BranchMaps, branch_layercam, label_branch_mean, library_layercam
from labkit.datasets import Batch, Split, frames_batch
from labkit.experiments import Experiment
from labkit.records import RecordError, Run
from labkit.steps import assisted_input, noised_by_frame

CENTRING_FRAMES = 64  # the first training images, over which the label branch's mean is measured
LEAST_SHARE = 0.03  # of a frame's pixels, for a class to count as being in it


@dataclass(frozen=True)
class Contribution:
    """Branch maps of one class on some frames, and the library's drawing of the same."""

    maps: BranchMaps
    library: dict[str, np.ndarray]  # image and label: (N, H, W), each frame scaled by itself
    region: Tensor  # (N, H, W) bool, where the class was predicted


def run_names(runs: list[Run]) -> dict[str, Run]:
    """The runs a figure shows, by a short name: per role and method the lowest seed, students with their distance.

    Raises:
        RecordError: there is no complete run.
    """
    if not runs:
        raise RecordError("analysis: no complete run of this data set in the runs folder. First: labkit run all.")
    plain = {"none": "plain teacher", "lad": "assisted teacher"}
    taught = {"none": "student alone", "kd": "student of plain", "lad": "student of assisted"}
    named: dict[str, Run] = {}
    for run in sorted(runs, key=lambda run: (run.role == "student", ["none", "kd", "lad"].index(run.method), run.seed, run.run_id)):
        named.setdefault((plain if run.role == "teacher" else taught)[run.method], run)
    return named


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


def predictions(experiments: dict[str, Experiment], batch: Batch) -> dict[str, Tensor]:
    """(N, H, W) class ids by name; an assisted teacher with its true and with a foreign label."""
    found = {}
    for name, experiment in experiments.items():
        for reading in experiment.readings():
            if reading != "zero_label":
                shown = name if reading == "image" else f"{name}, {reading.replace('_', ' ')}"
                found[shown] = experiment.logits(reading, batch).argmax(1)
    return found


def contribution(
    experiment: Experiment, batch: Batch, *, category: int, layer: Literal["folded", "raw"] = "folded", seed: int = 0
) -> Contribution:
    """What the evidence for a class came through, where the network predicts it.

    Args:
        experiment: an assisted teacher, complete.
        batch: the frames looked at.
        category: class id.
        layer: see `branch_layercam`; the label branch is centred over the first 64 training images.
        seed: of the noisings.
    """
    network, noising, batch = experiment.network, experiment.noising, batch.to(experiment.device)
    shown = noised_by_frame(noising, batch.target, batch.index, seed=seed)
    maps = branch_layercam(network, batch.images, shown, category=category, layer=layer, label_mean=label_centre(experiment, seed=seed))
    with torch.no_grad():
        logits = network(assisted_input(batch.images, shown))
    predicted = network.to_full_size(logits, batch.images.shape[2:]).argmax(1) == category
    held = predicted.flatten(1).any(1)
    drawn = library_layercam(network, batch.images[held], shown[held], category=category, region=predicted[held]) if held.any() else {}
    return Contribution(BranchMaps(*(part.cpu() for part in maps)), _scattered(drawn, held.cpu().numpy()), predicted.cpu())


def label_centre(experiment: Experiment, *, seed: int) -> Tensor:
    """Mean of the label branch per stem channel (D,), over the first 64 training images and one noising each."""
    split, info = experiment.train_split, experiment.info
    first = frames_batch(split, info, range(min(CENTRING_FRAMES, len(split)))).to(experiment.device)
    return label_branch_mean(experiment.network, [noised_by_frame(experiment.noising, first.target, first.index, seed=seed)])


def _scattered(maps: dict[str, np.ndarray], held: np.ndarray) -> dict[str, np.ndarray]:
    """Maps of the frames held, back in the batch's places; NaN elsewhere."""
    full = {}
    for branch, values in maps.items():
        full[branch] = np.full((len(held), *values.shape[1:]), np.nan, dtype=np.float32)
        full[branch][held] = values
    return full
