"""Unet's decoder under CPU autocast: maps are doubled inside the convolution that follows.

A 3x3 convolution of a map doubled by nearest neighbours equals a transposed 4x4 convolution of
the map itself, whose taps are sums of the 3x3 ones. It takes 4/9 of the multiplications, and the
doubled map is never stored. Measured with torch 2.12 on one core in bf16, forward and backward of
such a layer take 51 to 65 % of the time where the maps of a batch have 2,000 positions and more.
"""

import torch
import torch.nn.functional as F
from segmentation_models_pytorch.decoders.unet.decoder import UnetDecoderBlock
from torch import Tensor, nn

LEAST_POSITIONS = 1024  # below, the larger kernel costs more than is saved


class DoublingBlock(UnetDecoderBlock):
    """A decoder block with the weights and, but for rounding, the results of smp's."""

    def forward(
        self,
        feature_map: Tensor,
        target_height: int,
        target_width: int,
        skip_connection: Tensor | None = None,
    ) -> Tensor:
        """As smp's: doubled map and skip connection, two convolutions."""
        n, channels, height, width = feature_map.shape
        doubled = (target_height, target_width) == (2 * height, 2 * width)
        pays = torch.is_autocast_enabled("cpu") and n * height * width >= LEAST_POSITIONS
        if not (doubled and pays):
            return super().forward(feature_map, target_height, target_width, skip_connection)
        convolution, norm, activation = self.conv1
        kernel = doubling_kernel(convolution.weight[:, :channels])
        values = F.conv_transpose2d(feature_map, kernel, stride=2, padding=1)
        if skip_connection is not None:
            values += F.conv2d(skip_connection, convolution.weight[:, channels:], padding=1)
        return self.conv2(activation(norm(values)))


def doubling_kernel(weight: Tensor) -> Tensor:
    """Kernel (C, O, 4, 4) of `conv_transpose2d` that doubles a map and convolves it.

    Args:
        weight: (O, C, 3, 3) of the convolution of the doubled map, padding 1.
    """
    sums = F.avg_pool2d(weight, 2, stride=1, padding=1, divisor_override=1)  # (O, C, 4, 4)
    return sums.flip(2, 3).transpose(0, 1)


def use_doubling_blocks(network: nn.Module) -> None:
    """Let the decoder of a Unet double its maps inside convolutions, in place."""
    for module in network.modules():
        if type(module) is UnetDecoderBlock:
            module.__class__ = DoublingBlock
