"""Networks of segmentation-models-pytorch (smp), with logits at the decoder's own stride.

PSPNet and DeepLabV3 read a dilated encoder of full depth: output stride 8, as the paper's networks.

Differs: smp dilates every 3x3 convolution of the last two stages by 2 and 4 (mmsegmentation leaves
the second one of a basic block undilated); its stem is 7x7 where mmsegmentation has three 3x3; its
PSPNet joins with a 1x1 convolution to 512 channels and classifies with 3x3; its DeepLabV3 has 256
channels and dilations 12, 24, 36.
"""

from collections.abc import Callable
from typing import Any

import segmentation_models_pytorch as smp

from labkit.networks.base import SegmentationNetwork

STRIDES = {"unet": 1, "linknet": 1, "fpn": 4, "pspnet": 8, "deeplabv3": 8}  # input pixels per logit
OPTIONS: dict[str, dict[str, Any]] = {  # of smp.create_model
    "unet": {},
    "linknet": {},
    "fpn": {"upsampling": 1},
    "pspnet": {"encoder_depth": 5, "output_stride": 8, "upsampling": 1},
    "deeplabv3": {"encoder_output_stride": 8, "upsampling": 1},
}


def smp_call(architecture: str, encoder: str, num_classes: int) -> str:
    """The line of Python that builds the smp model of a network; "" where smp does not own it."""
    if architecture not in OPTIONS:
        return ""
    options = {"encoder_weights": None, "classes": num_classes} | OPTIONS[architecture]
    given = "".join(f", {name}={value!r}" for name, value in options.items())
    return f"smp.create_model({architecture!r}, {encoder!r}{given})"


def _from_smp(architecture: str) -> Callable:
    """A builder of a network whose modules and weights are those of the smp model."""

    def network(encoder: str, *, num_classes: int, download: object) -> SegmentationNetwork:
        options = {"encoder_weights": download, "classes": num_classes} | OPTIONS[architecture]
        model = smp.create_model(architecture, encoder, **options)
        return SegmentationNetwork(
            model.encoder,
            model.decoder,
            model.segmentation_head,
            num_classes=num_classes,
            stride=STRIDES[architecture],
        )

    return network


NETWORKS = {architecture: _from_smp(architecture) for architecture in OPTIONS}
