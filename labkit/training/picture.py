"""Predictions of single pictures as files, at the pictures' own size."""

import io
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from labkit.datasets import DatasetInfo
from labkit.datasets.batches import ScoringBatch, resize_image, resize_label, scoring_size
from labkit.datasets.pictures import read_label, read_upright
from labkit.errors import DataError, SettingsError
from labkit.method import IGNORE_INDEX
from labkit.records import find_run, write_bytes
from labkit.records.artifacts import npz_bytes
from labkit.settings import EvaluateSettings
from labkit.training.experiment import Experiment, load_experiment

FORMS = {  # ending of a prediction's file by its form
    "colours": ".png",
    "ids": "-ids.png",
    "overlay": "-overlay.png",
    "probabilities": "-probabilities.npz",
}
OPACITY = 0.5  # of the colours over the picture


def predict_images(
    name: str,
    images: Sequence[Path],
    *,
    form: str = "colours",
    label: Path | None = None,
    output: Path | None = None,
    **values: Any,
) -> Iterator[str]:
    """Write the prediction of each picture, upright and at its own size.

    The network reads the picture at the run's score_size; its logits are brought back bilinearly.

    Args:
        name: run id, the beginning of one, or a run folder.
        images: PNG or JPEG files.
        form: of `FORMS`: colours (the data set's palette), ids (class ids, one channel), overlay
            (colours over the picture), or probabilities ((K, H, W) float16 in an .npz file).
        label: of a single picture, for an assisted teacher: class ids, 255 = void. Without one the
            teacher reads an empty label channel.
        output: a file for a single picture, or a folder, which is made; default: beside each
            picture.
        values: runs, data_root, device, threads.

    Yields:
        A line per picture: the file written and what the network read.

    Raises:
        DataError: a picture cannot be read, does not fit its label, or a file cannot be written.
        RecordError: no such complete run.
    """
    settings = EvaluateSettings(**values)
    changes = settings.model_dump(include={"data_root", "device", "threads"})
    run = find_run(name, settings.runs)
    targets = _targets(run.kind, images, form, output)
    if label and (run.role, run.kind) != ("teacher", "assisted"):
        raise DataError(f"{label}: this network reads the image alone; leave --label out.")
    if label and len(images) > 1:
        raise DataError(f"{label}: is the label of one picture; got {len(images)} pictures.")
    experiment = load_experiment(run, **changes)
    for image, target in zip(images, targets, strict=True):
        yield _predict(experiment, image, label, target, form)


def _predict(
    experiment: Experiment, image: Path, label: Path | None, target: Path, form: str
) -> str:
    reading = "image" if experiment.noising is None else "true_label" if label else "zero_label"
    pixels = torch.from_numpy(read_upright(image)).permute(2, 0, 1)
    batch = _batch(experiment, pixels, label)
    target.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(target, _encoded(experiment, reading, batch, pixels, form))
    return f"{target} (read: {reading.replace('_', ' ')})"


def _encoded(
    experiment: Experiment, reading: str, batch: ScoringBatch, pixels: Tensor, form: str
) -> bytes:
    """A prediction as the bytes of a file.

    Args:
        pixels: (3, H, W) uint8 of the picture.
        form: of `FORMS`.
    """
    info = experiment.info
    if form == "probabilities":
        probabilities = experiment.logits(reading, batch)[0].softmax(0).half().numpy()
        return npz_bytes({"probabilities": probabilities, "class_names": list(info.class_names)})
    prediction = experiment.prediction(reading, batch)[0]
    if form == "ids":
        return _png(prediction.numpy().astype(np.uint8))
    colours = colour_classes(prediction, info)
    if form == "overlay":
        picture = pixels.permute(1, 2, 0).numpy().astype(np.float32)
        colours = (OPACITY * colours + (1 - OPACITY) * picture).round().astype(np.uint8)
    return _png(colours)


def _png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def colour_classes(prediction: Tensor, info: DatasetInfo) -> np.ndarray:
    """Class ids (H, W) in the data set's palette, (H, W, 3) uint8."""
    return np.array(info.palette, dtype=np.uint8)[prediction.cpu().numpy()]


def _targets(kind: str, images: Sequence[Path], form: str, output: Path | None) -> list[Path]:
    """The file of every picture's prediction.

    Raises:
        SettingsError: no such form.
        DataError: a file for several pictures, or two pictures with one file.
    """
    if form not in FORMS:
        raise SettingsError(f"--as {form[:40]}: expected one of {', '.join(FORMS)}.")
    ending = FORMS[form]
    suffix = Path(f"x{ending}").suffix
    if output is not None and output.suffix == suffix and not output.is_dir():
        if len(images) > 1:
            raise DataError(f"--output {output}: is one file; got {len(images)} pictures.")
        return [output]
    targets = [(output or image.parent) / f"{image.stem}-{kind}{ending}" for image in images]
    twice = [target for target, count in Counter(targets).items() if count > 1]
    if twice:
        raise DataError(
            f"{twice[0]}: is the prediction of two pictures of one name; expected other names. "
            "Predict them in two calls."
        )
    return targets


def _batch(experiment: Experiment, pixels: Tensor, label: Path | None) -> ScoringBatch:
    """One picture as a scoring batch; without a label every pixel is void."""
    info, native = experiment.info, (pixels.shape[1], pixels.shape[2])
    target = torch.full(native, IGNORE_INDEX)
    if label:
        target = torch.from_numpy(read_label(label, size=native, num_classes=info.num_classes))
    size = scoring_size(experiment.settings.score_size, native)
    return ScoringBatch(
        images=info.normalised(resize_image(pixels, size))[None],
        target=target[None],
        label=resize_label(target, size)[None],
        foreign_label=None,
        index=torch.tensor([0]),
    )
