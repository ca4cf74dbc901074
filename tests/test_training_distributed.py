"""Several processes compute what one does, count every frame once, and survive a killed one."""

import os
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from labkit.datasets import dataset_info, open_split
from labkit.datasets.batches import TrainBatches
from labkit.errors import SettingsError
from labkit.method import LabelNoising, cross_entropy
from labkit.networks import build_network
from labkit.records import project_root, scan_runs
from labkit.training.distributed import ALONE, Ranks, synchronise_batch_norm
from tests.tiny import block_target, random_images


def run_program(runs, processes, *, role="teacher", taught_by="", victim=-1, at_step=0) -> int:
    """Exit code of the program in so many processes."""
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    launcher = launcher if processes > 1 else []
    arguments = [str(runs), role, taught_by, str(victim), str(at_step)]
    done = subprocess.run(
        [sys.executable, *launcher, "-m", "tests.distributed_program", *arguments],
        cwd=project_root(),
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    if done.returncode and victim < 0:
        print(done.stdout, done.stderr)
    return done.returncode


def the_run(runs, role="teacher"):
    (run,) = [run for run in scan_runs(runs).runs if run.role == role]
    return run


def weights(run):
    return load_file(run.folder / "model.safetensors")


def counts(run):
    with np.load(run.folder / "frames.npz") as arrays:
        return {name: arrays[name] for name in arrays.files}


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """Runs folder of the assisted teacher that one process trains."""
    runs = tmp_path_factory.mktemp("alone")
    assert run_program(runs, 1) == 0
    return runs


@pytest.mark.slow
@pytest.mark.parametrize("processes", [2, 3])
def test_several_processes_train_the_weights_of_one_and_score_every_frame_once(
    alone, tmp_path, processes
):
    assert run_program(tmp_path, processes) == 0
    one, several = the_run(alone), the_run(tmp_path)
    assert one.run_id == several.run_id
    assert several.facts()["processes"] == processes
    for name, value in weights(one).items():
        torch.testing.assert_close(weights(several)[name], value, rtol=0, atol=1e-5)
    first, second = counts(one), counts(several)
    assert list(first["frames"]) == list(second["frames"])
    for name in first.keys() - {"frames"}:
        if name.endswith(".labelled"):
            assert np.array_equal(first[name], second[name])
    for name in ("loss", "ce_a", "consistency"):
        assert several.log_rows()[0][name] == pytest.approx(one.log_rows()[0][name], rel=1e-3)


@pytest.mark.slow
def test_two_processes_distil_like_one(alone, tmp_path):
    teacher = the_run(alone)
    assert run_program(alone, 1, role="student", taught_by=teacher.run_id) == 0
    shutil.copytree(teacher.folder, tmp_path / teacher.run_id)
    assert run_program(tmp_path, 2, role="student", taught_by=teacher.run_id) == 0
    one, two = (weights(the_run(runs, "student")) for runs in (alone, tmp_path))
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=0, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_process_ends_all_and_the_same_command_goes_on(alone, tmp_path, victim):
    began = time.monotonic()
    assert run_program(tmp_path, 2, victim=victim, at_step=12) != 0
    assert time.monotonic() - began < 120
    assert scan_runs(tmp_path).runs == []
    assert run_program(tmp_path, 2) == 0
    run = the_run(tmp_path)
    steps = [row["step"] for row in run.log_rows() if "loss" in row]
    assert steps == [5, 10, 15, 20]
    for name, value in weights(the_run(alone)).items():
        torch.testing.assert_close(weights(run)[name], value, rtol=0, atol=1e-5)


@pytest.fixture
def batches():
    options = {"crop": (32, 32), "scale": (0.8, 1.2), "batch_size": 6, "seed": 0}
    return TrainBatches(open_split("streets", "train", size=8), dataset_info("streets"), **options)


@pytest.mark.parametrize("world", [1, 2, 3])
def test_the_parts_of_all_processes_are_the_batch(batches, world):
    whole = batches[3]
    parts = [Ranks(rank, world).batches(batches)[3] for rank in range(world)]
    for values, expected in zip(zip(*parts, strict=True), whole, strict=True):
        assert torch.equal(torch.cat(values), expected)
        assert values[0].dtype == expected.dtype


def test_a_batch_that_cannot_be_divided_is_refused(batches):
    with pytest.raises(SettingsError, match="batch_size: got 6 with 4 processes"):
        Ranks(0, 4).batches(batches)


@pytest.mark.parametrize("world", [1, 2, 4])
def test_the_noise_of_all_processes_is_the_batchs(world):
    noising, target = LabelNoising(num_classes=4), block_target(4)
    whole = noising(target, generator=torch.Generator().manual_seed(5))
    parts = [
        Ranks(rank, world).noising(noising)(part, generator=torch.Generator().manual_seed(5))
        for rank, part in enumerate(target.chunk(world))
    ]
    assert torch.equal(torch.cat(parts), whole)


def test_the_mean_of_the_parts_losses_is_the_loss_of_the_batch(monkeypatch):
    logits, target = torch.randn(4, 4, 32, 32), block_target(4)
    target[0] = 255
    parts = list(zip(logits.chunk(2), target.chunk(2), strict=True))
    mean = sum((part != 255).sum().float() for _, part in parts) / 2
    monkeypatch.setattr(Ranks, "mean", lambda self, values: mean)
    losses = [
        Ranks(rank, 2).segmentation_loss(cross_entropy)(*part) for rank, part in enumerate(parts)
    ]
    torch.testing.assert_close(sum(losses) / 2, cross_entropy(logits, target))


@pytest.mark.parametrize("encoder", ["tu-mobilenetv3_small_050", "resnet18"])
def test_synchronised_batch_norm_keeps_the_function_and_the_names_of_the_weights(encoder):
    """timm's layers that join BatchNorm and activation keep their activation."""
    network, images = build_network("unet", encoder, num_classes=4).eval(), random_images()
    with torch.no_grad():
        names, logits = list(network.state_dict()), network(images).logits
        synchronise_batch_norm(network, torch.device("cuda"), Ranks(0, 2))
        layers = [m for m in network.modules() if isinstance(m, torch.nn.BatchNorm2d)]
        assert layers == []
        assert list(network.state_dict()) == names
        assert torch.equal(network(images).logits, logits)


def test_one_process_is_left_as_it_is(batches):
    assert ALONE.batches(batches) is batches
    assert ALONE.segmentation_loss(cross_entropy) is cross_entropy
    assert ALONE.gather("value") == ["value"]
