"""Attribution leaves no trace, in memory or on the model, and does not depend on how the model is
kept.
"""

import copy
import gc

import psutil
import pytest
import torch

from labkit.attribution import (
    branch_layercam,
    branch_means,
    branch_shapley,
    integrated_gradients,
    joint_layercam,
    layer_names,
    library_layercam,
    noised_layercam,
)
from labkit.networks import find_stem
from tests.small_networks import CATEGORY, TinyAssisted, lively_network, make_scene, rng_untouched

ENCODER = "tu-mobilenetv3_small_100"


@pytest.fixture(scope="module")
def scene():
    return make_scene()


def every_method(network, scene):
    """Results of all that looks into a network, by name."""
    images, label, target = scene
    asked = {"region": "true", "target": target}
    means = branch_means(network, [(images, label)])
    names = layer_names(network, with_maps=True)
    found = {
        "raw": branch_layercam(network, images, label, category=CATEGORY, layer="raw", **asked),
        "folded": branch_layercam(
            network, images, label, category=range(4), means=means, score="margin", **asked
        ),
        "noised": noised_layercam(
            network, images, [label, 2 * label], category=CATEGORY, means=means, **asked
        ).mean,
        "shapley": branch_shapley(network, images, label, category=CATEGORY, **asked),
        "gradients": integrated_gradients(
            network, images, label, category=CATEGORY, steps=4, **asked
        ),
        "joint": joint_layercam(
            network, images, label, category=CATEGORY, layers=names[:2], **asked
        )[3:],
    }
    found["library"] = [
        torch.from_numpy(v)
        for v in library_layercam(
            network, images, label, category=CATEGORY, region=target == 1
        ).values()
    ]
    return found


@pytest.mark.parametrize("is_frozen", [False, True])
@pytest.mark.parametrize("training", [False, True])
def test_attribution_leaves_the_network_as_it_was(scene, is_frozen, training):
    network = lively_network(ENCODER).train(training).requires_grad_(not is_frozen)
    network.encoder.train(not training)  # a mixture of modes must survive
    first = next(network.parameters())
    first.grad = torch.full_like(first, 3.0)

    def state():
        hooks = [
            (len(m._forward_hooks), len(m._forward_pre_hooks), len(m._backward_hooks), m.training)
            for m in network.modules()
        ]
        flags = [(p.requires_grad, p.grad is None, p.dtype) for p in network.parameters()]
        return hooks, flags, type(find_stem(network.encoder)[1])

    before, values = state(), {name: value.clone() for name, value in network.state_dict().items()}
    images, label, _ = scene
    with rng_untouched():
        every_method(network, scene)
        with pytest.raises(ValueError, match="region"):
            branch_layercam(network, images, label, category=0, region="somewhere")
        with pytest.raises(ValueError, match="no layer"):
            joint_layercam(network, images, label, category=0, layers=["nowhere"])
    assert state() == before
    assert (first.grad == 3).all()
    assert all(torch.equal(value, values[name]) for name, value in network.state_dict().items())
    assert not images.requires_grad
    assert not label.requires_grad


def test_nothing_depends_on_mode_frozen_parameters_or_autocast_around_it(scene):
    network = lively_network(ENCODER)
    expected = every_method(network, scene)
    other = copy.deepcopy(network).train().requires_grad_(False)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        found = every_method(other, scene)
    compare(found, expected)


def test_a_bfloat16_network_is_explained_in_float32(scene):
    """It answers as a float32 network with the same, rounded, weights."""
    half = lively_network(ENCODER).bfloat16()
    expected = every_method(copy.deepcopy(half).float(), scene)
    found = every_method(half, scene)
    compare(found, expected)
    assert next(half.parameters()).dtype == torch.bfloat16


def compare(found, expected):
    for name, parts in expected.items():
        for part, reference in zip(found[name], parts, strict=True):
            if part.dtype != torch.bool:
                assert part.dtype == torch.float32, name
            torch.testing.assert_close(
                part, reference, equal_nan=True, msg=lambda text, name=name: f"{name}: {text}"
            )


def test_memory_does_not_grow():
    """A kept graph would hold about a megabyte a call."""
    network, process = TinyAssisted().eval(), psutil.Process()
    generator = torch.Generator().manual_seed(0)
    images, label = (
        torch.randn(1, 3, 128, 128, generator=generator),
        torch.randn(1, 1, 128, 128, generator=generator),
    )
    target = torch.full((1, 128, 128), CATEGORY)
    asked = {"category": range(4), "region": "true", "target": target}
    means = branch_means(network, [(images, label)])
    for call in range(1, 121):
        branch_layercam(network, images, label, means=means, **asked)
        branch_shapley(network, images, label, **asked)
        joint_layercam(
            network,
            images,
            label,
            layers=["encoder.stem", "encoder.body"],
            **asked | {"category": CATEGORY},
        )
        if call == 40:
            gc.collect()
            before = process.memory_info().rss
    gc.collect()
    assert process.memory_info().rss - before < 20e6
