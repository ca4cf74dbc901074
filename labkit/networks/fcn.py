"""FCN: a dilated encoder and a fully convolutional head, output stride 8.

Head: two 3x3 convolutions, their result joined with their input, one more 3x3, dropout .1, 1x1
classifier; a quarter of the encoder's last channels wide.

Source: Long et al. 2015, arXiv 1411.4038, in mmsegmentation's dilated form (D8).
Differs: smp's encoders have a 7x7 stem and dilate every 3x3 of the last two stages by 2 and 4, so
the parameter count is not mmsegmentation's, whose stem has three 3x3 convolutions and whose first
block of each stage is dilated by half. timm's "tu-resnet50c" and "tu-resnet101c" have that stem,
these dilations and that count.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from labkit.networks.base import SegmentationNetwork
from labkit.networks.encoders import dilated_encoder
from labkit.networks.heads import conv_bn_relu


class FCNDecoder(nn.Module):
    """Convolutions over the last stage, joined with what they read."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            conv_bn_relu(in_channels, channels, 3), conv_bn_relu(channels, channels, 3)
        )
        self.join = conv_bn_relu(in_channels + channels, channels, 3)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        last = features[-1]
        return self.join(torch.cat([last, self.convolutions(last)], dim=1))


def fcn(encoder: str, *, num_classes: int, download: object) -> SegmentationNetwork:
    """FCN over an encoder that can be dilated."""
    body = dilated_encoder(encoder, download=download)
    channels = body.out_channels[-1] // 4
    head = nn.Sequential(nn.Dropout2d(0.1), nn.Conv2d(channels, num_classes, 1))
    decoder = FCNDecoder(body.out_channels[-1], channels)
    return SegmentationNetwork(body, decoder, head, num_classes=num_classes, stride=8)


NETWORKS = {"fcn": fcn}
