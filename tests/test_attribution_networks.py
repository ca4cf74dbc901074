"""Contribution maps of all five networks of the paper: stems split, branches add up."""

import pytest
import torch

from labkit.attribution import branch_layercam, branch_means
from labkit.networks import find_stem
from tests.small_networks import CATEGORY, make_scene, shared_network

SMALL = "tu-mobilenetv3_small_100"
FIVE = [("fcn", SMALL), ("pspnet", SMALL), ("deeplabv3", SMALL), ("stdc", "stdc1")]
FIVE += [("ocrnet", "tu-hrnet_w18_small_v2"), ("ocrnet", SMALL)]


@pytest.mark.parametrize("layer", ["raw", "folded"])
@pytest.mark.parametrize(("architecture", "encoder"), FIVE)
def test_signed_maps_of_every_network_add_up_at_its_stem_s_stride(architecture, encoder, layer):
    network = shared_network(encoder, architecture)
    images, label, target = make_scene()
    options = {"category": CATEGORY, "region": "true", "target": target, "layer": layer}
    if layer == "folded":
        options["means"] = branch_means(network, [(images, label)])
    maps = branch_layercam(network, images, label, **options)
    stride = find_stem(network.encoder)[1].stride[0]
    assert maps.image.shape == (2, images.shape[2] // stride, images.shape[3] // stride)
    scale = maps.joint_signed.abs().max()
    torch.testing.assert_close(
        (maps.image_signed + maps.label_signed) / scale,
        maps.joint_signed / scale,
        rtol=0,
        atol=1e-4,
    )
    assert (maps.image.amax((1, 2)) > 0).all()
    assert (maps.label.amax((1, 2)) > 0).all()
