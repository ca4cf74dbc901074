"""Finished runs put to use: scores on any split, and pictures of predictions."""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2.functional import resize

from labkit.config import EvaluateSettings
from labkit.datasets import Batch, DataError, dataset_info, open_split, preflight
from labkit.experiments import Experiment, load_experiment, measured
from labkit.files import write_json
from labkit.lnm import IGNORE_INDEX
from labkit.metrics import scores_from_confusion
from labkit.plots import colourise
from labkit.products import save_arrays
from labkit.records import find_run, now, runs_folder


def evaluate_run(run: str, settings: EvaluateSettings) -> list[str]:
    """Score a complete run on a split and keep the result in its folder.

    Writes evaluations/<split>.json and evaluations/<split>.npz (per reading (frames, K, K) confusion matrices, and frame names);
    the file names begin with the data set where it is not the run's own, and end with the size where not all frames were scored.

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
    preflight(dataset, settings.split, root=settings.data_root, cache=runs_folder(settings.runs) / ".preflight")
    split = open_split(dataset, settings.split, root=settings.data_root, size=settings.size, **size)
    by_frame = experiment.confusions(split)
    scores = {reading: scores_from_confusion(sum(frames)) for reading, frames in by_frame.items()}
    name = settings.split if dataset == found.settings.dataset else f"{dataset}-{settings.split}"
    name += f"-{settings.size}" if settings.size else ""
    folder = found.folder / "evaluations"
    frames = np.array([split.frame_name(i) for i in range(len(split))])
    save_arrays(folder / f"{name}.npz", {"frames": frames} | {reading: torch.stack(counts).numpy() for reading, counts in by_frame.items()})
    record = measured(experiment, scores, settings.split, split)
    facts = {"run_id": found.run_id, "checkpoint": found.checkpoint_hash(), "dataset": dataset, "evaluated": now()}
    write_json(folder / f"{name}.json", facts | record)
    lines = [f"{reading}: mIoU {score.miou:.2f}, pixel accuracy {score.pixel_accuracy:.2f}" for reading, score in scores.items()]
    return [record["protocol"], *lines, str(folder / f"{name}.json")]


def predict_image(run: str, image: Path, *, label: Path | None, output: Path | None, runs: str = "") -> str:
    """Write the coloured prediction of one image, at the image's own size.

    The network sees it at the height and width it was trained and scored at; its logits are brought back bilinearly.

    Args:
        label: for an assisted teacher, class ids with 255 = void; without one it reads an empty label channel, and the answer says so.
        output: default <image>-<method>.png beside the image.

    Returns:
        A line that says what was written and what the network read.

    Raises:
        DataError: image or label cannot be read, do not belong together, or the output cannot be written.
    """
    experiment = load_experiment(find_run(run, runs), device="auto", threads=0)
    pixels = _read(image, "RGB").permute(2, 0, 1)
    batch, reading = _batch(experiment, pixels, label)
    logits = F.interpolate(experiment.logits(reading, batch), pixels.shape[1:], mode="bilinear", align_corners=False)
    target = output or image.with_name(f"{image.stem}-{experiment.run.method}.png")
    try:
        Image.fromarray(colourise(logits.argmax(1)[0], experiment.info)).save(target)
    except (OSError, ValueError) as error:
        raise DataError(f"{target}: cannot be written ({error}). Give --output a .png in a folder that exists.") from error
    return f"{target} (read: {reading.replace('_', ' ')})"


def _batch(experiment: Experiment, pixels: Tensor, label: Path | None) -> tuple[Batch, str]:
    """One image at the run's size as a batch, and the reading that fits what was given."""
    size = [experiment.settings.height, experiment.settings.width]
    target = torch.full(size, IGNORE_INDEX)
    if label and experiment.noising is None:
        raise DataError(f"{label}: this network reads the image alone; leave --label out.")
    if label:
        given = _read(label, None)
        if given.shape != pixels.shape[1:]:
            raise DataError(f"{label}: found {tuple(given.shape)}; expected one channel of the image's size {tuple(pixels.shape[1:])}.")
        outside = given[(given >= experiment.info.num_classes) & (given != IGNORE_INDEX)]
        if len(outside):
            raise DataError(
                f"{label}: found id {int(outside[0])}; expected 0-{experiment.info.num_classes - 1}, and {IGNORE_INDEX} for void."
            )
        target = resize(given[None].to(torch.uint8), size, interpolation=InterpolationMode.NEAREST)[0].long()
    image = experiment.info.normalised(resize(pixels, size, antialias=True))
    batch = Batch(image[None], target[None], torch.tensor([0]), target[None])
    reading = "image" if experiment.noising is None else "true_label" if label else "zero_label"
    return batch, reading


def _read(path: Path, mode: str | None) -> Tensor:
    """A picture's values: (H, W, 3) uint8 for RGB, as they are and int64 for None."""
    try:
        with Image.open(path) as file:
            values = np.array(file.convert(mode) if mode else file)
            return torch.from_numpy(values if mode else values.astype(np.int64))
    except OSError as error:
        raise DataError(f"{path}: cannot be read as a picture ({error}). Expected a PNG or JPEG file.") from error
