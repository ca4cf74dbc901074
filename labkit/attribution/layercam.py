"""LayerCAM separately for the image and the label input, at a stem split into two additive
convolutions.

The stem (the first convolution that reads the input) is linear: conv([image, label]) =
conv_image(image) + conv_label(label) + bias. Both summands receive the same gradient, so LayerCAM's
weighted activations split exactly into an image and a label part, in one scale.

Source: LayerCAM, Jiang et al. 2021, doi 10.1109/TIP.2021.3089943; the split is ours.
"""

from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _BatchNorm

from labkit.attribution.common import (
    IMAGE_CHANNELS,
    Region,
    Score,
    check_categories,
    check_request,
    class_region,
    class_score,
    eval_float32,
    full_size_logits,
    hooks,
    record_and_clone,
    share_of,
    without_padding,
)
from labkit.networks import SegmentationNetwork, find_stem, pad_sides
from labkit.training.device import full_float32

Layer = Literal["folded", "raw"]


class BranchMaps(NamedTuple):
    """Maps at the stem's stride, unscaled: image and label share one unit (logits of the class
    score).

    Several classes asked for at once stand in a second axis: (N, G, h, w), (N, G).
    """

    image: Tensor  # (N, h, w), at least 0: LayerCAM of the image branch
    label: Tensor  # (N, h, w), at least 0: of the label branch
    image_signed: (
        Tensor  # (N, h, w), before the final ReLU; image_signed + label_signed = joint_signed
    )
    label_signed: Tensor  # (N, h, w)
    joint_signed: Tensor  # (N, h, w), of the undivided stem
    score: Tensor  # (N,), the class score; NaN where the region is empty, and so are the maps
    present: Tensor  # (N,) bool, False flags those frames


class BranchMeans(NamedTuple):
    """Means of each half of the stem over data, per stem channel (D,)."""

    image: Tensor
    label: Tensor


class StemView(NamedTuple):
    """The stem's inputs and output for one batch, and the logits computed from them."""

    image: Tensor  # (N, D, h, w), conv_image(image), no bias
    label: Tensor  # (N, D, h, w), conv_label(label), no bias
    joint: Tensor  # (N, D, h, w), output of the network's own stem minus its bias
    output: Tensor  # (N, D, h, w), the stem's output, a leaf of the graph
    logits: Tensor  # (N, K, H, W), full size, with the graph from `output`
    batchnorm: _BatchNorm | None  # the BatchNorm that reads the stem's output, if any


def branch_layercam(
    network: SegmentationNetwork,
    images: Tensor,
    label_channel: Tensor,
    *,
    category: int | Sequence[int],
    region: Region = "predicted",
    target: Tensor | None = None,
    score: Score = "logit",
    layer: Layer = "folded",
    means: BranchMeans | None = None,
) -> BranchMaps:
    """Evidence for a class that entered through the image, and through the label, in one scale.

    One forward pass serves every class; each class adds one backward pass, down to the stem only.

    Args:
        network: an assisted network on the images' device; unchanged afterwards (mode, gradients,
            hooks, random state).
        images: (N, 3, H, W), normalised.
        label_channel: (N, C, H, W), as a `LabelNoising` gives it.
        category: id of the class explained, or several ids; several add an axis G to every output.
        region: where the score is averaged: pixels predicted as the class, labelled as it, or both.
        target: (N, H, W) int64 at the images' size, needed for the regions true and both; no frame
            may be all void.
        score: "logit" of the class, or its "margin" over the best other class of each pixel.
        layer: "folded" = activations through the first BatchNorm and centred per branch; "raw" =
            the stem's own.
        means: what each branch is centred on (`branch_means`); needed for "folded".

    Returns:
        BranchMaps in float32; NaN, and present = False, for frames whose region is empty.

    Raises:
        ValueError: the network reads no label, the stem cannot be split or folded, an argument is
            missing or unknown.
    """
    check_request(network, images, label_channel, region=region, score=score, target=target)
    with eval_float32(network, images.device) as explained:
        view = view_stem(explained, images, label_channel)
        categories = check_categories(category, view.logits.shape[1])
        sign = _folding_sign(view.batchnorm, means) if layer == "folded" else 1.0
        branches = [view.image, view.label, view.joint]
        if layer == "folded":
            centre = [mean.to(view.image)[:, None, None] for mean in means]
            branches = [
                view.image - centre[0],
                view.label - centre[1],
                view.joint - (centre[0] + centre[1]),
            ]
        maps, scores = [], []
        for one in categories:
            inside = class_region(view.logits.detach(), category=one, region=region, target=target)
            value = class_score(view.logits, inside, category=one, score=score)
            maps.append(_signed_maps(value, view.output, branches, sign))
            scores.append(value.detach())
    by_branch = zip(*maps, strict=True)
    signed = [
        without_padding(torch.stack(branch, 1), images.shape[2:]) for branch in by_branch
    ]  # (N, G, h, w)
    scores = torch.stack(scores, 1)
    result = BranchMaps(signed[0].relu(), signed[1].relu(), *signed, scores, ~scores.isnan())
    if isinstance(category, int):
        return BranchMaps(*(part[:, 0] for part in result))
    return result


