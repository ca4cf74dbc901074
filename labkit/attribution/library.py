"""The same maps by the grad-cam library, as most papers draw them; the only module that imports
pytorch_grad_cam.

The library scales every map to 0-1 on its own, so maps of two inputs lose their common scale;
`04_attribution` draws both.
"""

import copy

import numpy as np
import torch
from torch import Tensor, nn

from labkit.attribution.common import IMAGE_CHANNELS
from labkit.networks import SegmentationNetwork, find_stem, pad_sides
from labkit.networks.export import FullSizeLogits
from labkit.training.device import full_float32


class SplitStem(nn.Module):
    """A stem as two convolutions that add up, so that a library can hook either."""

    def __init__(self, stem: nn.Conv2d) -> None:
        super().__init__()
        self.image, self.label = copy.deepcopy(stem), copy.deepcopy(stem)
        self.image.in_channels, self.label.in_channels = (
            IMAGE_CHANNELS,
            stem.in_channels - IMAGE_CHANNELS,
        )
        self.image.weight = nn.Parameter(stem.weight.detach()[:, :IMAGE_CHANNELS].clone())
        self.label.weight = nn.Parameter(stem.weight.detach()[:, IMAGE_CHANNELS:].clone())
        self.image.bias, self.label.bias = None, None
        self.bias = stem.bias

    def forward(self, inputs: Tensor) -> Tensor:
        joint = self.image(inputs[:, :IMAGE_CHANNELS]) + self.label(inputs[:, IMAGE_CHANNELS:])
        return joint if self.bias is None else joint + self.bias[:, None, None]


class MeanLogit:
    """grad-cam target: mean logit of a class over a region (H, W) bool."""

    def __init__(self, category: int, region: Tensor) -> None:
        self.category, self.region = category, region

    def __call__(self, logits: Tensor) -> Tensor:
        return logits[self.category][self.region].mean()


def library_layercam(
    network: SegmentationNetwork,
    images: Tensor,
    label_channel: Tensor,
    *,
    category: int,
    region: Tensor,
) -> dict[str, np.ndarray]:
    """pytorch_grad_cam.LayerCAM at the image and at the label half of the stem, scaled as the
    library scales.

    Args:
        network: an assisted network; a float32 copy is used, the original is not changed.
        images: (N, 3, H, W); label_channel: (N, C, H, W).
        region: (N, H, W) bool, not empty in any frame: where the logit of `category` is averaged.

    Returns:
        {"image": (N, H, W), "label": (N, H, W)}, float32, each frame's maximum at most 1.
    """
    from pytorch_grad_cam import LayerCAM  # slow to import

    full = FullSizeLogits(copy.deepcopy(network)).float().eval()
    name, stem = find_stem(full.network.encoder)
    split = SplitStem(stem)
    full.network.encoder.set_submodule(name, split)
    full.requires_grad_(True)  # the library crashes on frozen parameters
    inputs = pad_sides(
        torch.cat([images, label_channel], dim=1).float()
    )  # the library places maps by the input's size
    height, width = images.shape[2:]
    inside = torch.zeros(inputs[:, 0].shape, dtype=torch.bool, device=region.device)
    inside[:, :height, :width] = region
    targets = [MeanLogit(category, one) for one in inside]
    maps = {}
    for branch, layer in (("image", split.image), ("label", split.label)):
        cam = LayerCAM(full, [layer])
        try:  # its own `with` form swallows IndexError
            with full_float32(images.device), torch.enable_grad():
                maps[branch] = cam(inputs, targets=targets)[:, :height, :width]
        finally:
            cam.activations_and_grads.release()
    return maps
