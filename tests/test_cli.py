import json

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from labkit import experiments
from labkit.cli import app
from tests.test_engine import student, teacher


def call(*arguments):
    return CliRunner().invoke(app, [str(part) for part in arguments])


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """One assisted teacher and one student alone, complete."""
    folder = tmp_path_factory.mktemp("runs")
    assisted, alone = teacher(folder, train_steps=1), student(folder, train_steps=1)
    experiments.fit(assisted)
    experiments.fit(alone)
    return assisted.run, alone.run


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("run", "teacher", "--set", "learning_rat=1"), "did you mean learning_rate?"),
        (("run", "teacher", "--set", "learning_rate=fast"), "setting learning_rate: got 'fast'"),
        (("run", "teacher", "--set", "batch_size"), "expected name=value"),
        (("run", "teacher", "--set", "recipe=none"), "streets has default"),
        (("run", "student", "--set", "teacher=nobody"), "run 'nobody': not found"),
        (("run", "all", "--seeds", "one"), "expected whole numbers"),
        (("run", "analysis", "--set", "category=cow"), "streets has road, pavement"),
        (("evaluate", "nobody"), "run 'nobody': not found"),
    ],
)
def test_bad_input_is_one_message_without_a_traceback(arguments, says, tmp_path):
    arguments = (*arguments, "--set", f"runs={tmp_path}") if arguments[0] != "predict" else arguments
    done = call(*arguments)
    assert done.exit_code == 2
    assert says in done.output
    assert "Traceback" not in done.output


def test_several_faults_are_told_at_once():
    done = call("run", "teacher", "--set", "batch_size=none", "--set", "pixel_std=-1")
    assert "setting batch_size" in done.output
    assert "setting pixel_std" in done.output


def test_evaluate_scores_another_split_and_keeps_it_with_the_run(runs):
    run = runs[0]
    done = call("evaluate", run.folder, "--set", "split=test", "--set", "size=3")
    assert done.exit_code == 0, done.output
    folder = run.folder / "evaluations"
    record = json.loads((folder / "test-3.json").read_text())
    assert record["split"] == "test"
    assert record["checkpoint"] == run.checkpoint_hash()
    assert "3 frames of test" in record["protocol"]
    with np.load(folder / "test-3.npz") as frames:
        assert frames["true_label"].shape == (3, 8, 8)
        total = frames["true_label"].sum(0)
    assert 100 * total.trace() / total.sum() == pytest.approx(record["readings"]["true_label"]["pixel_accuracy"], abs=1e-2)


def test_evaluate_refuses_a_data_set_with_other_classes(runs):
    done = call("evaluate", runs[0].folder, "--set", "dataset=camvid")
    assert done.exit_code == 2
    assert "Score it on a data set with its own classes" in done.output


def test_evaluate_refuses_a_split_that_does_not_exist(runs):
    done = call("evaluate", runs[0].folder, "--set", "split=dev")
    assert "no split 'dev'; it has train, val, test" in done.output


@pytest.mark.parametrize(("which", "label", "read"), [(1, False, "image"), (0, False, "zero label"), (0, True, "true label")])
def test_predict_writes_a_picture_of_the_images_size(runs, tmp_path, which, label, read):
    Image.new("RGB", (50, 37), (90, 90, 90)).save(tmp_path / "frame.jpg")
    Image.new("L", (50, 37), 3).save(tmp_path / "label.png")
    given = ("--label", tmp_path / "label.png") if label else ()
    done = call("predict", runs[which].folder, tmp_path / "frame.jpg", "--output", tmp_path / "out.png", *given)
    assert done.exit_code == 0, done.output
    assert f"read: {read}" in done.output
    with Image.open(tmp_path / "out.png") as picture:
        assert picture.size == (50, 37)


def test_predict_refuses_what_is_no_picture(runs, tmp_path):
    (tmp_path / "frame.png").write_text("no picture")
    done = call("predict", runs[1].folder, tmp_path / "frame.png")
    assert done.exit_code == 2
    assert "cannot be read as a picture" in done.output


def test_predict_refuses_a_label_with_ids_that_are_no_classes(runs, tmp_path):
    Image.new("RGB", (32, 32)).save(tmp_path / "frame.png")
    Image.new("L", (32, 32), 11).save(tmp_path / "label.png")
    done = call("predict", runs[0].folder, tmp_path / "frame.png", "--label", tmp_path / "label.png")
    assert done.exit_code == 2
    assert "found id 11; expected 0-7, and 255 for void" in done.output


def test_a_student_takes_no_label(runs, tmp_path):
    Image.new("RGB", (32, 32)).save(tmp_path / "frame.png")
    Image.new("L", (32, 32)).save(tmp_path / "label.png")
    done = call("predict", runs[1].folder, tmp_path / "frame.png", "--label", tmp_path / "label.png")
    assert "leave --label out" in done.output
