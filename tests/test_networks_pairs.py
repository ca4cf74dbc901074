"""Every network of the paper as the teacher and as the student of every other."""

import itertools
import math

import pytest
import torch

from labkit.datasets.batches import frames_batch
from labkit.method import full_size
from labkit.training.card import loading_example
from labkit.training.experiment import load_experiment
from labkit.training.fit import describe_networks, fit
from tests.five_networks import STUDENTS, TEACHERS
from tests.training import student, teacher

STEPS = 20
SMALL = {"train_steps": STEPS, "train_size": 16, "val_size": 2, "batch_size": 4}
PAIRS = list(itertools.product(TEACHERS, STUDENTS))
SMALL |= {"auxiliary_weight": 0.4, "crop_height": 64, "crop_width": 96}


@pytest.fixture(scope="module")
def teachers(tmp_path_factory):
    """Trains an assisted teacher of an architecture the first time it is asked for."""
    runs, known = tmp_path_factory.mktemp("runs"), {}

    def trained(architecture):
        if architecture not in known:
            names = {"architecture": architecture, "encoder": TEACHERS[architecture]}
            known[architecture] = teacher(runs, **SMALL, **names)
            fit(known[architecture])
        return known[architecture]

    return trained


@pytest.mark.slow
@pytest.mark.parametrize(("theirs", "ours"), PAIRS)
def test_a_pair_trains_and_the_exported_student_answers_as_the_run(
    teachers, theirs, ours, monkeypatch
):
    taught_by = teachers(theirs)
    names = {"architecture": ours, "encoder": STUDENTS[ours], "teacher": taught_by.run.run_id}
    experiment = student(taught_by.run.folder.parent, **SMALL, **names)
    stride = max(taught_by.network.stride, experiment.network.stride)
    line = f"distance of student and teacher: at stride {stride}, {64 // stride} x "
    assert describe_networks(experiment)[-1].startswith(line)
    metrics = fit(experiment)
    rows = [row for row in experiment.run.log_rows() if "loss" in row]
    assert len(rows) == STEPS
    assert all(math.isfinite(row["cwd"]) and row["cwd"] > 0 for row in rows)
    assert rows[-1]["ce"] < rows[0]["ce"]
    assert math.isfinite(metrics["readings"]["image"]["miou"])

    monkeypatch.chdir(experiment.run.folder)
    scope: dict = {}
    exec(loading_example(ours, STUDENTS[ours], experiment.info.num_classes), scope)
    batch = frames_batch(experiment.val_split, experiment.info, [0, 1])
    with torch.no_grad():
        outputs = scope["model"](batch.images)
    logits = outputs if isinstance(outputs, torch.Tensor) else outputs.logits
    loaded = load_experiment(experiment.run, device="cpu")
    full = full_size(logits, loaded.network.stride, batch.target.shape[1:])
    expected = loaded.logits("image", batch)
    scale = max(1.0, float(expected.abs().max()))
    torch.testing.assert_close(full, expected, rtol=0, atol=1e-5 * scale)
