"""Predictions of several runs on the same frames."""

import json

import matplotlib.pyplot as plt
import pytest
import torch

from labkit.attribution.frames import run_frames
from labkit.attribution.predictions import predict_frames, save_predictions
from labkit.attribution.request import scoring_batch
from labkit.errors import DataError
from labkit.plots import predictions_figure
from labkit.training.experiment import load_experiment
from labkit.training.fit import fit
from tests.training import student, teacher, tiny_networks

__all__ = ["tiny_networks"]  # a fixture of this module


@pytest.fixture(scope="module")
def runs(tmp_path_factory, tiny_networks):
    """An assisted teacher and a student alone, both of two steps."""
    folder = tmp_path_factory.mktemp("runs")
    experiments = [teacher(folder, train_steps=2), student(folder, train_steps=2)]
    for experiment in experiments:
        fit(experiment)
    return dict(zip(("teacher", "student"), (e.run for e in experiments), strict=True))


def test_every_run_predicts_the_same_frames_by_every_reading(runs):
    predicted = predict_frames(runs, category="road", count=2, device="cpu", threads=0)
    names = ["teacher + label", "teacher + foreign label", "student"]
    assert list(predicted.predictions) == names
    shapes = {ids.shape for frames in predicted.predictions.values() for ids in frames}
    assert shapes == {target.shape for target in predicted.targets}
    assert len(predicted.images) == 2
    assert "road fills at least 3%" in predicted.caption


def test_a_class_that_no_frame_holds_is_named(runs):
    with pytest.raises((DataError, ValueError), match="submarine"):
        predict_frames(runs, category="submarine", count=2)


def test_they_are_saved_with_their_record_and_nothing_is_saved_without_runs(runs, tmp_path):
    options = {"parameters": {}, "category": "road", "count": 1}
    none = save_predictions({}, tmp_path, predictions_figure, **options)
    assert none == "predictions: not drawn; no run is complete."
    assert list(tmp_path.iterdir()) == []
    assert save_predictions(runs, tmp_path, predictions_figure, **options) == "predictions.png"
    plt.close("all")
    manifest = json.loads((tmp_path / "MANIFEST.json").read_text(encoding="utf-8"))
    assert manifest["files"]["predictions.png"]["runs"] == [r.run_id for r in runs.values()]


def test_runs_of_different_splits_predict_the_first_one_s_frames(runs, tmp_path):
    other = student(tmp_path, train_steps=1, score_split="test", val_size=1)
    fit(other)
    predicted = predict_frames(runs | {"other": other.run}, category="road", count=2)
    first, experiment = load_experiment(runs["teacher"]), load_experiment(other.run)
    frames = run_frames(first, category=first.info.class_id("road"), count=2)
    assert len(frames) == 2
    for frame, ids in zip(frames, predicted.predictions["other"], strict=True):
        batch = scoring_batch(experiment, first.val_split, [frame])
        assert torch.equal(experiment.logits("image", batch).argmax(1)[0], ids)
