"""Small networks and scenes for attribution tests. Nothing here is random from one call to the next."""

import contextlib
import random
from collections.abc import Iterator
from functools import cache

import numpy as np
import torch
from torch import Tensor, nn

from labkit.method import full_size
from labkit.networks import SegmentationNetwork, build_network

NUM_CLASSES, SIZE, CATEGORY = 4, 64, 1


@cache
def shared_network(encoder: str = "resnet18", architecture: str = "unet") -> SegmentationNetwork:
    """`lively_network`, built once; tests that change a network copy it."""
    return lively_network(encoder, architecture=architecture)


def lively_network(
    encoder: str = "resnet18", *, architecture: str = "unet", label_init: str = "normal"
) -> SegmentationNetwork:
    """An assisted network in eval mode whose BatchNorms have statistics, gains of both signs and shifts."""
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
