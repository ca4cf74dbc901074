"""Small things several tests share. One thread, so that numbers and times do not depend on the machine's load."""

import contextlib
import random
import shutil

import numpy as np
import pytest
import torch
from torch import nn

from labkit.datasets import Batch
from labkit.models import SegmentationNetwork, build_network, widen_stem

torch.set_num_threads(1)

NUM_CLASSES = 4


class _TinyEncoder(nn.Module):
    output_stride = 32

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, stride=2, padding=1, bias=True)
        self.norm = nn.BatchNorm2d(6)
        self.relu = nn.ReLU(inplace=True)
        self.body = nn.Conv2d(6, 8, 3, padding=1)

    def forward(self, inputs):
        return self.body(self.relu(self.norm(self.stem(inputs)))).tanh()


class _TinyNetwork(nn.Module):
    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.encoder, self.head = _TinyEncoder(), nn.Conv2d(8, num_classes, 1)

    def forward(self, inputs):
        return self.head(self.encoder(inputs))


@pytest.fixture
def tiny_network():
    """(label_channels, seed) -> a network of four small layers with a biased stem; logits at stride 2."""

    def make(label_channels: int = 0, *, seed: int = 0, num_classes: int = NUM_CLASSES) -> SegmentationNetwork:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            network = _TinyNetwork(num_classes)
        if label_channels:
            generator = torch.Generator().manual_seed(seed)
            widen_stem(network.encoder, label_channels, label_init="normal", generator=generator)
        return SegmentationNetwork(network, label_channels=label_channels, output_stride=2)

    return make


@pytest.fixture(scope="session")
def lively_network():
    """encoder -> an assisted Unet in eval mode whose BatchNorms have statistics, gains of both signs and shifts."""

    def make(encoder: str, *, label_channels: int = 1, label_init: str = "normal") -> SegmentationNetwork:
        network = build_network("unet", encoder, num_classes=NUM_CLASSES, label_channels=label_channels, label_init=label_init)
        return enliven(network).eval()

    return make


def enliven(network: nn.Module) -> nn.Module:
    """Random BatchNorm state, one gain in four negative."""
    generator = torch.Generator().manual_seed(7)
    for norm in (module for module in network.modules() if isinstance(module, nn.BatchNorm2d)):
        norm.running_mean.normal_(0, 0.2, generator=generator)
        norm.running_var.uniform_(0.5, 1.5, generator=generator)
        with torch.no_grad():
            norm.weight.uniform_(0.5, 1.5, generator=generator)
            norm.weight[::4] *= -1
            norm.bias.normal_(0, 0.2, generator=generator)
    return network


@pytest.fixture(scope="session")
def make_target():
    """(N, H, W) int64 of square blocks of class ids, a few of them void."""

    def make(n: int = 2, height: int = 32, width: int = 32, *, num_classes: int = NUM_CLASSES, seed: int = 0, void: bool = True):
        generator = torch.Generator().manual_seed(seed)
        ids = torch.randint(num_classes + void, (n, height // 8, width // 8), generator=generator)
        ids = ids.masked_fill(ids == num_classes, 255)
        return ids.repeat_interleave(8, 1).repeat_interleave(8, 2)

    return make


@pytest.fixture(scope="session")
def scene(make_target):
    """Two frames of 64 x 64 as attribution takes them: images, label channel, target; class 1 occurs in both."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, 3, 64, 64, generator=generator), torch.randn(2, 1, 64, 64, generator=generator), make_target(2, 64, 64)


@pytest.fixture
def make_batch(make_target):
    """A `Batch` of random images with a block target and its foreign target."""

    def make(n: int = 2, height: int = 32, width: int = 32, *, seed: int = 0) -> Batch:
        images = torch.randn(n, 3, height, width, generator=torch.Generator().manual_seed(seed))
        target = make_target(n, height, width, seed=seed)
        return Batch(images, target, torch.arange(n), target.roll(-(n // 2), 0))

    return make


@pytest.fixture
def rng_untouched():
    """A context that fails where the global random state of torch, numpy or Python differs afterwards."""

    @contextlib.contextmanager
    def watch():
        before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002 (the global one is meant)
        yield
        assert torch.equal(before[0], torch.get_rng_state())
        assert (before[1] == np.random.get_state()[1]).all()  # noqa: NPY002
        assert before[2] == random.getstate()

    return watch


@pytest.fixture(scope="session")
def made_runs(tmp_path_factory):
    """Folder of the complete runs of `tests.matrices`' matrix."""
    from tests import matrices

    folder = tmp_path_factory.mktemp("matrix")
    matrices.make(matrices.write(folder / "small.yaml", runs=folder / "runs"))
    return folder / "runs"


@pytest.fixture
def complete_matrix(made_runs, tmp_path):
    """A matrix file whose runs are all complete, in a folder of the test's own; nothing but runs is there."""
    from tests import matrices

    shutil.copytree(made_runs, tmp_path / "runs")
    return matrices.write(tmp_path / "small.yaml", runs=tmp_path / "runs")


@pytest.fixture
def fresh(tmp_path):
    """A matrix file without a run."""
    from tests import matrices

    return matrices.write(tmp_path / "small.yaml", runs=tmp_path / "runs")


@pytest.fixture
def ended(monkeypatch):
    """(code, what happens) stands in for Snakemake's end; the arguments it was called with."""
    called = []

    def stand_in(code=0, *, what=lambda: None):
        def scheduled(matrix, planned, to_do, arguments):
            called.append(arguments)
            what()
            return code, 60.0

        monkeypatch.setattr("labkit.workflow._schedule._scheduled", scheduled)
        return called

    return stand_in


@pytest.fixture(autouse=True)
def _no_data_folder(monkeypatch):
    """No test reads data that happens to be on this machine."""
    monkeypatch.delenv("LABKIT_DATA", raising=False)
