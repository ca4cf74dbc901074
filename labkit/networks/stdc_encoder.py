"""The STDC1 and STDC2 encoders.

Source: Fan et al. 2021, arXiv 2104.13188.  Differs: the classifier tail is left out.
"""

import torch
from torch import Tensor, nn

from labkit.networks.heads import conv_bn_relu

STDC_BLOCKS = {"stdc1": (2, 2, 2), "stdc2": (4, 5, 3)}  # modules at strides 8, 16, 32
WIDTHS = (32, 64, 256, 512, 1024)


class STDCModule(nn.Module):
    """Four convolutions of falling width, concatenated: 1/2, 1/4, 1/8 and 1/8 of the channels.

    At stride 2 the first is average-pooled for the concatenation, and a depthwise 3x3 of stride 2
    leads to the others.
    """

    def __init__(self, in_channels: int, out_channels: int, *, stride: int) -> None:
        super().__init__()
        half, quarter, eighth = out_channels // 2, out_channels // 4, out_channels // 8
        self.first = conv_bn_relu(in_channels, half, 1)
        self.down = self.pool = nn.Identity()
        if stride == 2:
            depthwise = nn.Conv2d(half, half, 3, 2, 1, groups=half, bias=False)
            self.down = nn.Sequential(depthwise, nn.BatchNorm2d(half))
            self.pool = nn.AvgPool2d(3, 2, 1)
        self.second = conv_bn_relu(half, quarter, 3)
        self.third = conv_bn_relu(quarter, eighth, 3)
        self.fourth = conv_bn_relu(eighth, eighth, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        first = self.first(inputs)
        second = self.second(self.down(first))
        third = self.third(second)
        return torch.cat([self.pool(first), second, third, self.fourth(third)], dim=1)


class STDCEncoder(nn.Module):
    """Five stages at strides 2 to 32, in the form smp's decoders read.

    Attributes:
        out_channels: of the input and of every stage.
        output_stride: of the last stage.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self.out_channels, self.output_stride = [3, *WIDTHS], 32
        stages: list[nn.Module] = [
            conv_bn_relu(3, WIDTHS[0], 3, stride=2),
            conv_bn_relu(WIDTHS[0], WIDTHS[1], 3, stride=2),
        ]
        for number, count in enumerate(STDC_BLOCKS[name], start=2):
            modules = [STDCModule(WIDTHS[number - 1], WIDTHS[number], stride=2)]
            modules += [
                STDCModule(WIDTHS[number], WIDTHS[number], stride=1) for _ in range(count - 1)
            ]
            stages.append(nn.Sequential(*modules))
        self.stages = nn.ModuleList(stages)
        _initialise(self)

    def forward(self, inputs: Tensor) -> list[Tensor]:
        features = [inputs]
        for stage in self.stages:
            features.append(stage(features[-1]))
        return features


def _initialise(encoder: nn.Module) -> None:
    """He initialisation of every convolution, by its outputs."""
    for module in encoder.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out")
