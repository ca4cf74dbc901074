"""Names of classes and runs from strangers' files are drawn as they are: no mathtext."""

import pandas as pd
import torch
from matplotlib import pyplot as plt

from labkit import plots
from labkit.datasets import dataset_info

NAME = "$\\frac$ <b> $"  # no valid mathtext: drawing it raises


def draw(figure):
    figure.canvas.draw()
    plt.close(figure)


def test_hostile_class_names_are_drawn(tmp_path):
    info = dataset_info("streets")
    hostile = tuple(f"{NAME} {i}" for i in range(info.num_classes))
    info = type(info)(**{**vars(info), "class_names": hostile})
    target = torch.arange(info.num_classes).repeat_interleave(16).reshape(1, -1).expand(32, -1)
    image = torch.zeros(3, *target.shape, dtype=torch.uint8)
    channel = torch.rand(target.shape)
    draw(plots.code_histogram_figure(channel, target, info))
    draw(plots.predictions_figure([image], [target], {NAME: [target]}, info))


def test_hostile_names_of_runs_and_rows_are_drawn():
    row = {"layercam": 1.0, "shapley": 2.0, "removal": 3.0, "layercam_std": 0.1}
    draw(plots.label_share_figure(pd.DataFrame([{"class": NAME, **row}])))
    rows = [{"step": 1, "loss": 1.0, NAME: 1.0}, {"step": 2, "miou": {"image": 3.0}}]
    draw(plots.curves_figure({NAME: rows}))
