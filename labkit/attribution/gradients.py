"""Integrated gradients over both inputs, with their completeness error. The only door to captum.

Source: Sundararajan et al. 2017, arXiv 1703.01365, as captum computes it.
"""

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


class InputGradients(NamedTuple):
    """Integrated gradients from blank image and zero label to both; sums are in the unit of the
    class score.
    """

    image_map: Tensor  # (N, H, W), summed over RGB
    label_map: Tensor  # (N, H, W), summed over label channels
    image: Tensor  # (N,), sum of image_map
    label: Tensor  # (N,)
    difference: Tensor  # (N,), score of both minus score of nothing; image + label approximate it
    error: Tensor  # (N,), image + label - difference; all are NaN where the region is empty


def integrated_gradients(
    network: SegmentationNetwork,
    images: Tensor,
    label_channel: Tensor,
    *,
    category: int,
    region: Region = "predicted",
    target: Tensor | None = None,
    score: Score = "logit",
    steps: int = 32,
) -> InputGradients:
    """Share of each input pixel in a class score, along the straight line from blank image and zero
    label to both inputs.

    Args:
        steps: points of the Gauss-Legendre rule, >= 1.
        others: as for `branch_layercam`; the region is that of image and true label together.
    """
    from captum.attr import IntegratedGradients  # slow to import

    check_request(network, images, label_channel, region=region, score=score, target=target)
    with eval_float32(network, images.device) as explained:
        with torch.no_grad():
            logits = full_size_logits(explained, images, label_channel)
        (category,) = check_categories(category, logits.shape[1])
        inside = class_region(logits, category=category, region=region, target=target)

        def value(image: Tensor, label: Tensor, where: Tensor) -> Tensor:
            return class_score(
                full_size_logits(explained, image, label), where, category=category, score=score
            )

        parts, error = IntegratedGradients(value).attribute(
            (images, label_channel), baselines=(0.0, 0.0),
            additional_forward_args=(inside,), n_steps=steps,
            internal_batch_size=max(len(images), 8), return_convergence_delta=True,
        )  # fmt: skip
    empty = ~inside.flatten(1).any(1)
    image_map, label_map = (
        part.detach().sum(1).masked_fill(empty[:, None, None], torch.nan) for part in parts
    )
    image, label = image_map.sum((1, 2)), label_map.sum((1, 2))
    error = error.detach().to(image).masked_fill(empty, torch.nan)
    return InputGradients(image_map, label_map, image, label, image + label - error, error)
