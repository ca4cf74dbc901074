"""The paper's method on plain tensors. Imports torch and nothing else of labkit."""

from labkit.method.distances import (
    DISTANCES,
    Distance,
    channel_wise_distance,
    dual_path_consistency,
    pixel_wise_kd,
)
from labkit.method.losses import cross_entropy, hard_pixel_cross_entropy
from labkit.method.metrics import Counts, Scores, boundary_mask, count_pixels, scores_from_counts
from labkit.method.noising import IGNORE_INDEX, LabelNoising, NoisingSteps
from labkit.method.outputs import (
    Outputs,
    at_least_float32,
    common_grid,
    full_size,
    labelled_positions,
    pool_to_stride,
    split_outputs,
    target_on_grid,
)
from labkit.method.seeding import stream_generator, stream_seed
from labkit.method.steps import StepOutput, assisted_input, student_step, teacher_step

__all__ = [
    "DISTANCES",
    "IGNORE_INDEX",
    "Counts",
    "Distance",
    "LabelNoising",
    "NoisingSteps",
    "Outputs",
    "Scores",
    "StepOutput",
    "assisted_input",
    "at_least_float32",
    "boundary_mask",
    "channel_wise_distance",
    "common_grid",
    "count_pixels",
    "cross_entropy",
    "dual_path_consistency",
    "full_size",
    "hard_pixel_cross_entropy",
    "labelled_positions",
    "pixel_wise_kd",
    "pool_to_stride",
    "scores_from_counts",
    "split_outputs",
    "stream_generator",
    "stream_seed",
    "student_step",
    "target_on_grid",
    "teacher_step",
]
