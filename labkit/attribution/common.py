"""What every attribution method here uses: the network in float32 eval mode, regions, class scores,
hooks, rank correlation.
"""

import contextlib
import copy
from collections.abc import Iterator, Sequence
from typing import Literal, get_args

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import Tensor

from labkit.method import IGNORE_INDEX, full_size
from labkit.networks import SIDE_MULTIPLE, SegmentationNetwork
from labkit.training.device import full_float32

Region = Literal["predicted", "true", "both"]
Score = Literal["logit", "margin"]
IMAGE_CHANNELS = 3


@contextlib.contextmanager
def eval_float32(
    network: SegmentationNetwork, device: torch.device
) -> Iterator[SegmentationNetwork]:
    """The network in eval mode and float32 with gradients on; every module's own mode afterwards.

    A network whose parameters have another type is replaced by a float32 copy.
    """
    other = any(p.is_floating_point() and p.dtype != torch.float32 for p in network.parameters())
    explained = copy.deepcopy(network).float() if other else network
    modes = [(module, module.training) for module in explained.modules()]
    explained.eval()
    try:
        with full_float32(device), torch.enable_grad():
            yield explained
    finally:
        for module, mode in modes:
            module.training = mode


def full_size_logits(network: SegmentationNetwork, images: Tensor, label_channel: Tensor) -> Tensor:
    """Logits (N, K, H, W) float32 at the images' size, of images (N, 3, H, W) and their label
    channel (N, C, H, W).
    """
    outputs = network(torch.cat([images, label_channel], dim=1).float())
    return full_size(outputs.logits, outputs.stride, images.shape[2:])


def check_request(
    network: SegmentationNetwork,
    images: Tensor,
    label_channel: Tensor,
    *,
    region: str,
    score: str,
    target: Tensor | None,
) -> None:
    """Refuse a request that has no answer.

    Raises:
        ValueError: the network reads no label, sizes differ, the region or score is unknown, or the
            target is missing or all void.
    """
    if network.label_channels == 0:
        raise ValueError(
            "attribution: this network reads the image alone; expected an assisted one "
            "(label_channels > 0)."
        )
    expected = (len(images), network.label_channels, *images.shape[2:])
    if tuple(label_channel.shape) != expected:
        raise ValueError(
            f"attribution: label_channel is {tuple(label_channel.shape)}; expected {expected}, "
            "as a LabelNoising returns it."
        )
    for name, value, known in (
        ("region", region, get_args(Region)),
        ("score", score, get_args(Score)),
    ):
        if value not in known:
            raise ValueError(f"attribution: {name} {value!r}; expected one of {', '.join(known)}.")
    if region != "predicted" and target is None:
        raise ValueError(f"attribution: region {region!r} needs the target; pass target=(N, H, W).")
    if target is not None:
        _check_target(images, target)


def _check_target(images: Tensor, target: Tensor) -> None:
    expected = (len(images), *images.shape[2:])
    if tuple(target.shape) != expected:
        raise ValueError(
            f"attribution: target is {tuple(target.shape)}; expected {expected}, the size of the "
            "images."
        )
    void = (target == IGNORE_INDEX).flatten(1).all(1)
    if void.any():
        frames, others = void.nonzero().flatten().tolist(), (~void).nonzero().flatten().tolist()
        raise ValueError(
            f"attribution: frames {frames} of the batch hold nothing but void, so nothing in them "
            "can be explained; "
            f"frames with labelled pixels: {others or 'none'}. Leave the void frames out."
        )


def check_categories(category: int | Sequence[int], num_classes: int) -> list[int]:
    """Class ids as a list; ValueError with the valid range where one does not exist."""
    categories = [category] if isinstance(category, int) else [int(one) for one in category]
    wrong = [one for one in categories if not 0 <= one < num_classes]
    if wrong or not categories:
        given = ", ".join(map(str, wrong)) or "none"
        raise ValueError(
            f"attribution: category {given}; the network's classes are 0..{num_classes - 1}."
        )
    return categories


def class_region(logits: Tensor, *, category: int, region: Region, target: Tensor | None) -> Tensor:
    """(N, H, W) bool: pixels predicted as the class, labelled as it, or both.

    Logits (N, K, H, W).
    """
    inside = torch.ones_like(logits[:, 0], dtype=torch.bool)
    if region != "true":
        inside &= logits.argmax(1) == category
    if region != "predicted":
        inside &= target == category
    return inside


def class_score(logits: Tensor, inside: Tensor, *, category: int, score: Score = "logit") -> Tensor:
    """A class's mean logit, or its mean margin over the best other class, over a region of each
    frame.

    Args:
        logits: (N, K, H, W).
        inside: (N, H, W) bool.

    Returns:
        (N,); NaN where the region is empty.
    """
    values = logits[:, category]
    if score == "margin":
        others = torch.cat([logits[:, :category], logits[:, category + 1 :]], dim=1)
        values = values - others.max(1).values
    pixels = inside.flatten(1).sum(1)
    return (values * inside).flatten(1).sum(1) / torch.where(pixels > 0, pixels, torch.nan)


def without_padding(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Cut maps (..., h, w) of a padded input down to the positions that belong to an image of
    `size`.
    """
    height, width = (side + -side % SIDE_MULTIPLE for side in size)
    stride_y, stride_x = height / maps.shape[-2], width / maps.shape[-1]
    return maps[..., : -int(-size[0] // stride_y), : -int(-size[1] // stride_x)]


def record_and_clone(output: Tensor, records: dict, name: str) -> Tensor:
    """Keep a module's output in `records` and return a clone: a later in-place layer may overwrite
    the clone.
    """
    records[name] = output
    return output.clone()


@contextlib.contextmanager
def hooks(handles: Sequence[torch.utils.hooks.RemovableHandle]) -> Iterator[None]:
    """Removes the hooks afterwards, whatever happens."""
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def rank_correlation(one: np.ndarray | Tensor, other: np.ndarray | Tensor) -> float:
    """Spearman's correlation of two arrays of the same size; NaN where either is constant or holds
    fewer than two values.
    """
    one, other = (np.asarray(values, dtype=np.float64).ravel() for values in (one, other))
    if one.size < 2 or np.ptp(one) == 0 or np.ptp(other) == 0:
        return float("nan")
    return float(spearmanr(one, other).statistic)


def share_of(label: Tensor, image: Tensor) -> Tensor:
    """|label| / (|label| + |image|), element by element; NaN where both are 0."""
    return label.abs() / (label.abs() + image.abs())
