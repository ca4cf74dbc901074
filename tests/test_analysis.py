import pytest
import torch

from labkit import analysis, experiments
from labkit.datasets import Sample, frames_batch, open_split
from labkit.records import RecordError
from tests.test_engine import teacher


class FewCars:
    """Ten frames of which the even ones hold 10 % of class 6."""

    def __len__(self):
        return 10

    def __getitem__(self, index):
        target = torch.zeros(10, 10, dtype=torch.int64)
        target[0] = 6 if index % 2 == 0 else 0
        return Sample(torch.zeros(3, 10, 10, dtype=torch.uint8), target)


def test_frames_hold_the_class_and_are_spread_evenly():
    assert analysis.choose_frames(FewCars(), category=6, count=5) == [0, 2, 4, 6, 8]
    assert analysis.choose_frames(FewCars(), category=6, count=1) == [4]
    assert analysis.choose_frames(FewCars(), category=6, count=99) == [0, 2, 4, 6, 8]


def test_a_class_nobody_holds_is_an_error():
    with pytest.raises(ValueError, match="choose another category"):
        analysis.choose_frames(FewCars(), category=3, count=1)


def test_no_runs_say_what_to_do():
    with pytest.raises(RecordError, match="labkit run all"):
        analysis.run_names([])


def test_contribution_is_centred_over_training_images_and_marks_absent_classes(tmp_path):
    experiment = teacher(tmp_path, train_steps=1)
    experiments.fit(experiment)
    batch = frames_batch(experiment.val_split, experiment.info, [0, 2])
    for category in range(8):
        found = analysis.contribution(experiment, batch, category=category)
        held = found.region.flatten(1).any(1)
        assert torch.equal(found.maps.score.isnan(), ~held)
        assert torch.equal(found.maps.image.isnan().flatten(1).all(1), ~held)
        if held.any():
            assert found.library["image"].shape == (2, 32, 64)
            assert (found.library["label"][held.numpy()].max((1, 2)) <= 1).all()


def test_predictions_name_what_was_read(tmp_path):
    experiment = teacher(tmp_path, train_steps=1)
    batch = frames_batch(experiment.val_split, experiment.info, [1])
    found = analysis.predictions({"teacher": experiment}, batch)
    assert list(found) == ["teacher, true label", "teacher, foreign label"]
    assert all(value.shape == (1, 32, 64) for value in found.values())


def test_streets_holds_enough_cars_for_the_figures():
    split = open_split("streets", "val", root="", size=20, height=64, width=128)
    assert len(analysis.choose_frames(split, category=6, count=4)) == 4
