"""What every method here is built from: a look into a network that leaves no trace, and the score that is explained."""

import contextlib
import copy
from collections.abc import Iterator, Sequence
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from labkit.lnm import IGNORE_INDEX
from labkit.models import SIDE_MULTIPLE, SegmentationNetwork

Region = Literal["predicted", "true", "both"]
Score = Literal["logit", "margin"]
IMAGE_CHANNELS = 3


@contextlib.contextmanager
def looking_into(network: SegmentationNetwork, device: torch.device) -> Iterator[SegmentationNetwork]:
    """The network in eval mode and float32 with gradients on; every module's own mode afterwards.

    A network whose parameters are of another type is looked at through a float32 copy.
    """
    other = any(parameter.is_floating_point() and parameter.dtype != torch.float32 for parameter in network.parameters())
    looked_at = copy.deepcopy(network).float() if other else network
    training = [(module, module.training) for module in looked_at.modules()]
    looked_at.eval()
    try:
        with full_precision(device), torch.enable_grad():
            yield looked_at
    finally:
        for module, mode in training:
            module.training = mode


@contextlib.contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """Neither autocast nor TF32: the two halves of a stem must add up to what the network computed."""
    tf32_off = torch.backends.cudnn.flags(enabled=torch.backends.cudnn.enabled, allow_tf32=False)
    with torch.autocast(device.type, enabled=False), tf32_off:
        yield


def full_size_logits(network: SegmentationNetwork, images: Tensor, label_channel: Tensor) -> Tensor:
    """Full-size logits (N, K, H, W) float32 of images (N, 3, H, W) and label channel (N, C, H, W)."""
    return network.to_full_size(network(torch.cat([images, label_channel], dim=1).float()), images.shape[2:])


def check_request(
    network: SegmentationNetwork, images: Tensor, label_channel: Tensor, *, region: str, score: str, target: Tensor | None
) -> None:
    """Refuse what cannot be explained, in words.

    Raises:
        ValueError: the network reads no label, sizes differ, no such region or score, the target is missing or all void.
    """
    if network.label_channels == 0:
        raise ValueError("attribution: this network reads the image alone; expected an assisted one (label_channels > 0).")
    expected = (len(images), network.label_channels, *images.shape[2:])
    if tuple(label_channel.shape) != expected:
        raise ValueError(f"attribution: label_channel is {tuple(label_channel.shape)}; expected {expected}, as a LabelNoising gives it.")
    for name, value, known in (("region", region, get_args(Region)), ("score", score, get_args(Score))):
        if value not in known:
            raise ValueError(f"attribution: {name} {value!r}; expected one of {', '.join(known)}.")
    if region != "predicted" and target is None:
        raise ValueError(f"attribution: region {region!r} needs the target; pass target=(N, H, W).")
    if target is not None:
        void = (target == IGNORE_INDEX).flatten(1).all(1)
        if void.any():
            frames, others = void.nonzero().flatten().tolist(), (~void).nonzero().flatten().tolist()
            raise ValueError(
                f"attribution: frames {frames} of the batch are void alone, so nothing in them can be explained; "
                f"frames with labelled pixels: {others or 'none'}. Leave the void ones out."
            )


def checked_categories(category: int | Sequence[int], num_classes: int) -> list[int]:
    """Class ids as a list; a ValueError says which exist."""
    categories = [category] if isinstance(category, int) else [int(one) for one in category]
    wrong = [one for one in categories if not 0 <= one < num_classes]
    if wrong or not categories:
        said = ", ".join(map(str, wrong)) or "none"
        raise ValueError(f"attribution: category {said}; the network's classes are 0..{num_classes - 1}.")
    return categories


def class_region(logits: Tensor, *, category: int, region: Region, target: Tensor | None) -> Tensor:
    """(N, H, W) bool: pixels predicted as the class, labelled as it, or both. Logits (N, K, H, W)."""
    inside = torch.ones_like(logits[:, 0], dtype=torch.bool)
    if region != "true":
        inside &= logits.argmax(1) == category
    if region != "predicted":
        inside &= target == category
    return inside


def class_score(logits: Tensor, inside: Tensor, *, category: int, score: Score = "logit") -> Tensor:
    """A class's mean logit, or its mean margin over the best other class, over a region of each frame.

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
    """Cut maps (..., h, w) of a padded input down to what belongs to an image of `size`."""
    height, width = (side + -side % SIDE_MULTIPLE for side in size)
    stride_y, stride_x = height / maps.shape[-2], width / maps.shape[-1]
    return maps[..., : -int(-size[0] // stride_y), : -int(-size[1] // stride_x)]


def passed_on(output: Tensor, seen: dict, name: str) -> Tensor:
    """Keep a module's output in `seen` and pass a clone on: what follows may rewrite it in place."""
    seen[name] = output
    return output.clone()


@contextlib.contextmanager
def hooks(handles: Sequence[torch.utils.hooks.RemovableHandle]) -> Iterator[None]:
    """Hooks that are gone afterwards, whatever happens."""
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def modules_with_parameters(network: nn.Module) -> list[tuple[str, nn.Module]]:
    """Modules that hold parameters of their own, by name."""
    return [(name, module) for name, module in network.named_modules() if module._parameters]
