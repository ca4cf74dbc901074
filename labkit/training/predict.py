"""Predictors: outputs from the image alone, or with the true, a foreign or an empty label."""

import torch
import torch.nn.functional as F
from torch import Tensor

from labkit.datasets.batches import ScoringBatch
from labkit.method import LabelNoising, Outputs, full_size
from labkit.method.seeding import stream_generator
from labkit.method.steps import assisted_input
from labkit.networks import SegmentationNetwork

BLOCK_VALUES = 2**25  # full-size logits held at once by `predicted_classes`: 128 MiB of float32


def predict_from_image(network: SegmentationNetwork, batch: ScoringBatch) -> Outputs:
    """Outputs of a network that reads the image alone."""
    return network(batch.images)


def predict_with_label(
    teacher: SegmentationNetwork, batch: ScoringBatch, noising: LabelNoising, *, seed: int
) -> Outputs:
    """Outputs of an assisted teacher that reads the true label; noise follows (seed, frame)."""
    label_channel = noise_by_frame(noising, batch.label, batch.index, seed=seed)
    return teacher(assisted_input(batch.images, label_channel))


def predict_with_foreign_label(
    teacher: SegmentationNetwork, batch: ScoringBatch, noising: LabelNoising, *, seed: int
) -> Outputs:
    """Outputs of an assisted teacher that reads another frame's label: well formed but wrong."""
    label_channel = noise_by_frame(noising, batch.foreign_label, batch.index, seed=seed)
    return teacher(assisted_input(batch.images, label_channel))


def predict_with_zero_label(teacher: SegmentationNetwork, batch: ScoringBatch) -> Outputs:
    """Outputs of an assisted teacher that reads an empty label channel."""
    images = batch.images
    zeros = images.new_zeros(len(images), teacher.label_channels, *images.shape[2:])
    return teacher(assisted_input(images, zeros))


def noise_by_frame(noising: LabelNoising, label: Tensor, index: Tensor, *, seed: int) -> Tensor:
    """Label channels whose noise belongs to each frame, however the frames are batched.

    Args:
        label: (N, H, W) int64.
        index: (N,) positions in the split.

    Returns:
        (N, C, H, W) float32.
    """
    streams = [
        stream_generator("evaluation noise", seed, i, device=label.device) for i in index.tolist()
    ]
    frames = zip(label, streams, strict=True)
    return torch.cat([noising(frame[None], generator=stream) for frame, stream in frames])


def label_size_logits(
    logits: Tensor, stride: int, *, image_size: tuple[int, int], label_size: tuple[int, int]
) -> Tensor:
    """Logits at the label's own size, bilinear; (N, K, h, w) -> (N, K, H, W) float32.

    Args:
        image_size: of the network's input; logits * stride covers it.
        label_size: of the label; where it differs the logits are resized once more.
    """
    full = full_size(logits, stride, image_size)
    if image_size == label_size:
        return full
    return F.interpolate(full, label_size, mode="bilinear", align_corners=False)


def predicted_classes(
    logits: Tensor,
    stride: int,
    *,
    image_size: tuple[int, int],
    label_size: tuple[int, int],
    block_values: int = BLOCK_VALUES,
) -> Tensor:
    """Class of the largest logit at the label's own size, a block of classes at a time.

    Args:
        logits, stride, image_size, label_size: as for `label_size_logits`.
        block_values: full-size logits held at once, numbers.

    Returns:
        (N, H, W) int64; equal logits give the lowest class.
    """
    n, num_classes = logits.shape[:2]
    pixels = n * max(label_size[0] * label_size[1], image_size[0] * image_size[1])
    step = max(1, block_values // pixels)
    best_value = best_class = None
    for start in range(0, num_classes, step):
        block = logits[:, start : start + step]
        full = label_size_logits(block, stride, image_size=image_size, label_size=label_size)
        value, category = full.max(1)
        if best_value is None:
            best_value, best_class = value, category
        else:
            better = value > best_value
            best_value = torch.where(better, value, best_value)
            best_class = torch.where(better, category + start, best_class)
    return best_class
