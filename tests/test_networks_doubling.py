"""Unet's decoder doubles its maps inside convolutions, under CPU autocast alone."""

import copy

import pytest
import torch
from segmentation_models_pytorch.decoders.unet.decoder import UnetDecoderBlock
from torch import Tensor, nn

from labkit.networks import build_network, doubling
from labkit.networks.doubling import DoublingBlock, use_doubling_blocks
from tests.tiny import seeded

SIZE = (8, 12)


@pytest.fixture
def small_maps_double(monkeypatch):
    """Maps of any size double, and in the tests' own precision."""
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda device: True)
    monkeypatch.setattr(doubling, "LEAST_POSITIONS", 1)


def blocks(skip_channels: int = 0) -> tuple[nn.Module, nn.Module]:
    """A block of smp's and its copy that doubles, in float64."""
    plain = UnetDecoderBlock(3, skip_channels, 4).double()
    doubled = copy.deepcopy(plain)
    use_doubling_blocks(doubled)
    assert type(doubled) is DoublingBlock
    return plain, doubled


def maps(skip_channels: int = 0) -> list[Tensor]:
    """A map of half the size and, where it has channels, a skip connection."""
    shapes = [(2, 3, 4, 6)] + [(2, skip_channels, *SIZE)] * (skip_channels > 0)
    return [torch.randn(shape, generator=seeded(), dtype=torch.float64) for shape in shapes]


def values_and_gradients(block: nn.Module, maps: list[Tensor], size=SIZE) -> list[Tensor]:
    leaves = [values.clone().requires_grad_() for values in maps]
    outputs = block(leaves[0], *size, *leaves[1:])
    (outputs * torch.linspace(-1, 1, outputs.numel()).view_as(outputs)).sum().backward()
    return [outputs, *(leaf.grad for leaf in leaves), *(p.grad for p in block.parameters())]


@pytest.mark.parametrize("skip_channels", [0, 2])
def test_values_and_gradients_are_those_of_the_plain_block(skip_channels, small_maps_double):
    results = [values_and_gradients(block, maps(skip_channels)) for block in blocks(skip_channels)]
    for plain, doubled in zip(*results, strict=True):
        torch.testing.assert_close(doubled, plain, rtol=1e-9, atol=1e-12)


def test_a_doubling_block_stores_no_doubled_map(small_maps_double, monkeypatch):
    plain, doubled = blocks()
    monkeypatch.setattr(torch.nn.functional, "interpolate", None)
    values_and_gradients(doubled, maps())
    with pytest.raises(TypeError):
        values_and_gradients(plain, maps())


def test_maps_that_are_not_doubled_go_through_the_plain_block(small_maps_double):
    plain, doubled = (values_and_gradients(block, maps(), (8, 13)) for block in blocks())
    assert all(torch.equal(a, b) for a, b in zip(plain, doubled, strict=True))


def test_a_unet_is_the_same_outside_of_autocast_and_close_within():
    network = build_network("unet", "tu-mobilenetv3_small_100", num_classes=4).eval()
    doubled = copy.deepcopy(network)
    use_doubling_blocks(doubled)
    assert doubled.state_dict().keys() == network.state_dict().keys()
    images = torch.randn(4, 3, 64, 96, generator=seeded())
    with torch.no_grad():
        exact = network(images).logits
        assert torch.equal(doubled(images).logits, exact)
        with torch.autocast("cpu", torch.bfloat16):
            errors = [(n(images).logits - exact).abs().max() for n in (network, doubled)]
    assert 0 < errors[1] < 2 * errors[0]
