"""Raw maps equal the grad-cam library's after its scaling, which hides the common unit."""

import copy

import numpy as np
import pytest
import torch
from pytorch_grad_cam import LayerCAM
from pytorch_grad_cam.utils.image import scale_cam_image
from torch import nn

from labkit.attribution import branch_layercam, label_share, library_layercam
from labkit.networks import find_stem
from labkit.networks.export import FullSizeLogits
from tests.small_networks import (
    CATEGORY,
    SIZE,
    TinyAssisted,
    lively_network,
    logits_of,
    make_scene,
    shared_network,
)


@pytest.fixture(scope="module")
def scene():
    return make_scene()


@pytest.fixture
def networks():
    """encoder -> network, built once and never changed by a test."""
    return shared_network


def explain(network, scene, **options):
    images, label, target = scene
    options = {"category": CATEGORY, "region": "true", "target": target, "layer": "raw"} | options
    return branch_layercam(network, images, label, **options)


def as_the_library_scales(maps: torch.Tensor) -> np.ndarray:
    return scale_cam_image(np.maximum(scale_cam_image(maps.cpu().numpy(), (SIZE, SIZE)), 0))


def check_against_the_library(network, scene):
    images, label, target = scene
    drawn = library_layercam(network, images, label, category=CATEGORY, region=target == CATEGORY)
    maps = explain(network, scene)
    for name in ("image", "label"):
        np.testing.assert_allclose(
            as_the_library_scales(getattr(maps, name)), drawn[name], rtol=0, atol=1e-5
        )
        assert drawn[name].max(axis=(1, 2)) == pytest.approx([1, 1], abs=1e-5)


# Not vgg11: its max-pools switch with the last bit of float32, so that a split and an undivided
# stem differ by .3 % (0 in float64).
ORACLES = ["resnet18", "tu-resnet26d", "mit_b0"]


@pytest.mark.parametrize("encoder", ORACLES)
def test_raw_maps_equal_the_library_after_its_scaling(networks, scene, encoder):
    check_against_the_library(networks(encoder), scene)


def test_raw_maps_equal_the_library_where_a_relu_rewrites_the_stem_s_own_output(scene):
    network = TinyAssisted().eval()
    network.encoder.norm = nn.Identity()
    assert network.encoder.relu.inplace
    check_against_the_library(network, scene)


@pytest.mark.gpu
@pytest.mark.parametrize("encoder", ORACLES)
def test_raw_maps_equal_the_library_on_a_gpu(scene, encoder):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    check_against_the_library(lively_network(encoder).cuda(), [part.cuda() for part in scene])


class TwoConvolutions(nn.Module):
    def __init__(self, weight):
        super().__init__()
        self.image = nn.Conv2d(3, len(weight), 7, stride=2, padding=3, bias=False)
        self.label = nn.Conv2d(1, len(weight), 7, stride=2, padding=3, bias=False)
        self.image.weight, self.label.weight = (
            nn.Parameter(weight[:, :3].clone()),
            nn.Parameter(weight[:, 3:].clone()),
        )

    def forward(self, inputs):
        return self.image(inputs[:, :3]) + self.label(inputs[:, 3:])


@pytest.mark.parametrize("region", ["true", "predicted"])
def test_raw_maps_equal_grad_cam_at_convolutions_split_here(networks, scene, region):
    network, (images, label, target) = networks("resnet18"), scene
    inputs = torch.cat([images, label], 1)
    with torch.no_grad():
        predicted = logits_of(network, images, label).argmax(1) == CATEGORY
    inside = target == CATEGORY if region == "true" else predicted
    split = FullSizeLogits(copy.deepcopy(network))
    stem = TwoConvolutions(network.encoder.conv1.weight.detach())
    split.network.encoder.conv1 = stem
    targets = [lambda logits, mask=mask: logits[CATEGORY][mask].mean() for mask in inside]
    maps, drawn = (
        explain(network, scene, region=region),
        library_layercam(network, images, label, category=CATEGORY, region=inside),
    )
    for name in ("image", "label"):
        cam = LayerCAM(split, [getattr(stem, name)])
        oracle = cam(inputs, targets=targets)
        cam.activations_and_grads.release()
        np.testing.assert_allclose(
            as_the_library_scales(getattr(maps, name)), oracle, rtol=0, atol=1e-5
        )
        np.testing.assert_allclose(drawn[name], oracle, rtol=0, atol=1e-5)


def test_the_library_hides_that_scale(networks, scene):
    images, label, target = scene
    network = copy.deepcopy(networks("resnet18"))
    loud = label_share(explain(network, scene))
    with torch.no_grad():
        find_stem(network.encoder)[1].weight[:, 3:] *= 0.01
    assert (label_share(explain(network, scene)) < 0.1 * loud).all()
    drawn = library_layercam(network, images, label, category=CATEGORY, region=target == CATEGORY)
    assert drawn["label"].max(axis=(1, 2)) == pytest.approx([1, 1], abs=1e-3)
