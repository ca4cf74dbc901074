"""Two-player Shapley values: what image and label each add to a class score, their interaction
shared equally.

With two players the value is exact in four forward passes. Baselines: a label channel of zeros; an
image of zeros, which is the data set's mean image, because images are normalised.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from labkit.attribution.common import (
    Region,
    Score,
    check_categories,
    check_request,
    class_region,
    class_score,
    eval_float32,
    full_size_logits,
)
from labkit.networks import SegmentationNetwork


class Coalitions(NamedTuple):
    """A value for each of the four sets of players."""

    nothing: Tensor  # both at their baselines
    image: Tensor  # the image alone: the label is zero
    label: Tensor  # the label alone: the image is blank
    both: Tensor


class Shapley(NamedTuple):
    """Shapley values: image + label = v(both) - v(nothing)."""

    image: Tensor
    label: Tensor


def shapley_values(v: Coalitions) -> Shapley:
    """Each player's mean marginal contribution over the two orders of joining.

    Source: Shapley 1953; for two players phi_image = ((v(image) - v(nothing)) + (v(both) -
        v(label))) / 2.
    """
    image = ((v.image - v.nothing) + (v.both - v.label)) / 2
    label = ((v.label - v.nothing) + (v.both - v.image)) / 2
    return Shapley(image, label)


def coalitions(
    value: Callable[[Tensor, Tensor], Tensor],
    image: Tensor,
    label: Tensor,
    *,
    baselines: tuple[Tensor, Tensor],
) -> Coalitions:
    """A function of two players at the four coalitions.

    Args:
        value: (image, label) -> tensor.
        baselines: the values used for an absent image and an absent label.
    """
    no_image, no_label = baselines
    return Coalitions(
        value(no_image, no_label),
        value(image, no_label),
        value(no_image, label),
        value(image, label),
    )


@torch.no_grad()
def coalition_logits(
    network: SegmentationNetwork, images: Tensor, label_channel: Tensor
) -> Coalitions:
    """Full-size logits (N, K, H, W) of the four coalitions, in float32; blank image and zero label
    are zeros.
    """
    with eval_float32(network, images.device) as explained, torch.no_grad():
        return coalitions(
            lambda image, label: full_size_logits(explained, image, label),
            images, label_channel,
            baselines=(torch.zeros_like(images), torch.zeros_like(label_channel)),
        )  # fmt: skip


def branch_shapley(
    network: SegmentationNetwork,
    images: Tensor,
    label_channel: Tensor,
    *,
    category: int | Sequence[int],
    region: Region = "predicted",
    target: Tensor | None = None,
    score: Score = "logit",
) -> Shapley:
    """Shapley values of image and label for a class score.

    Arguments and errors as for `branch_layercam`. The region is the one of image and true label
    together, for every coalition.

    Returns:
        (N,) each, (N, G) for several classes; NaN where the region is empty.
    """
    check_request(network, images, label_channel, region=region, score=score, target=target)
    found = scored_shapley(
        coalition_logits(network, images, label_channel),
        category=category,
        region=region,
        target=target,
        score=score,
    )
    return Shapley(*(part[:, 0] for part in found)) if isinstance(category, int) else found


def scored_shapley(
    logits: Coalitions,
    *,
    category: int | Sequence[int],
    region: Region,
    target: Tensor | None,
    score: Score,
) -> Shapley:
    """Shapley values (N, G) of class scores from the logits of the four coalitions."""
    found = []
    for one in check_categories(category, logits.both.shape[1]):
        inside = class_region(logits.both, category=one, region=region, target=target)
        found.append(
            Coalitions(*(class_score(part, inside, category=one, score=score) for part in logits))
        )
    return shapley_values(Coalitions(*(torch.stack(part, 1) for part in zip(*found, strict=True))))
