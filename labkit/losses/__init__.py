"""What each loss is, exactly: plain functions of tensors."""

from labkit.losses.logits import DISTANCES, channel_wise_distance, dual_path_consistency, pixel_wise_kd
from labkit.losses.segmentation import cross_entropy

__all__ = ["DISTANCES", "channel_wise_distance", "cross_entropy", "dual_path_consistency", "pixel_wise_kd"]
