import pytest

from labkit import analysis
from labkit.datasets import frames_batch
from labkit.records import RecordError
from tests.test_engine import teacher
from tests.test_records import finished, planned


def test_no_runs_say_what_to_do():
    with pytest.raises(RecordError, match="labkit run all"):
        analysis.run_names([])


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
