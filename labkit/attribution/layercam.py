"""LayerCAM separately for the image and the label input, at a stem split into two additive convolutions.

The stem is linear: conv([image, label]) = conv_image(image) + conv_label(label) + bias. Both summands meet the same
gradient, so LayerCAM's weighted activations split exactly into an image and a label part, in one scale.

Source: LayerCAM, Jiang et al. 2021, doi 10.1109/TIP.2021.3089943; the split is ours.
"""

import contextlib
from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _BatchNorm

from labkit.models import SIDE_MULTIPLE, SegmentationNetwork, find_stem, pad_sides

Region = Literal["predicted", "true", "both"]
IMAGE_CHANNELS = 3


class BranchMaps(NamedTuple):
    """Maps at the stem's stride, unscaled: image and label share one unit (logits of the class score)."""

    image: Tensor  # (N, h, w), at least 0: LayerCAM of the image branch
    label: Tensor  # (N, h, w), at least 0: of the label branch
    image_signed: Tensor  # (N, h, w), before the final ReLU; image_signed + label_signed = joint_signed
    label_signed: Tensor  # (N, h, w)
    joint_signed: Tensor  # (N, h, w), of the undivided stem
    score: Tensor  # (N,), mean logit over the region; NaN where the region is empty, and so are the maps


class StemView(NamedTuple):
    """What passes through the stem for one batch, and how the class score reacts."""

    image: Tensor  # (N, D, h, w), conv_image(image), no bias
    label: Tensor  # (N, D, h, w), conv_label(label), no bias
    joint: Tensor  # (N, D, h, w), what the network's own stem gave, bias taken off
    gradient: Tensor  # (N, D, h, w), of the score with respect to the stem's output
    score: Tensor  # (N,)
    batchnorm: _BatchNorm | None  # the BatchNorm that reads the stem's output, if any


def branch_layercam(
    network: SegmentationNetwork,
    images: Tensor,
    label_channel: Tensor,
    *,
    category: int,
    region: Region = "predicted",
    target: Tensor | None = None,
    layer: Literal["folded", "raw"] = "folded",
    label_mean: Tensor | None = None,
) -> BranchMaps:
    """How much of a class score came through the image, how much through the label?

    Args:
        network: an assisted network, on the images' device; left as it was (mode, gradients, hooks, randomness).
        images: (N, 3, H, W), normalised.
        label_channel: (N, C, H, W), as a `LabelNoising` gives it.
        category: class id whose logit is explained.
        region: where the logit is averaged: pixels predicted as the class, labelled as it, or both.
        target: (N, H, W) int64, needed for the regions true and both.
        layer: "folded" = activations through the first BatchNorm and centred per branch; "raw" = the stem's own.
        label_mean: (D,), mean of the label branch over data (`label_branch_mean`); needed for "folded".

    Returns:
        BranchMaps in float32; NaN for frames whose region is empty.

    Raises:
        ValueError: the network reads no label, the stem cannot be split or folded, an argument is missing.
    """
    view = view_stem(network, images, label_channel, category=category, region=region, target=target)
    if layer == "raw":
        parts = layercam(view.image, view.gradient), layercam(view.label, view.gradient), layercam(view.joint, view.gradient)
    else:
        gradient, image_mean, label_mean = _folded(view, label_mean, find_stem(network.encoder)[1])
        centred = view.image - image_mean, view.label - label_mean, view.joint - (image_mean + label_mean)
        parts = tuple((gradient * activation).sum(1) for activation in centred)
    parts = [part.masked_fill(view.score.isnan()[:, None, None], torch.nan) for part in parts]
    return BranchMaps(parts[0].relu(), parts[1].relu(), *parts, view.score)


def layercam(activation: Tensor, gradient: Tensor) -> Tensor:
    """LayerCAM before its final ReLU: sum over channels of relu(gradient) * activation. (N, D, h, w) -> (N, h, w)."""
    return (gradient.relu() * activation).sum(1)


def label_share(maps: BranchMaps) -> Tensor:
    """|label| / (|label| + |image|) over each frame's maps: (N,), NaN where there is no evidence at all."""
    image, label = maps.image.flatten(1).sum(1), maps.label.flatten(1).sum(1)
    return label / (label + image)


def view_stem(
    network: SegmentationNetwork, images: Tensor, label_channel: Tensor, *, category: int, region: Region, target: Tensor | None
) -> StemView:
    """One forward and one backward pass, seen at the stem. Arguments as for `branch_layercam`; float32 throughout."""
    if network.label_channels == 0:
        raise ValueError("branch_layercam: this network reads the image alone; expected an assisted one (label_channels > 0).")
    _, stem = find_stem(network.encoder)
    seen: dict[str, Tensor | _BatchNorm] = {}
    with _untouched(network), _full_precision(images.device), torch.enable_grad():
        image_part, label_part = split_stem(stem, pad_sides(images), pad_sides(label_channel))
        with _watch_stem(network.encoder, stem, seen):
            logits = network.to_full_size(network(torch.cat([images, label_channel], dim=1).float()), images.shape[2:])
        score = class_score(logits, category=category, region=region, target=target)
        gradient = torch.autograd.grad(score.nansum(), seen["output"])[0]
    bias = 0 if stem.bias is None else stem.bias.detach()[:, None, None]
    tensors = (image_part, label_part, seen["output"].detach() - bias, gradient)
    cropped = [_without_padding(value, images.shape[2:]) for value in tensors]
    return StemView(*cropped, score.detach(), seen.get("batchnorm"))


