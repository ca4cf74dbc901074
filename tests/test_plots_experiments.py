"""Figures of one run: the noise of the first step, and predictions at the run's own size."""

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from labkit.method import stream_generator
from labkit.plots.experiments import input_figure, run_predictions_figure
from labkit.training.experiment import prepare
from tests.runs import planned


@pytest.fixture(autouse=True)
def no_figure_left():
    yield
    plt.close("all")


def test_the_label_channels_are_those_of_the_first_step(tmp_path):
    experiment = prepare(planned(tmp_path, seed=3, batch_size=2))
    batch = experiment.train_batches[0]
    stream = stream_generator("noise", 3, 0)
    wanted = [experiment.noising(batch.target, generator=stream)[0, 0] for _ in range(2)]
    figure = input_figure(experiment, experiment.noising)
    drawn = [axes.images[0].get_array() for axes in figure.axes[2:4]]
    for channel, one in zip(wanted, drawn, strict=True):
        np.testing.assert_array_equal(np.asarray(one), channel.numpy())


def test_predictions_are_made_at_the_size_the_run_is_scored_at(tmp_path, monkeypatch):
    experiment = prepare(planned(tmp_path, assisted=False, score_size="32x64"))
    sizes = []

    def prediction(self, reading, batch):
        sizes.append(tuple(batch.images.shape[2:]))
        return torch.zeros_like(batch.target)

    monkeypatch.setattr(type(experiment), "prediction", prediction)
    run_predictions_figure({"a": experiment, "b": replace(experiment)}, frames=2)
    assert sizes == [(32, 64)] * 4
