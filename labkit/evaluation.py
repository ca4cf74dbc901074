"""Finished runs put to use: scores on any split, and pictures of predictions."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from labkit.config import EvaluateSettings
from labkit.datasets import Batch, DataError, dataset_info, open_split
from labkit.experiments import Experiment, load_experiment, measured
from labkit.lnm import IGNORE_INDEX
from labkit.metrics import scores_from_confusion
from labkit.plots import colourise
from labkit.records import find_run, now, write_json


def evaluate_run(run: str, settings: EvaluateSettings) -> list[str]:
    """Score a complete run on a split and keep the result in its folder.

    Writes evaluations/<split>.json and evaluations/<split>.npz (per reading (frames, K, K) confusion matrices, and frame names);
    the file names begin with the data set where it is not the run's own.

    Returns:
        One line per reading.

    Raises:
        DataError: the data set's classes are not those the run was trained on.
    """
    found = find_run(run, settings.runs)
    experiment = load_experiment(found, data_root=settings.data_root, device=settings.device, threads=settings.threads)
    dataset = settings.dataset or found.settings.dataset
    if dataset_info(dataset).class_names != experiment.info.class_names:
        raise DataError(
            f"{dataset}: its classes are {', '.join(dataset_info(dataset).class_names)}; "
            f"the run's are {', '.join(experiment.info.class_names)}. Score it on a data set with its own classes."
        )
    size = {"height": found.settings.height, "width": found.settings.width}
    split = open_split(dataset, settings.split, root=settings.data_root, size=settings.size, **size)
    by_frame = experiment.confusions(split)
    scores = {reading: scores_from_confusion(sum(frames)) for reading, frames in by_frame.items()}
    name = settings.split if dataset == found.settings.dataset else f"{dataset}-{settings.split}"
    folder = found.folder / "evaluations"
    folder.mkdir(exist_ok=True)
    frames = np.array([split.frame_name(i) for i in range(len(split))])
    beside = folder / f".{name}.npz"
    np.savez_compressed(beside, frames=frames, **{reading: torch.stack(counts).numpy() for reading, counts in by_frame.items()})
    beside.replace(folder / f"{name}.npz")
    record = measured(experiment, scores, settings.split, split)
    facts = {"run_id": found.run_id, "checkpoint": found.checkpoint_hash(), "dataset": dataset, "evaluated": now()}
    write_json(folder / f"{name}.json", facts | record)
    lines = [f"{reading}: mIoU {score.miou:.2f}, pixel accuracy {score.pixel_accuracy:.2f}" for reading, score in scores.items()]
    return [record["protocol"], *lines, str(folder / f"{name}.json")]


def predict_image(run: str, image: Path, *, label: Path | None, output: Path | None, runs: str = "") -> str:
    """Write the coloured prediction of one image at its own size.

    Args:
        label: for an assisted teacher; without one it reads an empty label channel, and the answer says so.
        output: default <image>-<method>.png beside the image.

    Returns:
        A line that says what was written and what the network read.
    """
    experiment = load_experiment(find_run(run, runs))
    pixels = torch.from_numpy(np.array(_open(image).convert("RGB"))).permute(2, 0, 1)
    batch, reading = _batch(experiment, pixels, label)
    prediction = experiment.logits(reading, batch).argmax(1)[0]
    target = output or image.with_name(f"{image.stem}-{experiment.run.method}.png")
    Image.fromarray(colourise(prediction, experiment.info)).save(target)
    return f"{target} (read: {reading.replace('_', ' ')})"


def _batch(experiment: Experiment, pixels: Tensor, label: Path | None) -> tuple[Batch, str]:
    """One image as a batch, and the reading that fits what was given."""
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (experiment.info.mean, experiment.info.std))
    void = torch.full(pixels.shape[1:], IGNORE_INDEX)[None]
    batch = Batch(((pixels.float() / 255 - mean) / std)[None], void, torch.tensor([0]), void)
    if experiment.noising is None:
        if label:
            raise DataError(f"{label}: this network reads the image alone; leave --label out.")
        return batch, "image"
    if label is None:
        return batch, "zero_label"
    target = torch.from_numpy(np.array(_open(label))).long()
    if target.shape != pixels.shape[1:]:
        raise DataError(f"{label}: found {tuple(target.shape)}; expected one channel of the image's size {tuple(pixels.shape[1:])}.")
    return batch._replace(target=target[None]), "true_label"


def _open(path: Path) -> Image.Image:
    try:
        return Image.open(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be read as a picture ({error}). Expected a PNG or JPEG file.") from error
