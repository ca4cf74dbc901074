"""Small networks and scenes for attribution tests.

Nothing here is random from one call to the next.
"""

import contextlib
import random
from collections.abc import Iterator
from functools import cache

import numpy as np
import torch
from torch import Tensor, nn

from labkit.method import Outputs, full_size
from labkit.networks import SegmentationNetwork, build_network

NUM_CLASSES, SIZE, CATEGORY = 4, 64, 1


class _TinyEncoder(nn.Module):
    def __init__(self, label_channels: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3 + label_channels, 6, 3, stride=2, padding=1, bias=True)
        self.norm = nn.BatchNorm2d(6)
        self.relu = nn.ReLU(inplace=True)
        self.body = nn.Conv2d(6, 8, 3, padding=1)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.body(self.relu(self.norm(self.stem(inputs)))).tanh()


class TinyAssisted(nn.Module):
    """Four small layers with a biased stem; logits at stride 2, sides of multiples of 32."""

    def __init__(self, label_channels: int = 1) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.encoder, self.head = _TinyEncoder(label_channels), nn.Conv2d(8, NUM_CLASSES, 1)
        self.label_channels = label_channels

    def forward(self, inputs: Tensor) -> Outputs:
        features = self.encoder(inputs)
        return Outputs(self.head(features), 2, {}, (features,))


@cache
def shared_network(encoder: str = "resnet18", architecture: str = "unet") -> SegmentationNetwork:
    """`lively_network`, built once; tests that change a network copy it."""
    return lively_network(encoder, architecture=architecture)


def lively_network(
    encoder: str = "resnet18", *, architecture: str = "unet", label_init: str = "normal"
) -> SegmentationNetwork:
    """An assisted network in eval mode whose BatchNorms have statistics, gains of both signs and
    shifts.
    """
    network = build_network(
        architecture, encoder, num_classes=NUM_CLASSES, label_channels=1, label_init=label_init
    )
    generator = torch.Generator().manual_seed(7)
    for norm in (m for m in network.modules() if isinstance(m, nn.BatchNorm2d)):
        norm.running_mean.normal_(0, 0.2, generator=generator)
        norm.running_var.uniform_(0.5, 1.5, generator=generator)
        with torch.no_grad():
            norm.weight.uniform_(0.5, 1.5, generator=generator)
            norm.weight[::4] *= -1
            norm.bias.normal_(0, 0.2, generator=generator)
    return network.eval()


def make_target(n: int = 2, height: int = 32, width: int = 32, *, seed: int = 0, void: bool = True):
    """(N, H, W) int64 of square blocks of class ids, a few of them void."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(NUM_CLASSES + void, (n, height // 8, width // 8), generator=generator)
    ids = ids.masked_fill(ids == NUM_CLASSES, 255)
    return ids.repeat_interleave(8, 1).repeat_interleave(8, 2)


def make_scene() -> tuple[Tensor, Tensor, Tensor]:
    """Two frames: images, label channel, target; the class explained occurs in both."""
    generator = torch.Generator().manual_seed(0)
    target = make_target(2, SIZE, SIZE)
    assert ((target == CATEGORY).flatten(1).sum(1) > 0).all()
    images = torch.randn(2, 3, SIZE, SIZE, generator=generator)
    return images, 2 * torch.randn(2, 1, SIZE, SIZE, generator=generator), target


def logits_of(network: SegmentationNetwork, images: Tensor, label: Tensor) -> Tensor:
    """Full-size logits."""
    outputs = network(torch.cat([images, label], 1))
    return full_size(outputs.logits, outputs.stride, images.shape[2:])


@contextlib.contextmanager
def rng_untouched() -> Iterator[None]:
    """Fails where the global random state of torch, numpy or Python differs afterwards."""
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    yield
    assert torch.equal(before[0], torch.get_rng_state())
    assert (before[1] == np.random.get_state()[1]).all()  # noqa: NPY002
    assert before[2] == random.getstate()
