"""Checkpoints come back exactly, or are refused, named and set aside; nothing is executed."""

import pickle
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from labkit.errors import FileError
from labkit.training import checkpoint
from labkit.training.checkpoint import (
    LAST,
    PREVIOUS,
    REFUSED,
    TrainedParts,
    drop_checkpoints,
    load_checkpoint,
    save_checkpoint,
    source_hash,
)
from labkit.training.optimiser import make_optimiser

OPTIMISERS = {
    "adamw": {"optimiser": "adamw"},
    "sgd": {"optimiser": "sgd", "momentum": 0.9},
    "sgd without momentum": {"optimiser": "sgd"},
}
CPU = torch.device("cpu")


class Queue(nn.Module):
    """Stands for a distiller with an adapter (parameters) and a memory queue (a buffer)."""

    def __init__(self):
        super().__init__()
        self.adapter = nn.Conv2d(4, 4, 1)
        self.register_buffer("queue", torch.zeros(8))
        self.register_buffer("position", torch.zeros((), dtype=torch.int64))

    def forward(self, outputs):
        value = self.adapter(outputs).square().mean()
        self.queue[self.position % 8] = value.detach()
        self.position += 1
        return value + self.queue.mean() * outputs.mean()


@pytest.fixture
def run(tmp_path):
    return make_run(tmp_path)


def make_run(folder, run_id="run-a", precision="fp32"):
    return SimpleNamespace(
        folder=folder, run_id=run_id, settings=SimpleNamespace(precision=precision)
    )


def fresh(optimiser="adamw"):
    """Untrained network and distiller in channels_last, and their optimiser."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        layers = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 3)
        network = nn.Sequential(*layers).to(memory_format=torch.channels_last)
        parts = TrainedParts(network, Queue())
    options = {"learning_rate": 1e-2, "weight_decay": 1e-2} | OPTIMISERS[optimiser]
    return parts, make_optimiser(parts.parameters(), **options)


def trained(parts, optimiser, steps):
    """Train on inputs that are functions of the step."""
    for step in steps:
        inputs = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(step))
        optimiser.zero_grad()
        outputs = parts.network(inputs.to(memory_format=torch.channels_last))
        (outputs.square().mean() + parts.distiller(outputs)).backward()
        optimiser.step()
    return parts, optimiser


def state(parts, optimiser):
    values = {name: value.clone() for name, value in parts.state().items()}
    for index, entries in optimiser.state_dict()["state"].items():
        for name, value in entries.items():
            if value is not None:
                values[f"{index}.{name}"] = torch.as_tensor(value).clone()
    return values


def equal(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[n], second[n]) for n in first)


def save(run, pair, step):
    save_checkpoint(run, *pair, step=step, device=CPU)


def load(run, pair):
    return load_checkpoint(run, *pair, device=CPU)[0]


@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_network_distiller_optimiser_and_step_come_back_bit_for_bit(run, optimiser):
    pair = trained(*fresh(optimiser), range(3))
    save(run, pair, 3)
    other = fresh(optimiser)
    assert load(run, other) == 3
    assert equal(state(*other), state(*pair))
    assert [path.name for path in run.folder.iterdir()] == [LAST]


@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_training_from_a_checkpoint_equals_training_without_a_stop(run, optimiser):
    save(run, trained(*fresh(optimiser), range(3)), 3)
    resumed = fresh(optimiser)
    start = load(run, resumed)
    whole = trained(*fresh(optimiser), range(6))
    assert equal(state(*trained(*resumed, range(start, 6))), state(*whole))


@pytest.mark.parametrize("optimiser", ["adamw", "sgd"])
def test_the_optimisers_state_has_its_parameters_memory_format(run, optimiser):
    save(run, trained(*fresh(optimiser), range(1)), 1)
    parts, restored = fresh(optimiser)
    load_checkpoint(run, parts, restored, device=CPU)
    weight = parts.network[0].weight
    assert not weight.is_contiguous()
    strides = {v.stride() for v in restored.state[weight].values() if v is not None and v.ndim == 4}
    assert strides == {weight.stride()}


def test_without_a_checkpoint_training_starts_at_0_without_a_message(run, capsys):
    pair = fresh()
    before = state(*pair)
    assert load(run, pair) == 0
    assert equal(state(*pair), before)
    assert capsys.readouterr().out == ""


def test_the_last_two_are_kept_until_the_run_is_complete(run):
    pair = fresh()
    for step in (1, 2, 3):
        save(run, trained(*pair, [step]), step)
    assert {path.name for path in run.folder.iterdir()} == {LAST, PREVIOUS}
    (run.folder / LAST).unlink()
    assert load(run, fresh()) == 2
    drop_checkpoints(run)
    assert list(run.folder.iterdir()) == []


@pytest.fixture
def two(run):
    """A run with checkpoints of the steps 1 and 2; the state at step 1."""
    pair = trained(*fresh(), [0])
    save(run, pair, 1)
    first = state(*pair)
    save(run, trained(*pair, [1]), 2)
    return first


def refusal(run, first, capsys) -> str:
    """The message where the last checkpoint is refused and the one before it used."""
    spoilt = (run.folder / LAST).read_bytes()
    pair = fresh()
    assert load(run, pair) == 1
    assert equal(state(*pair), first)
    assert (run.folder / (LAST + REFUSED)).read_bytes() == spoilt
    assert not (run.folder / LAST).exists()
    message = capsys.readouterr().out
    assert message.startswith(f"{run.folder / LAST}: ")
    assert "; expected " in message
    assert f"It is kept as {LAST + REFUSED}; the one before it is tried." in message
    return message


@pytest.mark.parametrize("position", [i / 10 for i in range(11)])
def test_a_flipped_byte_is_refused_wherever_it_is(run, two, capsys, position):
    path = run.folder / LAST
    content = bytearray(path.read_bytes())
    content[round(position * (len(content) - 1))] ^= 1
    path.write_bytes(content)
    refusal(run, two, capsys)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"step":"2"', b'"step":"9"'),
        (b'"run_id":"run-a"', b'"run_id":"run-b"'),
        (b'"precision":"fp32"', b'"precision":"bf16"'),
        (b'"sha256":"', b'"sha257":"'),
        (b"network.0.bias", b"network.0.bios"),
        (b"optimiser.0.exp_avg", b"optimiser.9.exp_avg"),
    ],
)
def test_a_changed_header_is_refused(run, two, capsys, old, new):
    path = run.folder / LAST
    content = path.read_bytes()
    assert content.count(old) >= 1
    path.write_bytes(content.replace(old, new, 1))
    assert "SHA-256" in refusal(run, two, capsys)


@pytest.mark.parametrize("kept", [0, 8, 500, -1])
def test_a_torn_or_empty_file_is_refused(run, two, capsys, kept):
    path = run.folder / LAST
    path.write_bytes(path.read_bytes()[:kept])
    assert "no whole checkpoint" in refusal(run, two, capsys)


class Trap:
    """A pickle that makes a file when it is loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("kind", ["pickle", "torch"])
