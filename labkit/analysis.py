"""What 03_analysis asks of finished runs: which runs, which frames, what they predict and what a teacher leans on."""

from collections import Counter
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
    library: dict[str, np.ndarray]  # image and label: (N, H, W), each frame scaled by itself; NaN where not predicted
    region: Tensor  # (N, H, W) bool, where the class was predicted


TITLES = {
    ("teacher", "none"): "plain teacher",
    ("teacher", "lad"): "assisted teacher",
    ("student", "none"): "student alone",
    ("student", "kd"): "student of plain",
    ("student", "lad"): "student of assisted",
}


def run_names(runs: list[Run]) -> dict[str, Run]:
    """The runs a figure shows, by a short name: of every recipe the run with the lowest seed.

    Where several recipes share a name, the recipe's hash follows it; `tables.trials_table` says what they are. Figures hold
    frames of one size: runs at another size than the first one's are left to the table.

    Raises:
        RecordError: there is no complete run.
    """
    if not runs:
        raise RecordError("analysis: no complete run of this data set in the runs folder. First: labkit run all.")
    order = list(TITLES)
    first: dict[tuple[str, str, str], Run] = {}
    size = runs[0].settings.height, runs[0].settings.width
    fitting = [run for run in runs if (run.settings.height, run.settings.width) == size]
    for run in sorted(fitting, key=lambda run: (order.index((run.role, run.method)), run.seed, run.run_id)):
        first.setdefault((run.role, run.method, run.recipe_hash), run)
    shared = Counter((role, method) for role, method, _ in first)
    return {TITLES[role, method] + (f" {recipe}" if shared[role, method] > 1 else ""): run for (role, method, recipe), run in first.items()}


def assisted_teacher(named: dict[str, Run]) -> str:
    """The name of the first assisted teacher, whose evidence is looked at.

    Raises:
        RecordError: none is complete.
    """
    found = [name for name, run in named.items() if (run.role, run.method) == ("teacher", "lad")]
    if not found:
        raise RecordError("analysis: no complete assisted teacher. First: labkit run teacher --set method=lad.")
    return found[0]


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
    centre = label_centre(experiment, seed=seed) if layer == "folded" else None
    maps = branch_layercam(network, batch.images, shown, category=category, layer=layer, label_mean=centre)
    with torch.no_grad():
        logits = network(assisted_input(batch.images, shown))
    predicted = network.to_full_size(logits, batch.images.shape[2:]).argmax(1) == category
    held = predicted.flatten(1).any(1)
    library = {branch: np.full(predicted.shape, np.nan, dtype=np.float32) for branch in ("image", "label")}
    if held.any():
        drawn = library_layercam(network, batch.images[held], shown[held], category=category, region=predicted[held])
        for branch, values in drawn.items():
            library[branch][held.cpu().numpy()] = values
    return Contribution(BranchMaps(*(part.cpu() for part in maps)), library, predicted.cpu())


def label_centre(experiment: Experiment, *, seed: int) -> Tensor:
    """Mean of the label branch per stem channel (D,), over the first 64 training images and one noising each."""
    split, info = experiment.train_split, experiment.info
    first = frames_batch(split, info, range(min(CENTRING_FRAMES, len(split)))).to(experiment.device)
    return label_branch_mean(experiment.network, [noised_by_frame(experiment.noising, first.target, first.index, seed=seed)])
