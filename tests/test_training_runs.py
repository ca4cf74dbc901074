"""Runs with a network of the package: training, loading, scoring on a split, pictures."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from labkit.datasets import frames_batch
from labkit.datasets.pictures import read_ids, read_image, read_upright
from labkit.errors import DataError, RecordError, SettingsError
from labkit.records import load_run
from labkit.settings import EvaluateSettings
from labkit.training.evaluate import evaluating
from labkit.training.experiment import load_experiment
from labkit.training.fit import fit
from labkit.training.picture import FORMS, predict_images
from labkit.training.preflight import data_fingerprint
from labkit.training.scoring import evaluate_run
from tests.training import student, teacher

SHORT = {"train_steps": 2, "boundary_width": 1, "evaluate_every_steps": 2}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """An assisted teacher and its student, complete, in one runs folder."""
    runs = tmp_path_factory.mktemp("runs")
    assisted = teacher(runs, **SHORT)
    fit(assisted)
    taught = student(runs, teacher=assisted.run.run_id, **SHORT)
    fit(taught)
    return assisted, taught


def test_a_loaded_run_is_frozen_in_eval_mode_and_predicts_as_it_was_scored(trained):
    assisted, _ = trained
    loaded = load_experiment(load_run(assisted.run.folder), device="cpu")
    assert not loaded.network.training
    assert not any(parameter.requires_grad for parameter in loaded.network.parameters())
    batch = frames_batch(loaded.val_split, loaded.info, [0, 1])
    for reading in ("true_label", "foreign_label", "zero_label"):
        assert torch.equal(loaded.logits(reading, batch), assisted.logits(reading, batch))


@pytest.mark.parametrize("change", [lambda names: names[::-1], lambda names: (*names, "new")])
def test_a_data_set_whose_classes_changed_since_training_is_refused(trained, monkeypatch, change):
    """Such as the classes of a folder of one's own, put in another order."""
    taught = trained[1]
    changed = replace(taught.info, class_names=change(taught.info.class_names))
    monkeypatch.setattr("labkit.training.experiment.dataset_info", lambda *_, **__: changed)
    with pytest.raises(DataError, match=r"its classes are road, .*are now .*train again") as caught:
        load_experiment(taught.run, device="cpu")
    for info in (taught.info, changed):
        assert ", ".join(info.class_names) in str(caught.value)


def test_a_run_is_scored_on_another_split(trained):
    assisted, _ = trained
    settings = EvaluateSettings(
        split="test", size=3, runs=str(assisted.run.folder.parent), device="cpu"
    )
    lines = evaluate_run(assisted.run.run_id, settings)
    assert [line.split(":")[0] for line in lines[1:4]] == [
        "true_label",
        "foreign_label",
        "zero_label",
    ]
    folder = assisted.run.folder / "evaluations"
    record = json.loads((folder / "test-3.json").read_text())
    assert record["run_id"] == assisted.run.run_id
    assert record["readings"]["true_label"]["miou"] >= 0
    with np.load(folder / "test-3.npz") as arrays:
        assert arrays["true_label.whole.hits"].shape == (3, 8)
        assert len(arrays["frames"]) == 3
    assert load_run(assisted.run.folder).state == "complete"


def test_scoring_what_does_not_exist_is_refused(trained):
    assisted, _ = trained
    runs = str(assisted.run.folder.parent)
    with pytest.raises(DataError, match="no split"):
        evaluate_run(assisted.run.run_id, EvaluateSettings(runs=runs, split="extra"))
    with pytest.raises(RecordError, match="no such run"):
        evaluate_run("nothing", EvaluateSettings(runs=runs))


@pytest.fixture
def picture(tmp_path):
    """A picture of an odd size and its label."""
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 255, (45, 70, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "scene.png")
    ids = generator.integers(0, 8, (45, 70), dtype=np.uint8)
    ids[0, 0] = 255
    Image.fromarray(ids).save(tmp_path / "label.png")
    return tmp_path / "scene.png"


def test_pictures_are_predicted_at_their_own_size(trained, picture, tmp_path):
    assisted, taught = trained
    runs = str(assisted.run.folder.parent)
    (line,) = predict_images(taught.run.run_id, [picture], runs=runs)
    assert line == f"{tmp_path / 'scene-of-assisted.png'} (read: image)"
    with Image.open(tmp_path / "scene-of-assisted.png") as prediction:
        assert prediction.size == (70, 45)
        colours = {colour for _, colour in prediction.getcolors()}
    assert colours <= set(taught.info.palette)
    label = tmp_path / "label.png"
    for given, reading in ((label, "true label"), (None, "zero label")):
        (line,) = predict_images(
            assisted.run.run_id, [picture], label=given, output=tmp_path / "a.png", runs=runs
        )
        assert line == f"{tmp_path / 'a.png'} (read: {reading})"


def test_pictures_that_do_not_fit_are_refused(trained, picture, tmp_path):
    assisted, taught = trained
    runs = str(assisted.run.folder.parent)
    label = tmp_path / "label.png"
    with pytest.raises(DataError, match="reads the image alone"):
        list(predict_images(taught.run.run_id, [picture], label=label, runs=runs))
    ids = np.full((45, 70), 9, dtype=np.uint8)
    Image.fromarray(ids).save(label)
    with pytest.raises(DataError, match=r"has ids \[9\]"):
        list(predict_images(assisted.run.run_id, [picture], label=label, runs=runs))
    Image.fromarray(ids[:40]).save(label)
    with pytest.raises(DataError, match="expected the picture's"):
        list(predict_images(assisted.run.run_id, [picture], label=label, runs=runs))
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(DataError, match=r"text\.png"):
        list(predict_images(taught.run.run_id, [tmp_path / "text.png"], runs=runs))


