"""Every network over several encoders: outputs, auxiliary heads, seeds, sizes and errors."""

import copy
import itertools

import pytest
import torch

from labkit.errors import SettingsError
from labkit.method import full_size
from labkit.networks import available, build_network, check_names, find_stem
from labkit.networks.table import auxiliary_names, multiply_adds, parameters

SMALL = "tu-mobilenetv3_small_100"
HRNET = "tu-hrnet_w18_small_v2"
STRIDES = {
    "unet": 1,
    "linknet": 1,
    "fpn": 4,
    "pspnet": 8,
    "deeplabv3": 8,
    "fcn": 8,
    "stdc": 8,
    "ocrnet": 8,
}
FAST = [
    ("unet", SMALL),
    ("linknet", SMALL),
    ("fpn", SMALL),
    ("pspnet", "resnet18"),
    ("deeplabv3", SMALL),
]
FAST += [("fcn", "resnet18"), ("stdc", "stdc1"), ("ocrnet", HRNET), ("ocrnet", SMALL)]
ENCODERS = ("resnet18", "resnet50", "mobilenet_v2", SMALL)
EVERY = [*itertools.product(STRIDES, ENCODERS), ("stdc", "stdc2"), ("unet", "mit_b0")]
K = 5


def build(architecture="unet", encoder=SMALL, **options):
    return build_network(architecture, encoder, **({"num_classes": K} | options)).eval()


def inputs(n=2, height=45, width=70, channels=3):
    return torch.randn(n, channels, height, width, generator=torch.Generator().manual_seed(1))


def stride_of(architecture, encoder):
    return 4 if encoder == HRNET else STRIDES[architecture]


def test_every_network_is_in_these_tests():
    assert set(available()) == set(STRIDES)


