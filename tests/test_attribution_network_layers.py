"""Joint maps at the layers of all five networks of the paper."""

from types import SimpleNamespace

import pytest

from labkit.attribution import joint_layercam
from labkit.attribution.compare import default_layers
from tests.five_networks import TEACHERS
from tests.small_networks import CATEGORY, make_scene, shared_network


@pytest.mark.parametrize(("architecture", "encoder"), TEACHERS.items())
def test_default_layers_of_every_network_have_maps(architecture, encoder):
    network = shared_network(encoder, architecture)
    layers = default_layers(SimpleNamespace(network=network))
    images, label, target = make_scene()
    maps = joint_layercam(
        network, images, label, layers=layers, category=CATEGORY, region="true", target=target
    )
    assert list(maps.layers) == layers
    assert any(name.startswith("decoder.") for name in layers)
    assert maps.combined.shape == (2, *images.shape[2:])
    assert all(one.isfinite().all() and one.amax() > 0 for one in maps.layers.values())