def layercam(activation: Tensor, gradient: Tensor) -> Tensor:
    """LayerCAM before its final ReLU: sum over channels of relu(gradient) * activation.

    (N, D, h, w) -> (N, h, w).
    """
    return (gradient.relu() * activation).sum(1)


def label_share(maps: BranchMaps) -> Tensor:
    """|label| / (|label| + |image|) over each frame's maps: (N,), NaN where there is no evidence at
    all.
    """
    return share_of(maps.label.sum((-2, -1)), maps.image.sum((-2, -1)))


def view_stem(network: SegmentationNetwork, images: Tensor, label_channel: Tensor) -> StemView:
    """One forward pass recorded at the stem, within `eval_float32`.

    Arguments as for `branch_layercam`; sides are padded.
    """
    _, stem = find_stem(network.encoder)
    image, label = split_stem(stem, pad_sides(images), pad_sides(label_channel))
    records: dict[str, Tensor | _BatchNorm] = {}

    def keep_output(module: nn.Module, inputs: tuple, output: Tensor) -> Tensor:
        records["clone"] = record_and_clone(output.detach().requires_grad_(), records, "output")
        return records["clone"]

    def note_batchnorm(module: nn.Module, inputs: tuple) -> None:
        if inputs[0] is records.get("clone"):
            records["batchnorm"] = module

    norms = [module for module in network.encoder.modules() if isinstance(module, _BatchNorm)]
    handles = [norm.register_forward_pre_hook(note_batchnorm) for norm in norms]
    with hooks([stem.register_forward_hook(keep_output), *handles]):
        logits = full_size_logits(network, images, label_channel)
    bias = 0 if stem.bias is None else stem.bias.detach()[:, None, None]
    output = records["output"]
    return StemView(image, label, output.detach() - bias, output, logits, records.get("batchnorm"))


def split_stem(stem: nn.Conv2d, images: Tensor, label_channel: Tensor) -> tuple[Tensor, Tensor]:
    """conv_image(image) and conv_label(label), without bias: two (N, D, h, w) that add up to the
    stem's output minus its bias.
    """
    slices = (
        stem.weight.detach()
        .float()
        .split([IMAGE_CHANNELS, stem.in_channels - IMAGE_CHANNELS], dim=1)
    )
    no_bias = (
        {} if stem.bias is None else {"bias": torch.zeros_like(stem.bias, dtype=torch.float32)}
    )
    with torch.no_grad(), full_float32(images.device):
        image, label = (
            functional_call(stem, {"weight": weight} | no_bias, (part.float(),))
            for weight, part in zip(slices, (images, label_channel), strict=True)
        )
    return image, label


def branch_means(
    network: SegmentationNetwork, batches: Iterable[tuple[Tensor, Tensor]]
) -> BranchMeans:
    """Mean of conv_image(image) and of conv_label(label) per stem channel, over frames and
    positions.

    Args:
        batches: images (N, 3, H, W) and label channels (N, C, H, W); the notebooks use 64 training
            images.

    Differs: both are measured. The BatchNorm's running mean minus the label's mean would be another
    estimate of the image's, but a branch that carries nothing would then be centred on something.
    """
    _, stem = find_stem(network.encoder)
    totals, count = None, 0
    for images, label_channel in batches:
        parts = split_stem(stem, images, label_channel)
        sums = [part.double().sum((0, 2, 3)) for part in parts]
        totals = (
            sums
            if totals is None
            else [total + one for total, one in zip(totals, sums, strict=True)]
        )
        count += parts[0][:, 0].numel()
    if count == 0:
        raise ValueError(
            "branch_means: got no batch; expected at least one of images and label channels."
        )
    return BranchMeans(*((total / count).float() for total in totals))


def _signed_maps(
    score: Tensor, output: Tensor, branches: list[Tensor], sign: Tensor | float
) -> list[Tensor]:
    """Per branch (N, h, w): sum over channels of the gradient where it has the sign, times the
    activation; NaN where score is.

    With sign 1 this is LayerCAM. In eval mode BatchNorm is y = s * (x - mean) + beta with s = gamma
    / sigma, so dS/dy = dS/dx / s and relu(dS/dy) * s * (x - mean) = (dS/dx where it has the sign of
    s, else 0) * (x - mean).
    """
    empty = score.isnan()
    if empty.all():
        return [torch.full_like(branch[:, 0], torch.nan) for branch in branches]
    (gradient,) = torch.autograd.grad(score.nansum(), output, retain_graph=True)
    gradient = torch.where(gradient * sign > 0, gradient, 0)
    return [
        (gradient * branch).sum(1).masked_fill(empty[:, None, None], torch.nan)
        for branch in branches
    ]


def _folding_sign(norm: _BatchNorm | None, means: BranchMeans | None) -> Tensor:
    """Sign of the BatchNorm's gain per channel, (D, 1, 1)."""
    if norm is None or norm.running_mean is None:
        raise ValueError(
            "branch_layercam: no BatchNorm reads this stem, so it cannot be folded; use "
            "layer='raw'."
        )
    if means is None:
        raise ValueError("branch_layercam: layer='folded' needs means; see branch_means.")
    gain = torch.ones_like(norm.running_mean) if norm.weight is None else norm.weight
    return gain.detach().float().sign()[:, None, None]