def check_network(architecture, encoder, label_channels):
    network = build(
        architecture, encoder, label_channels=label_channels, auxiliary_weight=0.4
    ).train()
    stride = stride_of(architecture, encoder)
    images, target = inputs(channels=3 + label_channels), torch.randint(K, (2, 45, 70))
    outputs = network(images)
    assert network.stride == outputs.stride == stride
    assert outputs.logits.shape == (2, K, -(-45 // stride), -(-70 // stride))
    assert full_size(outputs.logits, stride, (45, 70)).shape == (2, K, 45, 70)
    terms = network.auxiliary_terms(outputs, target)
    assert terms.keys() == outputs.auxiliary.keys() != set()
    (outputs.logits.float().mean() + sum(terms.values())).backward()
    missing = [name for name, p in network.named_parameters() if p.grad is None]
    assert [name for name in missing if "segmentation" in name or "auxiliary" in name] == []
    network.eval()
    with torch.no_grad():
        again, plain = network(images), network.to(memory_format=torch.channels_last)(images)
    assert again.auxiliary == {}
    torch.testing.assert_close(again.logits, plain.logits, rtol=1e-3, atol=1e-4)
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        assert network(images).logits.isfinite().all()


@pytest.mark.parametrize(("architecture", "encoder"), FAST)
def test_a_network_trains_with_its_auxiliary_heads_and_predicts_without(architecture, encoder):
    check_network(architecture, encoder, label_channels=1)


@pytest.mark.slow
@pytest.mark.parametrize("label_channels", [0, 1, 3])
@pytest.mark.parametrize(("architecture", "encoder"), [*EVERY, ("ocrnet", HRNET)])
def test_every_network_over_every_kind_of_encoder(architecture, encoder, label_channels):
    if encoder == "mit_b0" and architecture != "unet":
        pytest.skip("transformers cannot be dilated")
    check_network(architecture, encoder, label_channels)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of the compiler
@pytest.mark.parametrize(("architecture", "encoder"), FAST)
def test_a_compiled_network_gives_the_same_logits(architecture, encoder):
    network = build(architecture, encoder)
    with torch.no_grad():
        expected = network(inputs()).logits
        logits = torch.compile(network, backend="aot_eager")(inputs()).logits
    scale = float(expected.abs().max())  # hundreds, where BatchNorm has no statistics yet
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-5 * max(1.0, scale))


@pytest.mark.parametrize(("architecture", "encoder"), FAST)
def test_weights_follow_the_seed_and_are_shared_with_and_without_extras(architecture, encoder):
    before = torch.get_rng_state()
    plain = build(architecture, encoder, seed=4)
    assert torch.equal(before, torch.get_rng_state())
    extra = build(architecture, encoder, seed=4, label_channels=2, auxiliary_weight=1.0)
    stem = f"encoder.{find_stem(plain.encoder)[0]}.weight"
    state = extra.state_dict()
    for name, value in plain.state_dict().items():
        other = state[name][:, :3] if name == stem else state[name]
        assert torch.equal(value, other), name
    others = state.keys() - plain.state_dict().keys()
    assert all(name.startswith("auxiliary") for name in others)
    other = build(architecture, encoder, seed=5)
    assert not torch.equal(find_stem(other.encoder)[1].weight, find_stem(plain.encoder)[1].weight)


@pytest.mark.parametrize(
    ("architecture", "encoder"),
    [("pspnet", "resnet18"), ("deeplabv3", SMALL), ("stdc", "stdc1")],
)
def test_one_image_is_refused_in_training_where_a_global_mean_is_normalised(architecture, encoder):
    network = build(architecture, encoder)
    network(inputs(1))
    if architecture == "pspnet":  # smp leaves BatchNorm out behind its global mean
        network.train()(inputs(1))
        return
    with pytest.raises(ValueError, match="at least 2"):
        network.train()(inputs(1))


@pytest.mark.parametrize("channels", [3, 5])
def test_other_input_channels_are_refused_by_number(channels):
    with pytest.raises(ValueError, match=rf"{channels}, 45, 70\).*4"):
        build(label_channels=1)(inputs(channels=channels))


def test_an_odd_size_is_padded_to_the_next_multiple_of_32_and_no_further():
    network, images = build("fpn"), inputs()
    padded = torch.nn.functional.pad(images, (0, 26, 0, 19))
    with torch.no_grad():
        ours, whole = network(images).logits, network(padded).logits
    torch.testing.assert_close(ours, whole[..., : ours.shape[2], : ours.shape[3]])


# sizes: K = 19. Published definitions give the published integers (see each file's source).

PUBLISHED = {
    ("stdc", "stdc1"): (8_572_896, 8_275_104, 16.9),
    ("stdc", "stdc2"): (12_603_360, 12_305_568, 23.5),
    ("ocrnet", HRNET): (6_378_496, 6_378_496, 88.2),
}
LARGE = {  # resnet50c and resnet101c of timm have mmsegmentation's stem of three 3x3
    ("ocrnet", "tu-hrnet_w18"): (12_080_036, 12_080_036, 105.9),
    ("fcn", "tu-resnet50c"): (49_497_734, 47_133_043, 395.2),
    ("ocrnet", "tu-resnet50c"): (36_524_166, 36_524_166, 305.6),
    ("ocrnet", "tu-resnet101c"): (55_516_294, 55_516_294, 460.7),
}
OWN = {  # smp's stem is 7x7: 19,232 fewer than mmsegmentation's 12,822,342 with three 3x3
    ("fcn", "resnet18"): (12_803_110, 12_654_291, 108.4),
    # smp's decoders: 1x1 join and 3x3 classifier; 256 channels
    ("pspnet", "resnet18"): (12_201_254, 12_052_435, 101.3),
    ("deeplabv3", "resnet18"): (16_052_390, 15_903_571, 133.9),
    # dilated encoder as for fcn; mmsegmentation has this form with ResNet-50 and larger alone
    ("ocrnet", "resnet18"): (14_879_654, 14_879_654, None),
}


@pytest.mark.parametrize(("network", "expected"), [*PUBLISHED.items(), *OWN.items()])
def test_size_and_cost(network, expected):
    check_size_and_cost(network, expected)


@pytest.mark.slow
@pytest.mark.parametrize(("network", "expected"), LARGE.items())
def test_size_and_cost_of_large_networks(network, expected):
    check_size_and_cost(network, expected)


def check_size_and_cost(network, expected):
    whole, inference, gmac = expected
    built = build_network(*network, num_classes=19, auxiliary_weight=0.4)
    assert parameters(built) == whole
    assert parameters(built, inference=True) == inference
    if gmac:
        assert round(multiply_adds(built, (512, 1024)) / 1e9, 1) == gmac


def test_names_of_auxiliary_losses_leave_the_network_as_it_was():
    network = build("stdc", "stdc1", auxiliary_weight=1.0)
    before = copy.deepcopy(network.state_dict())
    assert auxiliary_names(network) == ["auxiliary_8", "auxiliary_16", "detail"]
    assert all(torch.equal(value, network.state_dict()[name]) for name, value in before.items())
    assert not network.training


# names


def test_unknown_names_list_the_nearest():
    with pytest.raises(SettingsError, match=r"(?s)'segformer'.*deeplabv3.*'resnet19'.*resnet18"):
        check_names("segformer", "resnet19")


def test_an_encoder_that_the_network_cannot_use_is_refused():
    with pytest.raises(SettingsError, match="'tu-hrnet_w18' cannot be built with fcn"):
        build("fcn", "tu-hrnet_w18")


def test_an_encoder_of_another_network_is_refused():
    with pytest.raises(SettingsError, match="'stdc1'"):
        check_names("unet", "stdc1")


@pytest.mark.parametrize(
    ("architecture", "encoder", "reason"),
    [
        ("fcn", "densenet121", "pooling"),
        ("fcn", "tu-swin_tiny_patch4_window7_224", "output_stride"),
        ("fpn", "tu-swin_tiny_patch4_window7_224", "224"),
        ("unet", "tu-nf_resnet26", "stem"),
    ],
)
def test_an_encoder_that_cannot_serve_a_teacher_is_a_fault_of_the_settings(
    architecture, encoder, reason
):
    with pytest.raises(SettingsError, match=f"setting encoder.*{encoder}.*{reason}") as fault:
        build(architecture, encoder, label_channels=1)
    assert fault.value.names == {"encoder"}


@pytest.mark.parametrize(
    ("architecture", "encoder"), [("stdc", "stdc1"), ("unet", "tu-efficientnet_b6")]
)
def test_imagenet_weights_that_nobody_offers_are_refused(architecture, encoder):
    with pytest.raises(SettingsError, match="no imagenet weights") as fault:
        build(architecture, encoder, encoder_weights="imagenet")
    assert fault.value.names == {"encoder_weights"}


def test_a_failed_download_is_a_fault_of_the_weights(monkeypatch):
    def unreachable(*_, **__):
        raise FileNotFoundError("no connection\nand more")

    monkeypatch.setattr("segmentation_models_pytorch.encoders.hf_hub_download", unreachable)
    with pytest.raises(SettingsError, match=r"resnet18.*no connection") as fault:
        build(encoder="resnet18", encoder_weights="imagenet")
    assert fault.value.names == {"encoder_weights"}
