"""The first convolution of an encoder: found, and widened by a label slice with the RGB slice left alone."""

import copy
from typing import Literal

import torch
from torch import nn

LABEL_STD = 0.1  # of a "normal" label slice; official code


def find_stem(encoder: nn.Module) -> tuple[str, nn.Conv2d]:
    """Name and module of the convolution that reads the input.

    Args:
        encoder: a network's encoder; the stem is its first convolution, ungrouped, over at least 3 channels.

    Raises:
        ValueError: the first layer is no such convolution, so it cannot be widened or split.
    """
    name, first = next(((name, module) for name, module in encoder.named_modules() if isinstance(module, nn.Conv2d)), ("", None))
    if first is None or first.groups != 1 or first.in_channels < 3:
        raise ValueError(
            f"{type(encoder).__name__}: its first convolution is {first}; expected an ungrouped one over the image's channels. "
            "Choose an encoder with a convolutional stem."
        )
    return name, first


def widen_stem(encoder: nn.Module, label_channels: int, *, label_init: Literal["normal", "zeros"], generator: torch.Generator) -> None:
    """Let the stem read `label_channels` more inputs; its RGB weights stay bit-equal.

    Args:
        encoder: changed in place.
        label_init: "normal" draws the label slice from N(0, .1^2), "zeros" leaves outputs unchanged.

    Differs: smp's in_channels=4 copies the red filters and scales everything by 3/4.
    """
    name, stem = find_stem(encoder)
    label_slice = torch.zeros(stem.out_channels, label_channels, *stem.kernel_size)
    if label_init == "normal":
        label_slice.normal_(0, LABEL_STD, generator=generator)
    wide = copy.deepcopy(stem)  # keeps subclass, padding rule and bias
    wide.in_channels += label_channels
    wide.weight = nn.Parameter(torch.cat([stem.weight.detach(), label_slice.to(stem.weight)], dim=1))
    encoder.set_submodule(name, wide)
