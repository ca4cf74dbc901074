"""What did this logit lean on? LayerCAM per input branch, and the library's drawing of it for comparison."""

from labkit.attribution.layercam import BranchMaps, StemView, branch_layercam, label_branch_mean, label_share, layercam, view_stem
from labkit.attribution.library import library_layercam

__all__ = [
    "BranchMaps", "StemView", "branch_layercam", "label_branch_mean", "label_share", "layercam", "library_layercam", "view_stem",
]  # fmt: skip
