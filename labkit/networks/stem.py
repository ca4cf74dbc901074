"""The first convolution of an encoder, and how a label slice is added to it."""

import copy
from typing import Literal

import torch
from torch import nn

LABEL_STD = 0.1  # of a "normal" label slice; official code


def find_stem(encoder: nn.Module) -> tuple[str, nn.Conv2d]:
    """Name and module of the convolution that reads the input.

    Args:
        encoder: a network's encoder; the stem is its first convolution, ungrouped, over at least
            3 channels.

    Raises:
        ValueError: the first layer is no such convolution, so it cannot be widened or split.
    """
    name, first = next(
        (
            (name, module)
            for name, module in encoder.named_modules()
            if isinstance(module, nn.Conv2d)
        ),
        ("", None),
    )
    if first is None or first.groups != 1 or first.in_channels < 3:
        raise ValueError(
            f"{type(encoder).__name__}: its first convolution is {first}; expected an "
            "ungrouped one over the image's channels. Choose an encoder with a convolutional stem."
        )
    return name, first


def widen_stem(
    encoder: nn.Module,
    label_channels: int,
    *,
    label_init: Literal["normal", "zeros"],
    generator: torch.Generator,
) -> None:
    """Let the stem read `label_channels` more inputs; its RGB weights stay bit-equal.

    Args:
        encoder: changed in place.
        label_init: "normal" draws the label slice from N(0, .1^2), "zeros" leaves outputs
            unchanged.

    Differs: smp's in_channels=4 copies the red filters and scales everything by 3/4.
    """
    if label_init not in ("normal", "zeros"):
        raise ValueError(f"widen_stem: label_init is {label_init!r}; expected normal or zeros.")
    name, stem = find_stem(encoder)
    if stem.in_channels != 3:
        raise ValueError(
            f"{type(encoder).__name__}: its first convolution reads {stem.in_channels} channels "
            "made of the image's three, so it cannot be widened. Choose an encoder whose first "
            "convolution reads the image."
        )
    label_slice = torch.zeros(stem.out_channels, label_channels, *stem.kernel_size)
    if label_init == "normal":
        label_slice.normal_(0, LABEL_STD, generator=generator)
    wide = copy.deepcopy(stem)  # keeps subclass, padding rule and bias
    wide.in_channels += label_channels
    wide.weight = nn.Parameter(
        torch.cat([stem.weight.detach(), label_slice.to(stem.weight)], dim=1)
    )
    _check_additive(stem, wide, label_channels)
    encoder.set_submodule(name, wide)
    _check_runs(encoder, wide.in_channels)


@torch.no_grad()
def _check_additive(stem: nn.Conv2d, wide: nn.Conv2d, label_channels: int) -> None:
    """Refuse a stem whose output for the image changes when label channels are added."""
    image = torch.linspace(-1, 1, 3 * 32 * 32).view(1, 3, 32, 32)
    nothing = torch.zeros(1, label_channels, 32, 32)
    if not torch.allclose(wide(torch.cat([image, nothing], 1)), stem(image), rtol=1e-4, atol=1e-5):
        raise ValueError(
            f"{type(stem).__name__}: this stem's output for the image changes when a label channel "
            "is added, so its branches do not add up. Choose an encoder whose stem is a plain "
            "convolution."
        )


@torch.no_grad()
def _check_runs(encoder: nn.Module, channels: int) -> None:
    """The widened convolution must be all that reads the input."""
    training = encoder.training
    try:
        encoder.eval()(torch.zeros(1, channels, 64, 64))
    except RuntimeError as error:
        raise ValueError(
            f"{type(encoder).__name__}: more than its first convolution reads the input ({error}), "
            "so its stem cannot be widened. "
            "Choose an encoder with one stem convolution."
        ) from error
    finally:
        encoder.train(training)