def test_every_form_of_a_prediction_agrees(trained, picture, tmp_path):
    _, taught = trained
    options = {"output": tmp_path / "out", "runs": str(taught.run.folder.parent)}
    made = {}
    for form in FORMS:
        (line,) = predict_images(taught.run.run_id, [picture], form=form, **options)
        made[form] = Path(line.partition(" (read")[0])
    ids = read_ids(made["ids"])
    with np.load(made["probabilities"]) as arrays:
        assert arrays["probabilities"].shape == (8, 45, 70)
        assert np.allclose(arrays["probabilities"].astype(np.float32).sum(0), 1, atol=5e-3)
        assert (arrays["probabilities"].argmax(0) == ids).mean() > 0.99
        assert tuple(arrays["class_names"]) == taught.info.class_names
    colours = np.array(taught.info.palette)[ids]
    assert (read_image(made["colours"]) == colours).all()
    middle = (colours + read_image(picture).astype(int)) / 2
    assert np.abs(read_image(made["overlay"]) - middle).max() <= 0.5


def test_a_turned_picture_is_predicted_upright(trained, tmp_path):
    _, taught = trained
    pixels = np.zeros((40, 70, 3), dtype=np.uint8)
    pixels[:, :35] = 200
    upright = Image.fromarray(pixels)
    upright.save(tmp_path / "upright.png")
    tags = Image.Exif()
    tags[0x0112] = 6  # displayed turned by 90 degrees clockwise
    upright.rotate(90, expand=True).save(tmp_path / "turned.png", exif=tags)
    assert (read_upright(tmp_path / "turned.png") == pixels).all()
    paths = [tmp_path / "upright.png", tmp_path / "turned.png"]
    options = {"form": "ids", "output": tmp_path, "runs": str(taught.run.folder.parent)}
    list(predict_images(taught.run.run_id, paths, **options))
    first, second = (read_ids(tmp_path / f"{path.stem}-of-assisted-ids.png") for path in paths)
    assert (first == second).all()


def test_what_is_no_opaque_picture_of_8_bits_is_refused(trained, tmp_path):
    _, taught = trained
    runs = str(taught.run.folder.parent)
    pixels = np.full((40, 70, 4), 255, dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "opaque.png")
    (line,) = predict_images(taught.run.run_id, [tmp_path / "opaque.png"], runs=runs)
    assert "opaque-of-assisted.png" in line
    pixels[3, 4, 3] = 0
    Image.fromarray(pixels).save(tmp_path / "holes.png")
    Image.fromarray(np.zeros((40, 70), dtype=np.uint16)).save(tmp_path / "deep.png")
    for name, words in (("holes", "transparent"), ("deep", "more than 8 bits")):
        with pytest.raises(DataError, match=words):
            list(predict_images(taught.run.run_id, [tmp_path / f"{name}.png"], runs=runs))


def test_two_pictures_never_share_a_file(trained, tmp_path):
    _, taught = trained
    runs = str(taught.run.folder.parent)
    paths = [tmp_path / "a" / "x.png", tmp_path / "b" / "x.png"]
    for folder in (tmp_path, tmp_path / "one.png"):
        with pytest.raises(DataError, match=r"two pictures|one file"):
            list(predict_images(taught.run.run_id, paths, output=folder, runs=runs))
    with pytest.raises(SettingsError, match="expected one of colours, ids"):
        list(predict_images(taught.run.run_id, paths, form="text", runs=runs))


def test_evaluation_leaves_every_module_in_its_mode():
    network = torch.nn.Sequential(torch.nn.Conv2d(1, 1, 1), torch.nn.BatchNorm2d(1))
    network.train()
    network[1].eval()
    with evaluating(network):
        assert not any(module.training for module in network.modules())
    assert [module.training for module in network.modules()] == [True, True, False]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device here")
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_teacher_and_student_train_on_a_gpu_by_the_same_path(tmp_path, precision):
    taught_by = teacher(tmp_path, device="cuda", precision=precision)
    fit(taught_by)
    taught = student(tmp_path, device="cuda", precision=precision, teacher=taught_by.run.run_id)
    metrics = fit(taught)
    assert taught.run.manifest()["provenance"]["device"] == "cuda"
    assert math.isfinite(metrics["readings"]["image"]["miou"])


def test_a_run_scored_on_test_trains_as_its_twin_and_is_scored_as_evaluate_scores(tmp_path):
    on_val, on_test = student(tmp_path, **SHORT), student(tmp_path, score_split="test", **SHORT)
    assert on_val.run.run_id != on_test.run.run_id
    fit(on_val)
    metrics = fit(on_test)
    weights = [(one.run.folder / "model.safetensors").read_bytes() for one in (on_val, on_test)]
    assert weights[0] == weights[1]
    settings = EvaluateSettings(split="test", size=on_val.settings.val_size, runs=str(tmp_path))
    evaluate_run(on_val.run.run_id, settings)
    (path,) = (on_val.run.folder / "evaluations").glob("*.json")
    scored = json.loads(path.read_text())
    assert metrics["split"] == scored["split"] == "test"
    assert metrics["readings"] == scored["readings"]


def test_a_test_split_without_public_labels_scores_no_run(tmp_path):
    settings = student(tmp_path, **SHORT).settings
    with pytest.raises(DataError, match="its labels are not public"):
        data_fingerprint(settings.replace(score_split="test", dataset="cityscapes"))
