import pytest
import torch

from labkit import analysis, experiments
from labkit.datasets import Sample, frames_batch, open_split
from labkit.records import RecordError
from tests.test_engine import teacher
from tests.test_records import finished, planned


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
        assert found.library["image"].shape == (2, 32, 64)
        assert (torch.from_numpy(found.library["label"]).isnan().flatten(1).all(1) == ~held).all()


@pytest.mark.parametrize("layer", ["folded", "raw"])
def test_contribution_works_at_sizes_the_network_must_pad(tmp_path, layer):
    size = {"height": 45, "width": 60, "crop_height": 32, "crop_width": 32}
    experiment = teacher(tmp_path, train_steps=1, **size)
    experiments.fit(experiment)
    batch = frames_batch(experiment.val_split, experiment.info, [0])
    category = experiment.logits("true_label", batch).argmax(1).flatten().mode().values.item()
    maps = analysis.contribution(experiment, batch, category=category, layer=layer).maps
    assert maps.image.shape == (1, 23, 30)
    torch.testing.assert_close(maps.image_signed + maps.label_signed, maps.joint_signed, rtol=1e-4, atol=1e-7)


def test_names_tell_recipes_apart(tmp_path):
    first, again = finished(planned(tmp_path, method="none")), finished(planned(tmp_path, method="none", seed=1))
    assert list(analysis.run_names([first, again])) == ["plain teacher"]
    other = finished(planned(tmp_path, method="none", learning_rate=1e-3))
    assert set(analysis.run_names([first, again, other])) == {f"plain teacher {run.recipe_hash}" for run in (first, other)}
    with pytest.raises(RecordError, match="no complete assisted teacher"):
        analysis.assisted_teacher(analysis.run_names([first]))


def test_predictions_name_what_was_read(tmp_path):
    experiment = teacher(tmp_path, train_steps=1)
    batch = frames_batch(experiment.val_split, experiment.info, [1])
    found = analysis.predictions({"teacher": experiment}, batch)
    assert list(found) == ["teacher, true label", "teacher, foreign label"]
    assert all(value.shape == (1, 32, 64) for value in found.values())


def test_streets_holds_enough_cars_for_the_figures():
    split = open_split("streets", "val", root="", size=20, height=64, width=128)
    assert len(analysis.choose_frames(split, category=6, count=4)) == 4