def split_stem(stem: nn.Conv2d, images: Tensor, label_channel: Tensor) -> tuple[Tensor, Tensor]:
    """conv_image(image) and conv_label(label), without bias: two (N, D, h, w) that add up to the stem's output minus its bias."""
    slices = stem.weight.detach().float().split([IMAGE_CHANNELS, stem.in_channels - IMAGE_CHANNELS], dim=1)
    no_bias = {} if stem.bias is None else {"bias": torch.zeros_like(stem.bias)}
    with torch.no_grad(), _full_precision(images.device):
        image, label = (
            functional_call(stem, {"weight": weight} | no_bias, (part.float(),))
            for weight, part in zip(slices, (images, label_channel), strict=True)
        )
    return image, label


def class_score(logits: Tensor, *, category: int, region: Region, target: Tensor | None) -> Tensor:
    """Mean logit of a class over a region of each frame.

    Args:
        logits: (N, K, H, W).

    Returns:
        (N,); NaN where the region is empty.
    """
    if not 0 <= category < logits.shape[1]:
        raise ValueError(f"class_score: category {category}; expected 0..{logits.shape[1] - 1}.")
    if region not in ("predicted", "true", "both"):
        raise ValueError(f"class_score: region {region!r}; expected predicted, true or both.")
    if region != "predicted" and target is None:
        raise ValueError(f"class_score: region {region!r} needs the target; pass target=(N, H, W).")
    inside = torch.ones_like(logits[:, 0], dtype=torch.bool)
    if region != "true":
        inside &= logits.argmax(1) == category
    if region != "predicted":
        inside &= target == category
    pixels = inside.flatten(1).sum(1)
    return (logits[:, category] * inside).flatten(1).sum(1) / torch.where(pixels > 0, pixels, torch.nan)


@torch.no_grad()
def label_branch_mean(network: SegmentationNetwork, label_channels: Iterable[Tensor]) -> Tensor:
    """Mean of conv_label(label) per stem channel over frames and positions.

    Args:
        label_channels: batches (N, C, H, W); 64 training images are what the notebooks state.

    Returns:
        (D,) float32. The image branch's mean is the BatchNorm's running mean (minus the stem's bias) minus this.
    """
    _, stem = find_stem(network.encoder)
    total, count = 0.0, 0
    for label_channel in label_channels:
        images = label_channel.new_zeros(len(label_channel), IMAGE_CHANNELS, *label_channel.shape[2:])
        _, label = split_stem(stem, images, label_channel)
        total, count = total + label.double().sum((0, 2, 3)), count + label[:, 0].numel()
    if count == 0:
        raise ValueError("label_branch_mean: no label channel came; expected at least one batch.")
    return (total / count).float()


def _folded(view: StemView, label_mean: Tensor | None, stem: nn.Conv2d) -> tuple[Tensor, Tensor, Tensor]:
    """Gradient of the folded LayerCAM, and the mean of each branch, (1, D, 1, 1).

    In eval mode BatchNorm is y = s * (x - mean) + beta with s = gamma / sigma, so dS/dy = dS/dx / s and
    relu(dS/dy) * s * (x - mean) = (dS/dx where it has the sign of s, else 0) * (x - mean).
    """
    norm = view.batchnorm
    if norm is None or norm.running_mean is None:
        raise ValueError("branch_layercam: no BatchNorm reads this stem, so it cannot be folded; use layer='raw'.")
    if label_mean is None:
        raise ValueError("branch_layercam: layer='folded' needs label_mean; see label_branch_mean.")
    sign = (torch.ones_like(norm.running_mean) if norm.weight is None else norm.weight).detach().float().sign()[:, None, None]
    gradient = torch.where(view.gradient * sign > 0, view.gradient, 0)
    running = norm.running_mean.float() - (0 if stem.bias is None else stem.bias.detach().float())
    label_mean = label_mean.to(running)
    return gradient, (running - label_mean)[None, :, None, None], label_mean[None, :, None, None]


def _without_padding(values: Tensor, size: tuple[int, int]) -> Tensor:
    """Cut (N, D, h, w) of a padded input down to what belongs to an image of `size`."""
    height, width = (side + -side % SIDE_MULTIPLE for side in size)
    stride_y, stride_x = height // values.shape[2], width // values.shape[3]
    return values[..., : -(-size[0] // stride_y), : -(-size[1] // stride_x)]


@contextlib.contextmanager
def _full_precision(device: torch.device) -> Iterator[None]:
    """Neither autocast nor TF32: the two halves of a stem must add up to what the network computed."""
    tf32_off = torch.backends.cudnn.flags(enabled=torch.backends.cudnn.enabled, allow_tf32=False)
    with torch.autocast(device.type, enabled=False), tf32_off:
        yield


@contextlib.contextmanager
def _watch_stem(encoder: nn.Module, stem: nn.Module, seen: dict) -> Iterator[None]:
    """Keep the stem's output as a leaf with a gradient, and find the BatchNorm that reads it."""

    def keep_output(module: nn.Module, inputs: tuple, output: Tensor) -> Tensor:
        seen["output"] = output.detach().requires_grad_()
        seen["passed_on"] = seen["output"].clone()  # what follows may rewrite it in place
        return seen["passed_on"]

    def note_batchnorm(module: nn.Module, inputs: tuple) -> None:
        if inputs[0] is seen.get("passed_on"):
            seen["batchnorm"] = module

    hooks = [stem.register_forward_hook(keep_output)]
    norms = [module for module in encoder.modules() if isinstance(module, _BatchNorm)]
    hooks += [norm.register_forward_pre_hook(note_batchnorm) for norm in norms]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


@contextlib.contextmanager
def _untouched(network: nn.Module) -> Iterator[None]:
    """Eval mode inside; every module's own mode afterwards."""
    training = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, mode in training:
            module.training = mode
