"""Deeper layers against the library and by hand; randomised weights and permuted labels do what
they say.
"""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from pytorch_grad_cam import LayerCAM

from labkit.attribution import (
    BranchMaps,
    branch_layercam,
    cascading_randomisation,
    joint_layercam,
    label_share,
    layer_names,
    layercam,
    permute_label,
)
from labkit.attribution.layers import named_layers, piece_of
from labkit.networks.export import FullSizeLogits
from tests.small_networks import CATEGORY, SIZE, make_scene, make_target, shared_network


@pytest.fixture(scope="module")
def network():
    return shared_network("resnet18")


@pytest.fixture(scope="module")
def scene():
    return make_scene()


def asked(scene, **options):
    return {"category": CATEGORY, "region": "true", "target": scene[2]} | options


# deeper layers


def test_the_mean_over_layers_equals_the_library(network, scene):
    images, label, target = scene
    names = ["encoder.layer1", "encoder.layer4", "decoder.blocks.2"]
    found = joint_layercam(network, images, label, layers=names, combine="mean", **asked(scene))
    full = FullSizeLogits(copy.deepcopy(network)).requires_grad_(True)
    cam = LayerCAM(full, [named_layers(full.network)[name] for name in names])
    targets = [
        lambda logits, where=where: logits[CATEGORY][where].mean() for where in target == CATEGORY
    ]
    oracle = cam(torch.cat([images, label], 1), targets=targets)
    cam.activations_and_grads.release()
    np.testing.assert_allclose(
        found.combined.numpy(), oracle, rtol=0, atol=1e-4
    )  # it adds 1e-7 to each maximum


def test_the_maximum_over_layers_is_the_authors(network, scene):
    images, label, _ = scene
    found = joint_layercam(
        network, images, label, layers=["encoder.layer2", "decoder.blocks.4"], **asked(scene)
    )
    scaled = [torch.tanh(2 * one / one.amax((1, 2), keepdim=True)) for one in found.layers.values()]
    torch.testing.assert_close(found.combined, torch.maximum(*scaled))
    assert found.layers["encoder.layer2"].shape == (2, SIZE, SIZE)


def test_at_the_stem_the_joint_map_is_the_sum_of_the_branches(network, scene):
    images, label, _ = scene
    joint = joint_layercam(network, images, label, layers=["encoder.conv1"], **asked(scene))
    maps = branch_layercam(network, images, label, **asked(scene, layer="raw"))
    both = (maps.image_signed + maps.label_signed).relu()[:, None]
    wanted = F.interpolate(both, (SIZE, SIZE), mode="bilinear", align_corners=False)[:, 0]
    torch.testing.assert_close(joint.layers["encoder.conv1"], wanted, rtol=1e-3, atol=1e-6)


def test_a_deep_map_covers_an_image_whose_sides_are_no_multiple_of_its_stride(network, scene):
    images, label, target = (part[..., :40, :52] for part in scene)
    options = asked((images, label, target))
    whole = joint_layercam(network, images, label, layers=["encoder.layer4"], **options)
    assert whole.strides == {"encoder.layer4": 32}
    deep = whole.layers["encoder.layer4"]
    assert deep.shape == (2, 40, 52)
    middles = deep[:, 16, [16, 48]]  # centres of the two positions of a map of 2 x 2
    steps = (deep[:, 16, 32:33] - middles[:, :1]) / (middles[:, 1:] - middles[:, :1])
    torch.testing.assert_close(steps, torch.full((2, 1), 16.5 / 32), rtol=0.05, atol=0)


def test_layercam_and_label_share_of_hand_computed_numbers():
    activation, gradient = torch.tensor([[2.0, -3.0, 5.0], [1.0, 2.0, -1.0]]).view(2, 1, 3, 1, 1)
    assert layercam(activation, gradient).item() == 2 - 6
    image, label = (
        torch.tensor([[[1.0, 2.0]], [[0.0, 0.0]]]),
        torch.tensor([[[1.0, 0.0]], [[0.0, 0.0]]]),
    )
    share = label_share(
        BranchMaps(image, label, image, label, image + label, torch.zeros(2), torch.ones(2).bool())
    )
    torch.testing.assert_close(share, torch.tensor([0.25, torch.nan]), equal_nan=True)


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        (
            ["encoder.layer5"],
            r"no layer 'encoder.layer5'; did you mean encoder\.layer\d\? .*encoder\.layer1\.0",
        ),
        (["encoder"], "encoder returns no feature map"),
        (["encoder.layer1.0.relu"], "runs more than once"),
    ],
)
def test_a_layer_that_does_not_serve_is_refused_with_those_that_exist(
    network, scene, layers, words
):
    images, label, _ = scene
    with pytest.raises(ValueError, match=words):
        joint_layercam(network, images, label, layers=layers, **asked(scene))
    assert all(not module._forward_hooks for module in network.modules())


# sanity


def test_pieces_run_from_the_stem_to_the_logits(network):
    names = layer_names(network)
    assert names[0] == "encoder.conv1"
    assert names[-1] == "segmentation_head.0"
    assert (
        names.index("encoder.layer1.0")
        < names.index("encoder.layer4.1")
        < names.index("decoder.blocks.0")
    )
    assert [piece_of(name) for name in ("encoder.layer1.0.conv1", "encoder.conv1", "head.0")] == [
        "encoder.layer1.0",
        "encoder.conv1",
        "head.0",
    ]
    assert "encoder.layer1.0" in layer_names(network, with_maps=True)


def test_weights_are_randomised_from_the_top_and_the_network_itself_is_not(network):
    before = copy.deepcopy(network.state_dict())
    trained = {
        name: [p.clone() for p in module._parameters.values() if p is not None]
        for name, module in named_layers(network).items()
    }
    changed = []
    for piece, copied in cascading_randomisation(
        network, generator=torch.Generator().manual_seed(0)
    ):
        differ = {
            f"{name}.{own}"
            for name, module in named_layers(copied).items()
            for own, (value, old) in enumerate(
                zip(
                    [p for p in module._parameters.values() if p is not None],
                    trained[name],
                    strict=True,
                )
            )
            if not torch.equal(value, old)
        }
        assert all(piece_of(name.rpartition(".")[0]) in [*changed, piece] for name in differ)
        assert any(name.startswith(f"{piece}.") for name in differ)
        changed.append(piece)
    assert changed == layer_names(network)[::-1]
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_a_permuted_label_keeps_its_counts():
    target = make_target(2, 32, 32)
    half, whole = (
        permute_label(target, fraction, generator=torch.Generator().manual_seed(0))
        for fraction in (0.5, 1.0)
    )
    assert torch.equal(permute_label(target, 0.0, generator=torch.Generator()), target)
    for found in (half, whole):
        assert torch.equal(found.flatten(1).sort(1).values, target.flatten(1).sort(1).values)
    assert 0 < (half != target).float().mean() < (whole != target).float().mean()
    with pytest.raises(ValueError, match="expected 0-1"):
        permute_label(target, 2.0, generator=torch.Generator())
