"""Depthwise convolutions whose bf16 gradients are slow on the CPU, computed in float32.

Measured with torch 2.12 on one core with bf16 instructions: forward and backward of a depthwise
convolution of stride 2, or of a kernel above 3 x 3, take 2 to 16 times as long in bf16 as in
float32; of stride 1 and 3 x 3 they do not, nor does a forward pass alone.
"""

import torch
from torch import Tensor, nn


class Float32Depthwise(nn.Conv2d):
    """A convolution that leaves CPU autocast where gradients are wanted; equal otherwise."""

    def forward(self, inputs: Tensor) -> Tensor:
        if not (torch.is_autocast_enabled("cpu") and torch.is_grad_enabled()):
            return super().forward(inputs)
        with torch.autocast("cpu", enabled=False):
            return super().forward(inputs.float()).to(inputs.dtype)


def use_float32_depthwise(network: nn.Module) -> None:
    """Let the depthwise convolutions whose bf16 gradients are slow compute in float32, in place.

    Names, weights and results outside of autocast stay as they are.
    """
    for module in network.modules():
        depthwise = type(module) is nn.Conv2d and module.groups == module.in_channels > 1
        if depthwise and (max(module.stride) > 1 or max(module.kernel_size) > 3):
            module.__class__ = Float32Depthwise
