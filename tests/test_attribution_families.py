"""Branch maps and deeper layers of every family: the split is exact at its first convolution."""

import pytest
import torch

from labkit.attribution import branch_layercam, branch_means, joint_layercam
from labkit.attribution.compare import default_layers
from labkit.attribution.layers import layer_names
from labkit.networks import find_stem
from tests.small_networks import CATEGORY, make_target, shared_network

FAMILIES = [
    ("fcn", "resnet18", 2),
    ("pspnet", "resnet18", 2),
    ("deeplabv3", "resnet18", 2),
    ("stdc", "stdc1", 2),
    ("ocrnet", "tu-hrnet_w18_small", 2),
    ("fpn", "mit_b0", 4),
]
HEIGHT, WIDTH = 45, 70  # padded inside the network


@pytest.fixture(scope="module")
def scene():
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(2, 3, HEIGHT, WIDTH, generator=generator)
    label = torch.randn(2, 1, HEIGHT, WIDTH, generator=generator)
    return images, label, make_target(2, 48, 72, void=False)[:, :HEIGHT, :WIDTH].contiguous()


@pytest.mark.parametrize(
    ("architecture", "encoder", "stride", "layer"),
    [(*family, layer) for family in FAMILIES for layer in ("raw", "folded")][:-1],
)  # the last one's stem is read by a LayerNorm, so it cannot be folded
def test_branch_maps_add_up_at_the_stem_s_stride(scene, architecture, encoder, stride, layer):
    network = shared_network(encoder, architecture)
    images, label, target = scene
    means = branch_means(network, [(images, label)])
    maps = branch_layercam(
        network, images, label, category=CATEGORY, region="true", target=target, layer=layer,
        means=means,
    )  # fmt: skip
    difference = (maps.image_signed + maps.label_signed - maps.joint_signed).norm()
    assert maps.joint_signed.norm() > 0
    assert difference <= 1e-5 * maps.joint_signed.norm()
    assert maps.image.shape == (2, -(-HEIGHT // stride), -(-WIDTH // stride))


class Holder:
    def __init__(self, network):
        self.network = network


@pytest.mark.parametrize(("architecture", "encoder", "stride"), FAMILIES)
def test_layers_run_from_the_stem_to_the_head_and_have_joint_maps(
    scene, architecture, encoder, stride
):
    network = shared_network(encoder, architecture)
    images, label, target = scene
    names = layer_names(network)
    assert names[0].startswith("encoder.")
    assert names[-1].startswith("segmentation_head")
    layers = default_layers(Holder(network))
    assert layers[0] == f"encoder.{find_stem(network.encoder)[0]}"
    joint = joint_layercam(
        network, images, label, layers=layers, category=CATEGORY, region="true", target=target
    )
    assert joint.combined.shape == (2, HEIGHT, WIDTH)
    assert joint.strides[layers[0]] == stride
    assert len(layers) >= 3
