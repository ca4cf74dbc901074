"""STDC-Seg: short-term dense concatenation encoder, context path, feature fusion; output stride 8.

Auxiliary heads in training: class logits of both levels of the context path, and a detail head
that predicts class borders from the stride-8 stage.

Source: Fan et al. 2021, arXiv 2104.13188, in the form of its public code (heads without bias).
Differs: detail heads of strides 2, 4 and 16, which no loss reads, are not built; the classifier
tail of the encoder neither. The detail target is `boundary_mask` at full size: both sides of a
border, independent of class numbers; void and the image's frame are no border, and void is left
out of both detail losses. (In the public code only the side of the higher class number fires, the
frame and void fire, and the stride-4 map has no effect.)
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labkit.method import IGNORE_INDEX, boundary_mask, full_size
from labkit.networks.base import SegmentationNetwork
from labkit.networks.encoders import plain_encoder
from labkit.networks.heads import conv_bn, conv_bn_relu
from labkit.networks.stdc_encoder import STDC_BLOCKS, STDCEncoder

CONTEXT = 128  # channels of the context path
FUSED = 256
DETAIL = "detail"


class Attention(nn.Module):
    """A 3x3 convolution whose channels are scaled by a sigmoid of their global mean."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.convolution = conv_bn_relu(in_channels, CONTEXT, 3)
        self.scale = conv_bn(CONTEXT, CONTEXT, 1)

    def forward(self, features: Tensor) -> Tensor:
        features = self.convolution(features)
        return features * self.scale(features.mean((2, 3), keepdim=True)).sigmoid()


class STDCDecoder(nn.Module):
    """Context path over the strides 16 and 32, fused with the stride-8 stage."""

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        at_8, at_16, at_32 = channels[-3:]
        self.mean = conv_bn_relu(at_32, CONTEXT, 1)
        self.attention_32, self.attention_16 = Attention(at_32), Attention(at_16)
        self.smooth_16, self.smooth_8 = (conv_bn_relu(CONTEXT, CONTEXT, 3) for _ in range(2))
        self.fuse = conv_bn_relu(at_8 + CONTEXT, FUSED, 1)
        self.squeeze = nn.Conv2d(FUSED, FUSED // 4, 1, bias=False)
        self.excite = nn.Conv2d(FUSED // 4, FUSED, 1, bias=False)

    def forward(self, features: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Fused (N, 256, H/8, W/8), and the context path at strides 8 and 16."""
        f8, f16, f32 = features[-3:]
        mean = self.mean(f32.mean((2, 3), keepdim=True))
        h16 = self.attention_32(f32) + mean
        h16 = self.smooth_16(F.interpolate(h16, f16.shape[2:], mode="nearest"))
        h8 = self.attention_16(f16) + h16
        h8 = self.smooth_8(F.interpolate(h8, f8.shape[2:], mode="nearest"))
        fused = self.fuse(torch.cat([f8, h8], dim=1))
        scale = self.squeeze(fused.mean((2, 3), keepdim=True)).relu()
        return fused * self.excite(scale).sigmoid() + fused, h8, h16


class STDCSegmentation(SegmentationNetwork):
    """STDC-Seg with its two auxiliary class heads and its detail head."""

    def decode(self, features: Sequence[Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        fused, h8, h16 = self.decoder(features)
        logits = self.segmentation_head(fused)
        if not (self.training and self.auxiliary):
            return logits, {}
        read = {"auxiliary_8": h8, "auxiliary_16": h16, DETAIL: features[-3]}
        return logits, {name: self.auxiliary[name](read[name]) for name in self.auxiliary}

    def auxiliary_heads(self) -> dict[str, nn.Module]:
        return {
            "auxiliary_8": stdc_head(CONTEXT, 64, self.num_classes),
            "auxiliary_16": stdc_head(CONTEXT, 64, self.num_classes),
            DETAIL: stdc_head(self.encoder.out_channels[-3], 64, 1),
        }

    @property
    def own_losses(self) -> dict[str, Callable[..., Tensor]]:
        """The detail head predicts borders, no classes."""
        return {DETAIL: detail_loss}


def detail_loss(logits: Tensor, target: Tensor, *, stride: int) -> Tensor:
    """How well borders between classes are predicted: binary cross-entropy plus Dice.

    Args:
        logits: (N, 1, h, w), of "a border runs here".
        target: (N, H, W) class ids, 255 = void.
        stride: input pixels per logit.

    Returns:
        Scalar: binary cross-entropy, mean over labelled pixels, in nats, plus 1 - Dice, mean over
        images; 0 where every pixel is void.
    """
    labelled = (target != IGNORE_INDEX).float()
    border = boundary_mask(target, width=1).float()
    full = full_size(logits, stride, (target.shape[1], target.shape[2]))[:, 0]
    entropy = F.binary_cross_entropy_with_logits(full, border, reduction="none")
    entropy = (entropy * labelled).sum() / labelled.sum().clamp(min=1)
    predicted, border = full.sigmoid() * labelled, border * labelled
    overlap, total = (predicted * border).sum((1, 2)), (predicted + border).sum((1, 2))
    dice = 1 - (2 * overlap + 1) / (total + 1)
    return entropy + (dice * labelled.amax((1, 2))).mean()


def stdc_head(in_channels: int, channels: int, out_channels: int) -> nn.Sequential:
    """3x3 convolution and a 1x1 classifier without bias."""
    classifier = nn.Conv2d(channels, out_channels, 1, bias=False)
    return nn.Sequential(conv_bn_relu(in_channels, channels, 3), classifier)


def stdc(encoder: str, *, num_classes: int, download: object) -> SegmentationNetwork:
    """STDC-Seg over "stdc1", "stdc2", or any encoder with stages at strides 8, 16 and 32."""
    if encoder in STDC_BLOCKS:
        body: nn.Module = STDCEncoder(encoder)
    else:
        body = plain_encoder(encoder, download=download)
    decoder = STDCDecoder(body.out_channels)
    head = stdc_head(FUSED, FUSED, num_classes)
    return STDCSegmentation(body, decoder, head, num_classes=num_classes, stride=8)


NETWORKS = {"stdc": stdc}
ENCODERS = {"stdc": tuple(STDC_BLOCKS)}  # of its own, beside smp's and timm's
