"""Sanity checks of maps: weights randomised piece by piece from the logits down, labels permuted.

Source: Adebayo et al. 2018, arXiv 1810.03292.  Differs: weights are redrawn with the trained
tensor's own mean and deviation, BatchNorm's running statistics stay, and no threshold is set,
because a map at the stem keeps its activation whatever the later layers are.
"""

import copy
from collections.abc import Iterator

import torch
from torch import Tensor

from labkit.attribution.layers import layer_names, named_layers, piece_of
from labkit.networks import SegmentationNetwork


@torch.no_grad()
def cascading_randomisation(
    network: SegmentationNetwork, *, generator: torch.Generator
) -> Iterator[tuple[str, SegmentationNetwork]]:
    """The network with more and more of its pieces randomised, from the logits down to the stem.

    Args:
        network: not changed; a copy is.
        generator: on the CPU.

    Yields:
        The piece randomised last, and the copy (the same object each time).
    """
    changed = copy.deepcopy(network)
    layers = named_layers(changed)
    for piece in reversed(layer_names(network)):
        for name, module in layers.items():
            if piece_of(name) == piece:
                for parameter in module.parameters(recurse=False):
                    _redraw(parameter, generator)
        yield piece, changed


def permute_label(target: Tensor, fraction: float, *, generator: torch.Generator) -> Tensor:
    """Targets (N, H, W) in which a share of each frame's pixels has changed places among
    themselves; class counts stay.

    Args:
        fraction: 0-1 of the pixels, chosen at random.
        generator: on the CPU.
    """
    if not 0 <= fraction <= 1:
        raise ValueError(f"permute_label: fraction {fraction}; expected 0-1.")
    flat = target.flatten(1).clone()
    for row in flat:
        chosen = torch.randperm(len(row), generator=generator)[: round(fraction * len(row))].to(
            target.device
        )
        row[chosen] = row[
            chosen[torch.randperm(len(chosen), generator=generator).to(target.device)]
        ]
    return flat.view_as(target)


def _redraw(parameter: Tensor, generator: torch.Generator) -> None:
    """Normal values with the tensor's own mean and deviation (of all its values; a lone value keeps
    its own).
    """
    std = (
        parameter.float().std()
        if parameter.numel() > 1
        else torch.zeros((), device=parameter.device)
    )
    drawn = torch.randn(parameter.shape, generator=generator).to(parameter.device)
    parameter.copy_(parameter.float().mean() + std * drawn)
