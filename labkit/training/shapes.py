"""A training's networks as a table: inputs, strides, and the grid on which logits are compared."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from labkit.networks.base import SegmentationNetwork
from labkit.networks.table import parameters


class Named(NamedTuple):
    """A network and the settings it was built from, which hold architecture and encoder."""

    settings: Any
    network: SegmentationNetwork


def shape_lines(
    networks: Mapping[str, Named], *, crop: tuple[int, int], distance_stride: int = 1
) -> list[str]:
    """Lines of a table: inputs, stride, logits at the crop and parameters of each network.

    Args:
        networks: by role. The last line is the grid on which the logits of two networks, or of the
            two paths of one that reads a label, are compared.
        crop: height and width of a training image, pixels.
        distance_stride: finer logits are brought to this stride for the distance.
    """
    form = "{:<8} {:<34} {:>6} {:>6} {:>15} {:>12}"
    lines = [form.format("", "network", "inputs", "stride", "logits", "parameters")]
    for role, (settings, network) in networks.items():
        rows, columns = grid(crop, network.stride)
        name = f"{settings.architecture}, {settings.encoder}"
        logits = f"{network.num_classes} x {rows} x {columns}"
        size = f"{parameters(network, inference=True):,}"
        channels = 3 + network.label_channels
        lines.append(form.format(role, name, channels, network.stride, logits, size))
    compared = [network for _, network in networks.values()]
    if len(compared) == 2 or compared[0].label_channels:
        stride = max(distance_stride, *(network.stride for network in compared))
        rows, columns = grid(crop, stride)
        which = "student and teacher" if len(compared) == 2 else "the two paths"
        lines.append(f"distance of {which}: at stride {stride}, {rows} x {columns} positions")
    return lines


def grid(size: tuple[int, int], stride: int) -> tuple[int, int]:
    """Rows and columns of logits at a stride for an image of a size in pixels."""
    return -(-size[0] // stride), -(-size[1] // stride)
