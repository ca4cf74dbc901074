"""Segmentation networks by name. One file per family, each with a dict NETWORKS of builders."""

from labkit.networks.base import SIDE_MULTIPLE, SegmentationNetwork, pad_sides
from labkit.networks.build import available, build_network, check_names
from labkit.networks.stem import find_stem, widen_stem
from labkit.networks.table import networks_table
from labkit.networks.weights import encoder_weights_fingerprint, load_encoder_weights

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
