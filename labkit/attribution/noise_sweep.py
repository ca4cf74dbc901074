"""Reliance and label share of one trained teacher as the noise of its label changes at evaluation
time.
"""

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from labkit.attribution.estimates import ALL_CLASSES, ESTIMATES, label_share_estimates
from labkit.attribution.request import Request, altered
from labkit.datasets import Split
from labkit.training.experiment import Experiment

VARIED = ("pixel_std", "label_scale")


def noise_sweep(
    experiment: Experiment,
    split: Split,
    *,
    pixel_stds: Sequence[float],
    label_scales: Sequence[float],
    frames: int,
    request: Request,
) -> pd.DataFrame:
    """One teacher and one set of frames, one kind of noise varied at a time.

    Args:
        experiment: an assisted teacher, complete.
        pixel_stds: in units of the class codes' std; the value of training is added.
        label_scales: in units of the normalised image's std; the value of training is added.
        frames: of the split, spread evenly; 0: all.

    Returns:
        Columns varied, value, trained (is this the value of training?), miou_true_label,
        miou_foreign_label, miou_zero_label, reliance (true minus foreign) and label_gain (true
        minus zero) in points of mIoU, layercam, shapley and removal (label share over all classes,
        percent).
    """
    noising, rows = experiment.noising, []
    for varied, values in zip(VARIED, (pixel_stds, label_scales), strict=True):
        trained = getattr(noising, varied)
        for value in sorted({*values, trained}):
            changed = altered(experiment, noising=replace(noising, **{varied: value}))
            table = label_share_estimates(changed, split, frames=frames, request=request)
            whole = table.set_index("class").loc[ALL_CLASSES]
            miou = {
                name: whole[f"iou_{name}"] for name in ("true_label", "foreign_label", "zero_label")
            }
            rows.append({
                "varied": varied, "value": value, "trained": value == trained,
                **{f"miou_{name}": score for name, score in miou.items()},
                "reliance": miou["true_label"] - miou["foreign_label"],
                "label_gain": miou["true_label"] - miou["zero_label"],
                **{estimate: whole[estimate] for estimate in ESTIMATES},
            })  # fmt: skip
    return pd.DataFrame(rows)
