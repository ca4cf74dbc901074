"""OCRNet: object-contextual representations over HRNet (stride 4) or a dilated encoder (stride 8).

The region head's logits gather one vector per class; pixels attend to these vectors. The region
head runs once, in inference too; its loss is the network's auxiliary loss.

Source: Yuan et al. 2020, arXiv 1909.11065, with mmsegmentation's widths (512, keys 256).
Differs: HRNet is timm's, which upsamples by nearest neighbour inside, as its weights expect. The
dilated form has mmsegmentation's parameter count with "tu-resnet50c"; for stems and dilations of
other encoders see `fcn`. With hard_pixels the region head's loss has hard pixels, too.
"""

from collections.abc import Sequence

import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labkit.networks.base import SegmentationNetwork
from labkit.networks.encoders import TIMM, dilated_encoder
from labkit.networks.heads import conv_bn_relu

CHANNELS, KEYS = 512, 256
REGION = "auxiliary"  # name of the region head's logits and loss


class HRNetEncoder(nn.Module):
    """timm's HRNet with its four branches as they are, w to 8w channels at strides 4 to 32.

    Attributes:
        out_channels: of the input, the stem and every branch.
    """

    def __init__(self, name: str, *, pretrained: bool) -> None:
        super().__init__()
        self.model = timm.create_model(
            name, features_only=True, feature_location="", pretrained=pretrained
        )
        self.out_channels = [3, *self.model.feature_info.channels()]
        self.output_stride = 32

    def forward(self, inputs: Tensor) -> list[Tensor]:
        return [inputs, *self.model(inputs)]


class Regions(nn.Module):
    """One vector per class, and what each pixel draws from them."""

    def __init__(self) -> None:
        super().__init__()
        self.query = nn.Sequential(conv_bn_relu(CHANNELS, KEYS, 1), conv_bn_relu(KEYS, KEYS, 1))
        self.key = nn.Sequential(conv_bn_relu(CHANNELS, KEYS, 1), conv_bn_relu(KEYS, KEYS, 1))
        self.value = conv_bn_relu(CHANNELS, KEYS, 1)
        self.out = conv_bn_relu(KEYS, CHANNELS, 1)

    def forward(self, pixels: Tensor, region_logits: Tensor) -> Tensor:
        """Context (N, 512, h, w) of pixels (N, 512, h, w) by logits (N, K, h, w)."""
        weights = region_logits.flatten(2).softmax(2)  # over positions, per class
        regions = torch.einsum("nkp,ncp->nck", weights, pixels.flatten(2)).unsqueeze(3)
        query = self.query(pixels).flatten(2)  # (N, 256, h*w)
        key, value = self.key(regions).flatten(2), self.value(regions).flatten(2)  # (N, 256, K)
        attention = (torch.einsum("ncp,nck->npk", query, key) * KEYS**-0.5).softmax(2)
        context = torch.einsum("npk,nck->ncp", attention, value)
        return self.out(context.unflatten(2, pixels.shape[2:]))


class OCRDecoder(nn.Module):
    """Region logits, pixel features and their object context.

    Args:
        region_channels, region_width: input and inner width of the region head.
        pixel_channels: input of the pixel features.
        region_kernel: of the region head's first convolution.
    """

    def __init__(
        self,
        region_channels: int,
        pixel_channels: int,
        *,
        region_width: int,
        region_kernel: int,
        num_classes: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.region = nn.Sequential(
            conv_bn_relu(region_channels, region_width, region_kernel),
            nn.Conv2d(region_width, num_classes, 1),
        )
        self.pixels = conv_bn_relu(pixel_channels, CHANNELS, 3)
        self.regions = Regions()
        self.join = nn.Sequential(conv_bn_relu(2 * CHANNELS, CHANNELS, 1), nn.Dropout2d(dropout))

    def forward(self, for_regions: Tensor, for_pixels: Tensor) -> tuple[Tensor, Tensor]:
        """What the head reads (N, 512, h, w), and region logits (N, K, h, w)."""
        region_logits = self.region(for_regions)
        pixels = self.pixels(for_pixels)
        context = self.regions(pixels, region_logits)
        return self.join(torch.cat([context, pixels], dim=1)), region_logits


class OCRNet(SegmentationNetwork):
    """OCRNet over HRNet or over a dilated encoder."""

    def decode(self, features: Sequence[Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        if isinstance(self.encoder, HRNetEncoder):
            size = features[2].shape[2:]
            branches = [
                F.interpolate(branch, size, mode="bilinear", align_corners=False)
                for branch in features[2:]
            ]
            joined = torch.cat(branches, dim=1)
            decoded, region_logits = self.decoder(joined, joined)
        else:
            decoded, region_logits = self.decoder(features[-2], features[-1])
        with_loss = self.training and self.auxiliary_weight > 0
        return self.segmentation_head(decoded), {REGION: region_logits} if with_loss else {}

    def auxiliary_heads(self) -> dict[str, nn.Module]:
        """None of its own: the region head is part of the decoder."""
        return {}


def ocrnet(encoder: str, *, num_classes: int, download: object) -> SegmentationNetwork:
    """OCRNet; `tu-hrnet_*` gives the HRNet form, every other encoder the dilated one."""
    bare = encoder.removeprefix(TIMM)
    if bare.startswith("hrnet"):
        body: nn.Module = HRNetEncoder(bare, pretrained=bool(download))
        channels = sum(body.out_channels[2:])
        shape = {"region_width": channels, "region_kernel": 1, "dropout": 0.0}
        decoder = OCRDecoder(channels, channels, num_classes=num_classes, **shape)
        stride = 4
    else:
        body = dilated_encoder(encoder, download=download)
        before, last = body.out_channels[-2:]
        shape = {"region_width": before // 4, "region_kernel": 3, "dropout": 0.1}
        decoder = OCRDecoder(before, last, num_classes=num_classes, **shape)
        stride = 8
    head = nn.Conv2d(CHANNELS, num_classes, 1)
    return OCRNet(body, decoder, head, num_classes=num_classes, stride=stride)


NETWORKS = {"ocrnet": ocrnet}
