"""Maps under several noisings of the same label: their mean and their deviation."""

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from labkit.attribution.layercam import BranchMaps, branch_layercam, label_share
from labkit.networks import SegmentationNetwork


class NoisedMaps(NamedTuple):
    """Branch maps over M noisings.

    Deviations have ddof 1 and are NaN for one noising; shapes as in `BranchMaps`.
    """

    mean: BranchMaps  # over the noisings in which the region is not empty
    image_std: Tensor  # (N, h, w)
    label_std: Tensor  # (N, h, w)
    share: Tensor  # (M, N), label share under each noising


def noised_layercam(
    network: SegmentationNetwork, images: Tensor, label_channels: Iterable[Tensor], **options
) -> NoisedMaps:
    """`branch_layercam` under each of several label channels, averaged.

    Args:
        images: (N, 3, H, W).
        label_channels: M of (N, C, H, W), one per noising.
        options: as for `branch_layercam`.

    Raises:
        ValueError: no label channel, or as `branch_layercam`.
    """
    maps = [branch_layercam(network, images, one, **options) for one in label_channels]
    if not maps:
        raise ValueError("noised_layercam: got no label channel; expected at least one noising.")
    stacked = BranchMaps(*(torch.stack(parts) for parts in zip(*maps, strict=True)))
    mean = BranchMaps(*(part.nanmean(0) for part in stacked[:-1]), stacked.present.any(0))
    shares = torch.stack([label_share(one) for one in maps])
    return NoisedMaps(mean, nan_std(stacked.image), nan_std(stacked.label), shares)


def nan_std(values: Tensor) -> Tensor:
    """Standard deviation over the first axis, ddof 1, NaN left out; NaN where fewer than two values
    are left.
    """
    count = (~values.isnan()).sum(0)
    squares = (values - values.nanmean(0)).square().nansum(0)
    return (squares / torch.where(count > 1, count - 1, torch.nan)).sqrt()
