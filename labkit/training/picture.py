"""Coloured predictions of single pictures, at the pictures' own size."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from labkit.datasets import DatasetInfo
from labkit.datasets.batches import ScoringBatch, resize_image, resize_label, scoring_size
from labkit.datasets.pictures import read_ids, read_image
from labkit.errors import DataError
from labkit.method import IGNORE_INDEX
from labkit.records import find_run
from labkit.settings import EvaluateSettings
from labkit.training.experiment import Experiment, load_experiment


def predict_images(
    name: str,
    images: Sequence[Path],
    *,
    label: Path | None = None,
    output: Path | None = None,
    **values: Any,
) -> list[str]:
    """Write the coloured prediction of each picture at its own size.

    The network reads the picture at the run's score_size; its logits are brought back bilinearly.

    Args:
        name: run id, the beginning of one, or a run folder.
        images: PNG or JPEG files.
        label: of a single picture, for an assisted teacher: class ids, 255 = void. Without one the
            teacher reads an empty label channel.
        output: a .png file for a single picture, or a folder; default <picture>-<kind>.png beside
            each picture.
        values: runs, device, threads.

    Returns:
        A line per picture: the file written and what the network read.

    Raises:
        DataError: a picture cannot be read, does not fit its label, or a file cannot be written.
        RecordError: no such complete run.
    """
    settings = EvaluateSettings(**values)
    changes = settings.model_dump(include={"data_root", "device", "threads"})
    experiment = load_experiment(find_run(name, settings.runs), **changes)
    if label and experiment.noising is None:
        raise DataError(f"{label}: this network reads the image alone; leave --label out.")
    if label and len(images) > 1:
        raise DataError(f"{label}: is the label of one picture; got {len(images)} pictures.")
    return [
        _predict(experiment, image, label, _target(experiment, image, output)) for image in images
    ]


def _predict(experiment: Experiment, image: Path, label: Path | None, target: Path) -> str:
    reading = "image" if experiment.noising is None else "true_label" if label else "zero_label"
    pixels = torch.from_numpy(read_image(image)).permute(2, 0, 1)
    ids = _read_label(experiment.info, label, pixels) if label else None
    prediction = experiment.prediction(reading, _batch(experiment, pixels, ids))[0]
    try:
        Image.fromarray(colour_classes(prediction, experiment.info)).save(target, "PNG")
    except (OSError, ValueError) as error:
        raise DataError(
            f"{target}: cannot be written ({error}). Give --output a .png in a folder that exists."
        ) from error
    return f"{target} (read: {reading.replace('_', ' ')})"


def colour_classes(prediction: Tensor, info: DatasetInfo) -> np.ndarray:
    """Class ids (H, W) in the data set's palette, (H, W, 3) uint8."""
    return np.array(info.palette, dtype=np.uint8)[prediction.cpu().numpy()]


def _target(experiment: Experiment, image: Path, output: Path | None) -> Path:
    name = f"{image.stem}-{experiment.run.kind}.png"
    if output is None:
        return image.with_name(name)
    return output / name if output.is_dir() else output


def _read_label(info: DatasetInfo, label: Path, pixels: Tensor) -> Tensor:
    """Class ids (H, W) int64 of a label file, 255 = void."""
    ids = torch.from_numpy(read_ids(label).astype(np.int64))
    if ids.shape != pixels.shape[1:]:
        raise DataError(
            f"{label}: has size {tuple(ids.shape)}; expected the picture's, "
            f"{tuple(pixels.shape[1:])}."
        )
    unknown = ids[(ids >= info.num_classes) & (ids != IGNORE_INDEX)].unique().tolist()
    if unknown:
        raise DataError(
            f"{label}: has ids {unknown[:8]}; expected 0-{info.num_classes - 1}, "
            f"and {IGNORE_INDEX} for void."
        )
    return ids


def _batch(experiment: Experiment, pixels: Tensor, ids: Tensor | None) -> ScoringBatch:
    """One picture as a scoring batch; without a label every pixel is void."""
    target = torch.full(pixels.shape[1:], IGNORE_INDEX) if ids is None else ids
    size = scoring_size(experiment.settings.score_size, (pixels.shape[1], pixels.shape[2]))
    return ScoringBatch(
        images=experiment.info.normalised(resize_image(pixels, size))[None],
        target=target[None],
        label=resize_label(target, size)[None],
        foreign_label=None,
        index=torch.tensor([0]),
    )
