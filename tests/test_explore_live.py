"""Live training: what is drawn of a log, and that watching changes nothing."""

from labkit.explore import live
from labkit.explore.chart import chart
from labkit.explore.live import live_training, log_series
from labkit.training.fit import fit
from tests.training import teacher

SIZES = {
    "train_steps": 4, "evaluate_every_steps": 2, "log_every_steps": 1, "val_size": 2,
    "train_size": 4, "resize": "32x64", "score_size": "32x64", "crop_height": 32, "crop_width": 64,
}  # fmt: skip


def test_series_of_a_log_by_hand():
    losses, scores = log_series(
        [
            {"step": 1, "seconds": 2.0, "learning_rate": 0.1, "loss": 3.0, "ce": 2.0},
            {"step": 2, "miou": {"true_label": 50.0, "foreign_label": 40.0}},
            {"step": 3, "loss": 2.0, "ce": 1.5, "waiting": 0.1},
        ]
    )
    assert losses == {"loss": [(1, 3.0), (3, 2.0)], "ce": [(1, 2.0), (3, 1.5)]}
    assert scores == {
        "true label": [(2, 50.0)], "foreign label": [(2, 40.0)], "reliance": [(2, 10.0)],
    }  # fmt: skip


def test_a_chart_of_nothing_of_one_point_and_of_a_loss_that_is_not_finite():
    for series in ({}, {"loss": [(1, 2.0)]}, {"loss": [(1, float("nan")), (2, 1.0)]}):
        assert chart(series, last_x=10).shape == (240, 480, 3)


def test_without_a_front_end_nothing_is_shown(tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr(live, "display", shown.append)
    with live_training(teacher(tmp_path, **SIZES)) as watch:
        watch()
    assert shown == []


def test_watching_changes_no_weight_and_shows_the_prediction(tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr(live, "display", shown.append)
    monkeypatch.setattr(live, "has_front_end", lambda: True)
    weights = []
    for folder in ("watched", "alone"):
        experiment = teacher(tmp_path / folder, **SIZES)
        if folder == "watched":
            with live_training(experiment) as watch:
                fit(experiment, watch=watch)
        else:
            fit(experiment)
        weights.append((experiment.run.folder / "model.safetensors").read_bytes())
    assert weights[0] == weights[1]
    (box,) = shown
    assert "Step 4 of 4" in box.value
    assert "evaluation 2, read: true label" in box.value
    assert "reliance" in box.value


def test_a_fault_while_drawing_ends_the_drawing_not_the_training(tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr(live, "display", shown.append)
    monkeypatch.setattr(live, "has_front_end", lambda: True)

    def fails(view):
        raise ValueError("no such <panel>")

    monkeypatch.setattr(live.LiveView, "predict", fails)
    experiment = teacher(tmp_path, **SIZES)
    with live_training(experiment) as watch:
        fit(experiment, watch=watch)
    (box,) = shown
    assert "ValueError: no such &lt;panel&gt;. Training goes on." in box.value
    assert (experiment.run.folder / "model.safetensors").exists()
