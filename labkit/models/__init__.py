"""Which network, with which first convolution, at which stride? The only door to segmentation-models-pytorch."""

from labkit.models.build import ARCHITECTURES, SIDE_MULTIPLE, SegmentationNetwork, build_network, check_names, pad_sides
from labkit.models.stem import find_stem, widen_stem

__all__ = ["ARCHITECTURES", "SIDE_MULTIPLE", "SegmentationNetwork", "build_network", "check_names", "find_stem", "pad_sides", "widen_stem"]
