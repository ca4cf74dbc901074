"""Reliance and label share of one trained teacher as the noise it is shown at evaluation time changes."""

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from labkit.contribution.frames import Request, altered
from labkit.contribution.opinions import EVERY, split_opinions
from labkit.datasets import Split
from labkit.experiments import Experiment

VARIED = ("pixel_std", "label_scale")


def reliance_over_noise(
    experiment: Experiment, split: Split, *, pixel_stds: Sequence[float], label_scales: Sequence[float], frames: int, request: Request
) -> pd.DataFrame:
    """One teacher, one set of frames, one kind of noise varied at a time.

    Args:
        experiment: an assisted teacher, complete.
        pixel_stds: in units of the class weights; the value it was trained with is added.
        label_scales: in units of the normalised image's std; the value it was trained with is added.
        frames: of the split, spread evenly; 0: all.

    Returns:
        Columns varied, value, trained (is this the value of training?), miou_true_label, miou_foreign_label, miou_zero_label,
        reliance (true minus foreign) and label_gain (true minus zero) in points of mIoU, layercam, shapley and removal (label
        share over all classes, percent).
    """
    noising, rows = experiment.noising, []
    for varied, values in zip(VARIED, (pixel_stds, label_scales), strict=True):
        trained = getattr(noising, varied)
        for value in sorted({*values, trained}):
            changed = altered(experiment, noising=replace(noising, **{varied: value}))
            whole = split_opinions(changed, split, frames=frames, request=request).set_index("class").loc[EVERY]
            miou = {reading: whole[f"iou_{reading}"] for reading in ("true_label", "foreign_label", "zero_label")}
            rows.append({
                "varied": varied, "value": value, "trained": value == trained,
                **{f"miou_{reading}": score for reading, score in miou.items()},
                "reliance": miou["true_label"] - miou["foreign_label"], "label_gain": miou["true_label"] - miou["zero_label"],
                **{opinion: whole[opinion] for opinion in ("layercam", "shapley", "removal")},
            })  # fmt: skip
    return pd.DataFrame(rows)
