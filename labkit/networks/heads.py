"""Convolution blocks and the small heads that several families share."""

from torch import nn


def conv_bn_relu(
    in_channels: int, out_channels: int, kernel: int, *, stride: int = 1, dilation: int = 1
) -> nn.Sequential:
    """Convolution without bias, BatchNorm and ReLU; padding keeps the size at stride 1."""
    return nn.Sequential(
        *conv_bn(in_channels, out_channels, kernel, stride=stride, dilation=dilation),
        nn.ReLU(inplace=True),
    )


def conv_bn(
    in_channels: int, out_channels: int, kernel: int, *, stride: int = 1, dilation: int = 1
) -> nn.Sequential:
    """Convolution without bias and BatchNorm."""
    padding = dilation * (kernel // 2)
    convolution = nn.Conv2d(
        in_channels, out_channels, kernel, stride, padding, dilation=dilation, bias=False
    )
    return nn.Sequential(convolution, nn.BatchNorm2d(out_channels))


def fcn_head(in_channels: int, channels: int, num_classes: int) -> nn.Sequential:
    """3x3 convolution, dropout .1 and a 1x1 classifier: the field's auxiliary head.

    Source: the auxiliary head of PSPNet, Zhao et al. 2017, arXiv 1612.01105, in the widths that
    mmsegmentation gives it (a quarter of the stage's channels).
    """
    return nn.Sequential(
        conv_bn_relu(in_channels, channels, 3),
        nn.Dropout2d(0.1),
        nn.Conv2d(channels, num_classes, 1),
    )
