"""Networks of segmentation-models-pytorch (smp), with logits at the decoder's own stride.

PSPNet and DeepLabV3 read a dilated encoder of full depth: output stride 8, as the paper's networks.

Differs: smp dilates every 3x3 convolution of the last two stages by 2 and 4 (mmsegmentation leaves
the second one of a basic block undilated); its stem is 7x7 where mmsegmentation has three 3x3; its
PSPNet joins with a 1x1 convolution to 512 channels and classifies with 3x3; its DeepLabV3 has 256
channels and dilations 12, 24, 36.
"""

from collections.abc import Callable

import segmentation_models_pytorch as smp
from torch import nn

from labkit.networks.base import SegmentationNetwork

DEEPEST = 5  # encoder stages


def _from_smp(build: Callable[..., nn.Module], stride: int, **options: object) -> Callable:
    """A builder of a network whose modules and weights are those of the smp model."""

    def network(encoder: str, *, num_classes: int, download: object) -> SegmentationNetwork:
        model = build(
            encoder_name=encoder, encoder_weights=download, classes=num_classes, **options
        )
        return SegmentationNetwork(
            model.encoder,
            model.decoder,
            model.segmentation_head,
            num_classes=num_classes,
            stride=stride,
        )

    return network


NETWORKS = {
    "unet": _from_smp(smp.Unet, 1),
    "fpn": _from_smp(smp.FPN, 4, upsampling=1),
    "pspnet": _from_smp(smp.PSPNet, 8, encoder_depth=DEEPEST, output_stride=8, upsampling=1),
    "deeplabv3": _from_smp(smp.DeepLabV3, 8, encoder_output_stride=8, upsampling=1),
}
