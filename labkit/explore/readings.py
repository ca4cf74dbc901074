"""A teacher's predictions for one frame, by the label it reads, and for a single pixel."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from labkit.attribution.request import scoring_batch
from labkit.datasets import ScoringBatch
from labkit.datasets.batches import resize_label
from labkit.explore.own import open_own
from labkit.method import IGNORE_INDEX, assisted_input
from labkit.training.device import full_float32
from labkit.training.experiment import Experiment
from labkit.training.predict import noise_by_frame, predicted_classes


@dataclass(frozen=True)
class Answer:
    """A network's answer for one frame."""

    ids: Tensor  # (H, W) int64, class ids at the label's size
    logits: Tensor  # (K, h, w) at the decoder's stride
    stride: int
    image_size: tuple[int, int]  # of the network's input
    label_channel: Tensor | None = None  # (C, h, w), what was read besides the image

    def probabilities(self, x: float, y: float) -> Tensor:
        """(K,) at a point, x and y in 0-1; logits are interpolated bilinearly as for a score."""
        height, width = self.logits.shape[1:]
        row, column = y * self.image_size[0] / self.stride, x * self.image_size[1] / self.stride
        grid = torch.tensor([[[[2 * column / width - 1, 2 * row / height - 1]]]])
        options = {"mode": "bilinear", "padding_mode": "border", "align_corners": False}
        return F.grid_sample(self.logits[None].float(), grid, **options).flatten().softmax(0)


@dataclass(frozen=True, eq=False)
class ReadFrame:
    """One frame, and a teacher's answers by what it reads besides the image."""

    image: Tensor  # (3, h, w) uint8
    batch: ScoringBatch
    answers: Mapping[str, Answer]

    @property
    def truth(self) -> Tensor:
        """(H, W) class ids."""
        return self.batch.target[0]

    @property
    def labelled(self) -> Tensor:
        """(H, W) bool: not void."""
        return self.truth != IGNORE_INDEX


def read_frame(
    experiment: Experiment,
    frame: int,
    *,
    pixel_std: float,
    seed: int,
    own: tuple[str, str] = ("", ""),
) -> ReadFrame:
    """A frame of the validation split and the answers of a teacher, those with an edited label
    excepted.

    Args:
        frame: a number too high takes the last.
        own: paths of a picture and its label that take the frame's place; "": none.
    """
    split = open_own(*own, experiment.info) if own[0] else experiment.val_split
    index = [min(frame, len(split) - 1)]
    batch = scoring_batch(experiment, split, index, foreign=len(split) > 1)
    image = experiment.info.pixels(batch.images[0])
    if experiment.noising is None or (batch.target == IGNORE_INDEX).all():
        return ReadFrame(image, batch, {"image alone": read_image_alone(experiment, batch)})
    return ReadFrame(image, batch, read_labels(experiment, batch, pixel_std=pixel_std, seed=seed))


def read_labels(
    experiment: Experiment, batch: ScoringBatch, *, pixel_std: float, seed: int
) -> dict[str, Answer]:
    """Answers of an assisted teacher by the label it reads, in one pass: true, a second noising of
    it, foreign where there is one, and zero.

    Args:
        batch: one frame.
    """
    labels = {"true label": batch.label, "second noising": batch.label}
    if batch.foreign_label is not None:
        labels["foreign label"] = batch.foreign_label
    channels = {
        name: _channel(experiment, label, batch, pixel_std, seed + (name == "second noising"))
        for name, label in labels.items()
    }
    channels["zero label"] = torch.zeros_like(channels["true label"])
    return _answers(experiment, batch, channels)


def read_edited(
    experiment: Experiment, batch: ScoringBatch, edited: Tensor, *, pixel_std: float, seed: int
) -> Answer:
    """The answer of an assisted teacher that reads an edited label.

    Args:
        edited: (H, W) class ids at the label's own size.
    """
    label = resize_label(edited[None], tuple(batch.images.shape[2:]))
    channels = {"edited": _channel(experiment, label, batch, pixel_std, seed)}
    return _answers(experiment, batch, channels)["edited"]


def read_image_alone(experiment: Experiment, batch: ScoringBatch) -> Answer:
    """The answer from the image alone; an assisted teacher reads an empty label channel."""
    channels = {"image": None}
    if experiment.noising is not None:
        size = (1, experiment.network.label_channels, *batch.images.shape[2:])
        channels = {"image": batch.images.new_zeros(size)}
    return _answers(experiment, batch, channels)["image"]


def point_text(
    answers: Mapping[str, Answer], truth: Tensor, names: Sequence[str], x: float, y: float
) -> str:
    """The label at a point, and by what is read the most probable class there.

    Args:
        truth: (H, W) class ids, 255 = void.
        names: of the classes.
        x, y: in 0-1.
    """
    height, width = truth.shape
    row, column = min(int(y * height), height - 1), min(int(x * width), width - 1)
    true = int(truth[row, column])
    parts = []
    for name, one in answers.items():
        probabilities = one.probabilities(x, y)
        best = int(probabilities.argmax())
        part = f"{name}: {names[best]} {100 * probabilities[best]:.0f} %"
        if true != IGNORE_INDEX and best != true:
            part += f" ({names[true]} {100 * probabilities[true]:.0f} %)"
        parts.append(part)
    labelled = "void" if true == IGNORE_INDEX else names[true]
    return f"x {column}, y {row}: labelled {labelled}. Predicted with {'; '.join(parts)}."


def _channel(
    experiment: Experiment, label: Tensor, batch: ScoringBatch, pixel_std: float, seed: int
) -> Tensor:
    noising = replace(experiment.noising, pixel_std=pixel_std)
    return noise_by_frame(noising, label, batch.index, seed=seed)


@torch.no_grad()
def _answers(
    experiment: Experiment, batch: ScoringBatch, channels: Mapping[str, Tensor | None]
) -> dict[str, Answer]:
    size, label_size = tuple(batch.images.shape[2:]), tuple(batch.target.shape[1:])
    images = batch.images.expand(len(channels), -1, -1, -1)
    read = [channel for channel in channels.values() if channel is not None]
    inputs = assisted_input(images, torch.cat(read)) if read else images
    with full_float32(experiment.device):
        outputs = experiment.network(inputs)
        ids = predicted_classes(
            outputs.logits, outputs.stride, image_size=size, label_size=label_size
        )
    return {
        name: Answer(
            ids[i].cpu(), outputs.logits[i].cpu(), outputs.stride, size,
            None if channel is None else channel[0],
        )
        for i, (name, channel) in enumerate(channels.items())
    }  # fmt: skip
