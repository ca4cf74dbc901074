"""Does an assisted teacher's prediction come from the image or from the label? Maps, shares and
checks of both.

common: shared parts.  layercam, layers, noisings: maps of tensors.  shapley, gradients, library:
other methods.
randomise: changed weights and labels.  request, frames, compare, estimates, noise_sweep, sanity:
methods applied to a trained teacher.
captions, report: one call per figure of `04_attribution`.
"""

from labkit.attribution.common import rank_correlation, share_of
from labkit.attribution.gradients import InputGradients, integrated_gradients
from labkit.attribution.layercam import (
    BranchMaps,
    BranchMeans,
    branch_layercam,
    branch_means,
    label_share,
    layercam,
    split_stem,
    view_stem,
)
from labkit.attribution.layers import JointMaps, joint_layercam, layer_names
from labkit.attribution.library import library_layercam
from labkit.attribution.noisings import NoisedMaps, nan_std, noised_layercam
from labkit.attribution.randomise import cascading_randomisation, permute_label
from labkit.attribution.shapley import (
    Coalitions,
    Shapley,
    branch_shapley,
    coalition_logits,
    coalitions,
    scored_shapley,
    shapley_values,
)

__all__ = [
    "BranchMaps",
    "BranchMeans",
    "Coalitions",
    "InputGradients",
    "JointMaps",
    "NoisedMaps",
    "Shapley",
    "branch_layercam",
    "branch_means",
    "branch_shapley",
    "cascading_randomisation",
    "coalition_logits",
    "coalitions",
    "integrated_gradients",
    "joint_layercam",
    "label_share",
    "layer_names",
    "layercam",
    "library_layercam",
    "nan_std",
    "noised_layercam",
    "permute_label",
    "rank_correlation",
    "scored_shapley",
    "shapley_values",
    "share_of",
    "split_stem",
    "view_stem",
]
