"""Checkpoints come back exactly, or are named, refused and kept, and the one before them is used. Nothing in one is executed."""

import json
import pickle

import pytest
import torch

import labkit
from labkit import checkpoints, engine, experiments
from labkit.checkpoints import LAST, PREVIOUS, REFUSED, drop_checkpoints, load_checkpoint, save_checkpoint
from labkit.config import TeacherSettings
from labkit.files import FileError, file_hash, write_json
from labkit.records import RecordError, Run, load_run
from tests.test_engine import same, student, weights

OPTIMISERS = {
    "adamw": lambda network: torch.optim.AdamW(network.parameters(), lr=1e-2, weight_decay=1e-2),
    "sgd": lambda network: torch.optim.SGD(network.parameters(), lr=1e-2, momentum=0.9, weight_decay=1e-4),
    "sgd without momentum": lambda network: torch.optim.SGD(network.parameters(), lr=1e-2),
}


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "run-a"
    folder.mkdir()
    return Run(folder, "run-a", "teacher", "lad", TeacherSettings())


@pytest.fixture
def fresh(tiny_network):
    """Name of an optimiser -> an untrained network with a label channel, in training mode, and its optimiser."""

    def make(optimiser="adamw"):
        network = tiny_network(1).train()
        return network, OPTIMISERS[optimiser](network)

    return make


def trained(network, optimiser, steps):
    """Train on batches that are functions of the step."""
    for step in steps:
        inputs = torch.randn(2, 4, 16, 16, generator=torch.Generator().manual_seed(step))
        optimiser.zero_grad()
        network(inputs).square().mean().backward()
        optimiser.step()
    return network, optimiser


def state(network, optimiser):
    return {name: value.clone() for name, value in network.state_dict().items()} | {
        f"{index}.{name}": torch.as_tensor(value).clone()
        for index, values in optimiser.state_dict()["state"].items()
        for name, value in values.items()
        if value is not None
    }


def equal(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


# what comes back


@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_weights_optimiser_and_step_come_back_bit_for_bit(run, fresh, optimiser):
    pair = trained(*fresh(optimiser), range(3))
    save_checkpoint(run, *pair, step=3)
    other = fresh(optimiser)
    assert load_checkpoint(run, *other) == 3
    assert equal(state(*other), state(*pair))
    assert [path.name for path in run.folder.iterdir()] == [LAST]


@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_training_from_a_checkpoint_equals_training_without_a_stop(run, fresh, optimiser):
    save_checkpoint(run, *trained(*fresh(optimiser), range(3)), step=3)
    resumed = fresh(optimiser)
    start = load_checkpoint(run, *resumed)
    assert equal(state(*trained(*resumed, range(start, 6))), state(*trained(*fresh(optimiser), range(6))))


def test_without_a_checkpoint_training_starts_at_0_and_nothing_is_said(run, fresh, capsys):
    pair = fresh()
    before = state(*pair)
    assert load_checkpoint(run, *pair) == 0
    assert equal(state(*pair), before)
    assert capsys.readouterr().out == ""


def test_the_last_two_are_kept_until_the_run_is_complete(run, fresh):
    pair = fresh()
    for step in (1, 2, 3):
        save_checkpoint(run, *trained(*pair, [step]), step=step)
    assert {path.name for path in run.folder.iterdir()} == {LAST, PREVIOUS}
    (run.folder / LAST).unlink()
    assert load_checkpoint(run, *fresh()) == 2
    drop_checkpoints(run)
    assert list(run.folder.iterdir()) == []


# what is refused


@pytest.fixture
def two(run, fresh):
    """A run with checkpoints of the steps 1 and 2; the state at step 1."""
    pair = trained(*fresh(), [0])
    save_checkpoint(run, *pair, step=1)
    first = state(*pair)
    save_checkpoint(run, *trained(*pair, [1]), step=2)
    return first


def refused(run, fresh, first, capsys):
    """What is said where the last checkpoint cannot be used, once it is seen that the one before it was."""
    spoilt = (run.folder / LAST).read_bytes()
    pair = fresh()
    assert load_checkpoint(run, *pair) == 1
    assert equal(state(*pair), first)
    assert (run.folder / (LAST + REFUSED)).read_bytes() == spoilt
    assert not (run.folder / LAST).exists()
    said = capsys.readouterr().out
    assert said.startswith(f"{run.folder / LAST}: found ")
    assert "; expected " in said
    assert f"It is kept as {LAST + REFUSED}; the one before it is tried." in said
    return said


@pytest.mark.parametrize("place", [i / 20 for i in range(21)])
def test_a_flipped_byte_is_refused_wherever_it_is(run, fresh, two, capsys, place):
    path = run.folder / LAST
    content = bytearray(path.read_bytes())
    content[round(place * (len(content) - 1))] ^= 1
    path.write_bytes(content)
    refused(run, fresh, two, capsys)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"step":"2"', b'"step":"9"'),
        (b'"run_id":"run-a"', b'"run_id":"run-b"'),
        (f'"labkit":"{labkit.__version__}"'.encode(), f'"labkit":"{labkit.__version__[:-1]}x"'.encode()),
        (b'"torch":"', b'"tOrch":"'),
        (b'"sha256":"', b'"sha257":"'),
        (b"network.network.head.bias", b"network.network.head.bios"),
        (b"optimiser.0.exp_avg", b"optimiser.9.exp_avg"),
    ],
)
def test_a_changed_header_is_refused(run, fresh, two, capsys, old, new):
    path = run.folder / LAST
    content = path.read_bytes()
    assert content.count(old) >= 1
    path.write_bytes(content.replace(old, new, 1))
    assert "expected its own SHA-256 to agree" in refused(run, fresh, two, capsys)


