"""Exports: weights for smp's own model, ONNX of any size, full-size logits."""

import pytest
import segmentation_models_pytorch as smp
import torch
from torch import nn

from labkit.errors import SettingsError
from labkit.networks import build_network
from labkit.networks.export import BinPool, onnx_difference, write_onnx
from labkit.networks.smp import OPTIONS, smp_call

SMALL = "tu-mobilenetv3_small_100"
HRNET = "tu-hrnet_w18_small_v2"
EVERY = [
    ("unet", SMALL),
    ("linknet", SMALL),
    ("fpn", "resnet18"),
    ("pspnet", "resnet18"),
    ("deeplabv3", SMALL),
]
EVERY += [("fcn", "mobilenet_v2"), ("stdc", "stdc1"), ("ocrnet", HRNET), ("ocrnet", SMALL)]


def trained(architecture, encoder, **options):
    """A network whose BatchNorms have statistics of their own, in training mode."""
    network = build_network(architecture, encoder, num_classes=5, **options)
    generator = torch.Generator().manual_seed(3)
    for norm in (m for m in network.modules() if isinstance(m, nn.BatchNorm2d)):
        norm.running_mean.normal_(0, 0.2, generator=generator)
        norm.running_var.uniform_(0.5, 1.5, generator=generator)
    return network.train()


@pytest.mark.parametrize("bins", [1, 2, 3, 6])
@pytest.mark.parametrize("size", [(4, 5), (6, 12), (13, 7), (1, 1)])
def test_pooling_by_matrices_equals_adaptive_pooling(bins, size):
    features = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0))
    expected = nn.AdaptiveAvgPool2d(bins)(features)
    torch.testing.assert_close(BinPool(bins)(features), expected)


@pytest.mark.parametrize("architecture", OPTIONS)
def test_the_line_for_smp_builds_a_model_that_loads_the_weights(architecture):
    network = trained(architecture, SMALL)
    own = eval(smp_call(architecture, SMALL, 5), {"smp": smp})
    own.load_state_dict(network.state_dict())
    images = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(own.eval()(images), network.eval()(images).logits)


def test_a_network_that_reads_a_label_is_no_onnx_file(tmp_path):
    with pytest.raises(SettingsError, match="reads a label"):
        write_onnx(trained("unet", SMALL, label_channels=1), tmp_path / "teacher.onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize(("architecture", "encoder"), EVERY)
def test_onnx_gives_the_same_logits_at_any_size(architecture, encoder, tmp_path):
    network, path = trained(architecture, encoder, auxiliary_weight=0.4), tmp_path / "student.onnx"
    write_onnx(network, path)
    assert network.training
    sizes = [(2, 64, 64), (1, 45, 70), (1, 128, 97), (3, 33, 160)]
    assert onnx_difference(network.eval(), path, sizes=sizes) < 1e-5