def test_a_pickle_is_refused_and_never_run(run, two, capsys, tmp_path, kind):
    sprung = tmp_path / "sprung"
    trap = Trap(sprung)
    path = run.folder / LAST
    path.write_bytes(pickle.dumps(trap)) if kind == "pickle" else torch.save({"a": trap}, path)
    assert "expected a safetensors file" in refusal(run, two, capsys)
    assert not sprung.exists()


def planted(run, tmp_path, *, step=5, **facts):
    """A sound checkpoint written under other facts, as the run's last one."""
    other = make_run(tmp_path / "elsewhere", **facts)
    save(other, trained(*fresh(), [0]), step)
    (other.folder / LAST).replace(run.folder / LAST)


@pytest.mark.parametrize("facts", [{"run_id": "run-b"}, {"precision": "bf16"}])
def test_a_checkpoint_of_another_run_or_precision_is_refused(run, two, tmp_path, capsys, facts):
    planted(run, tmp_path, **facts)
    (name, value), *_ = facts.items()
    assert f"a checkpoint of {name} {value}" in refusal(run, two, capsys)


def test_a_checkpoint_of_another_source_is_refused(run, two, tmp_path, capsys, monkeypatch):
    with monkeypatch.context() as before:
        before.setattr(checkpoint, "source_hash", lambda: "0123")
        planted(run, tmp_path)
    assert f"source 0123; expected {source_hash()}" in refusal(run, two, capsys)


def test_another_device_or_torch_is_reported_and_used(run, tmp_path, capsys, monkeypatch):
    with monkeypatch.context() as before:
        before.setattr(torch, "__version__", "2.99.0")
        planted(run, tmp_path)
    step, facts = load_checkpoint(run, *fresh(), device=torch.device("cuda"))
    assert (step, facts["device"]) == (5, "cpu")
    message = capsys.readouterr().out
    assert "torch 2.99.0" in message
    assert "device cpu" in message


def test_where_neither_can_be_used_training_starts_from_step_0(run, two, capsys):
    for name in (LAST, PREVIOUS):
        (run.folder / name).write_bytes(b"nothing")
    pair = fresh()
    before = state(*pair)
    assert load(run, pair) == 0
    assert equal(state(*pair), before)
    assert "training starts from step 0" in capsys.readouterr().out
    assert {path.name for path in run.folder.iterdir()} == {LAST + REFUSED, PREVIOUS + REFUSED}


@pytest.mark.parametrize("error", [KeyboardInterrupt, FileError(28, "the disk is full")])
def test_a_stop_between_the_renames_leaves_a_usable_one(run, two, monkeypatch, error):
    def stop(*_):
        raise error

    pair = trained(*fresh(), range(3))
    with monkeypatch.context() as broken:
        broken.setattr(checkpoint, "write_bytes", stop)
        with pytest.raises(type(error) if isinstance(error, OSError) else error):
            save(run, pair, 3)
    assert load(run, fresh()) == 2