@pytest.mark.parametrize("kept", [0, 1, 7, 8, 9, 500, -9, -1])
def test_a_torn_or_empty_file_is_refused(run, fresh, two, capsys, kept):
    path = run.folder / LAST
    path.write_bytes(path.read_bytes()[:kept])
    assert "found no whole checkpoint" in refused(run, fresh, two, capsys)


def test_a_file_with_something_behind_its_end_is_refused(run, fresh, two, capsys):
    with (run.folder / LAST).open("ab") as file:
        file.write(b"\0")
    assert "found no whole checkpoint" in refused(run, fresh, two, capsys)


class Trap:
    """A pickle that makes a file when it is loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.fixture
def trap(tmp_path):
    """Path -> writes pickles there that would make `sprung` if any of them were loaded; seen to work."""
    sprung = tmp_path / "sprung"
    pickle.loads(pickle.dumps(Trap(sprung))).close()
    sprung.unlink()

    def write(path, kind):
        path.write_bytes(pickle.dumps(Trap(sprung))) if kind == "pickle" else torch.save({"network.weight": Trap(sprung)}, path)

    yield write
    assert not sprung.exists()


@pytest.mark.parametrize("kind", ["pickle", "torch"])
def test_a_pickle_in_disguise_is_refused_and_never_run(run, fresh, two, capsys, trap, kind):
    trap(run.folder / LAST, kind)
    assert "expected a safetensors file" in refused(run, fresh, two, capsys)


def planted(run, fresh, run_id):
    """A sound checkpoint of step 5, written elsewhere for a run of that id, in the place of the last one."""
    other = Run(run.folder.with_name("elsewhere"), run_id, "teacher", "lad", run.settings)
    save_checkpoint(other, *trained(*fresh(), [0]), step=5)
    (other.folder / LAST).replace(run.folder / LAST)


def test_another_run_s_checkpoint_is_refused_by_name(run, fresh, two, capsys):
    planted(run, fresh, "run-b")
    assert "found a checkpoint of run-b; expected one of run-a." in refused(run, fresh, two, capsys)


def test_another_version_s_checkpoint_is_refused_by_number(run, fresh, two, capsys, monkeypatch):
    with monkeypatch.context() as before:
        before.setattr(labkit, "__version__", "0.0.9")
        planted(run, fresh, "run-a")
    assert f"found a checkpoint of labkit 0.0.9; expected {labkit.__version__}." in refused(run, fresh, two, capsys)


def test_another_torch_is_said_and_used(run, fresh, capsys, monkeypatch):
    with monkeypatch.context() as before:
        before.setattr(torch, "__version__", "2.99.0")
        planted(run, fresh, "run-a")
    assert load_checkpoint(run, *fresh()) == 5
    said = capsys.readouterr().out
    assert f"written under torch 2.99.0, going on under {torch.__version__}; the last digits may differ" in said


def test_where_neither_can_be_used_training_starts_from_step_0_and_says_so(run, fresh, two, capsys):
    for name in (LAST, PREVIOUS):
        (run.folder / name).write_bytes(b"nothing")
    pair = fresh()
    before = state(*pair)
    assert load_checkpoint(run, *pair) == 0
    assert equal(state(*pair), before)
    first, second = capsys.readouterr().out.splitlines()
    assert LAST in first
    assert first.endswith("the one before it is tried.")
    assert PREVIOUS in second
    assert second.endswith("training starts from step 0.")
    assert {path.name for path in run.folder.iterdir()} == {LAST + REFUSED, PREVIOUS + REFUSED}


@pytest.mark.parametrize("error", [KeyboardInterrupt, FileError(28, "the disk is full")])
def test_a_stop_between_the_renames_leaves_one_that_is_used(run, fresh, two, monkeypatch, error):
    def stop(*_):
        raise error

    pair = trained(*fresh(), range(3))
    with monkeypatch.context() as broken:
        broken.setattr(checkpoints, "write_bytes", stop)
        with pytest.raises(type(error) if isinstance(error, OSError) else error):
            save_checkpoint(run, *pair, step=3)
    assert load_checkpoint(run, *fresh()) == 2


# through the engine


def test_a_run_goes_on_from_the_checkpoint_before_a_spoilt_one_to_the_same_weights(tmp_path, monkeypatch, capsys):
    whole = student(tmp_path / "whole")
    experiments.fit(whole)
    real = engine._update

    def stop_at_the_last(*args):
        if args[5] == 3:
            raise KeyboardInterrupt
        return real(*args)

    with monkeypatch.context() as killed:
        killed.setattr(engine, "_update", stop_at_the_last)
        with pytest.raises(KeyboardInterrupt):
            experiments.fit(student(tmp_path / "stopped", checkpoint_every_steps=1))
    resumed = student(tmp_path / "stopped", checkpoint_every_steps=1)
    last = resumed.run.folder / LAST
    last.write_bytes(last.read_bytes()[:-1])
    experiments.fit(resumed)
    assert "the one before it is tried" in capsys.readouterr().out
    assert same(weights(resumed), weights(whole))
    assert [row["step"] for row in resumed.run.log_rows() if "loss" in row] == [1, 2, 3, 4]


@pytest.mark.parametrize("forged", [False, True])
def test_weights_replaced_by_a_pickle_are_refused_and_never_run(tmp_path, trap, forged):
    """Once with the manifest as it was, once with a manifest that has the pickle's own hash."""
    experiment = student(tmp_path, train_steps=1)
    experiments.fit(experiment)
    folder = experiment.run.folder
    trap(folder / "model.safetensors", "torch")
    if forged:
        manifest = json.loads((folder / "manifest.json").read_text())
        manifest["outputs"]["model.safetensors"] = file_hash(folder / "model.safetensors")
        write_json(folder / "manifest.json", manifest)
    with pytest.raises(RecordError, match=r"model\.safetensors"):
        experiments.load_experiment(load_run(folder))
