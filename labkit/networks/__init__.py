"""Segmentation networks by name. One file per family, each with a dict NETWORKS of builders."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from labkit.networks.base import SIDE_MULTIPLE, SegmentationNetwork, pad_sides
    from labkit.networks.build import available, build_network, check_names
    from labkit.networks.stem import find_stem, widen_stem
    from labkit.networks.table import networks_table
    from labkit.networks.weights import encoder_weights_fingerprint, load_encoder_weights

_MODULES = {  # imported at first use: smp and timm take seconds, and weights need neither
    "base": ("SIDE_MULTIPLE", "SegmentationNetwork", "pad_sides"),
    "build": ("available", "build_network", "check_names"),
    "stem": ("find_stem", "widen_stem"),
    "table": ("networks_table",),
    "weights": ("encoder_weights_fingerprint", "load_encoder_weights"),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "SIDE_MULTIPLE",
    "SegmentationNetwork",
    "available",
    "build_network",
    "check_names",
    "encoder_weights_fingerprint",
    "find_stem",
    "load_encoder_weights",
    "networks_table",
    "pad_sides",
    "widen_stem",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
