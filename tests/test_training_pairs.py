"""Any network teaches any other: all 25 pairs of the paper's five, a few steps each."""

import itertools

import pytest
import torch
from safetensors.torch import load_file

from labkit.datasets import frames_batch
from labkit.method import full_size
from labkit.networks import build_network
from labkit.training.fit import fit
from tests.training import SMALL, student, teacher

ENCODER = SMALL["encoder"]
HRNET = "tu-hrnet_w18_small_v2"
FIVE = {"fcn": ENCODER, "pspnet": ENCODER, "deeplabv3": ENCODER, "stdc": "stdc1", "ocrnet": HRNET}


@pytest.fixture(scope="module")
def teachers(tmp_path_factory):
    """architecture -> run id of an assisted teacher, trained when it is first asked for."""
    runs, trained = tmp_path_factory.mktemp("runs"), {}

    def run_id(architecture):
        if architecture not in trained:
            experiment = teacher(
                runs, architecture=architecture, encoder=FIVE[architecture], auxiliary_weight=0.4
            )
            fit(experiment)
            trained[architecture] = experiment.run.run_id
        return trained[architecture]

    return runs, run_id


def check_pair(teachers, teacher_name, student_name, train_steps):
    """The student trains, and its exported weights answer as the run does."""
    runs, run_id = teachers
    experiment = student(
        runs,
        teacher=run_id(teacher_name),
        architecture=student_name,
        encoder=FIVE[student_name],
        auxiliary_weight=0.4,
        train_steps=train_steps,
    )
    fit(experiment)
    rows = experiment.run.log_rows()
    assert rows[-1]["step"] == train_steps
    num_classes = experiment.info.num_classes
    exported = build_network(student_name, FIVE[student_name], num_classes=num_classes).eval()
    exported.load_state_dict(load_file(experiment.run.folder / "model.safetensors"))
    batch = frames_batch(experiment.val_split, experiment.info, [0, 1])
    with torch.no_grad():
        outputs = exported(batch.images)
    logits = full_size(outputs.logits, outputs.stride, tuple(batch.target.shape[1:]))
    torch.testing.assert_close(logits, experiment.logits("image", batch), rtol=1e-5, atol=1e-5)


def test_a_network_of_stride_4_teaches_one_of_stride_8(teachers):
    check_pair(teachers, "ocrnet", "stdc", train_steps=2)


@pytest.mark.slow
@pytest.mark.parametrize(("teacher_name", "student_name"), itertools.product(FIVE, FIVE))
def test_every_network_teaches_every_other(teachers, teacher_name, student_name):
    check_pair(teachers, teacher_name, student_name, train_steps=20)
