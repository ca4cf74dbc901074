"""Which network, with which first convolution, at which stride? The only door to segmentation-models-pytorch."""

from labkit.models.build import ARCHITECTURES, SegmentationNetwork, build_network
from labkit.models.stem import find_stem, widen_stem

__all__ = ["ARCHITECTURES", "SegmentationNetwork", "build_network", "find_stem", "widen_stem"]
