"""Stems widened by label channels, and encoder weights from files."""

import json
import pickle

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from labkit.errors import SettingsError
from labkit.networks import build_network, encoder_weights_fingerprint, find_stem, widen_stem

SMALL, HRNET = "tu-mobilenetv3_small_100", "tu-hrnet_w18_small_v2"


def build(architecture="unet", encoder=SMALL, **options):
    return build_network(architecture, encoder, **({"num_classes": 5} | options)).eval()


def answer(network, *, height=64, width=64, label=None):
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(1, 3, height, width, generator=generator)
    channels = []
    if label is not None:
        shape = (1, network.label_channels, height, width)
        channels = [label * torch.randn(shape, generator=generator)]
    with torch.no_grad():
        return network(torch.cat([images, *channels], 1)).logits


# the widened stem


@pytest.mark.parametrize("encoder", ["resnet18", SMALL, "mit_b0", "tu-resnet26d", HRNET])
@pytest.mark.parametrize("label_channels", [1, 3])
def test_rgb_weights_stay_bit_equal_and_everything_else_is_shared(encoder, label_channels):
    plain, wide = build(encoder=encoder), build(encoder=encoder, label_channels=label_channels)
    (name, stem), (wide_name, wide_stem) = find_stem(plain.encoder), find_stem(wide.encoder)
    assert name == wide_name
    assert wide_stem.in_channels == wide_stem.weight.shape[1] == 3 + label_channels
    assert torch.equal(wide_stem.weight[:, :3], stem.weight)
    other = wide.state_dict()
    shared = {
        key: value
        for key, value in plain.state_dict().items()
        if value is not None and f"encoder.{name}.weight" not in key
    }
    assert all(torch.equal(value, other[key]) for key, value in shared.items())
    assert len(other) == len(shared) + 1


@pytest.mark.parametrize("encoder", ["resnet18", SMALL, "mit_b0"])
@pytest.mark.parametrize("label", [0.0, 5.0])
def test_a_zero_label_slice_leaves_the_three_channel_network(encoder, label):
    plain, wide = (
        build(encoder=encoder),
        build(encoder=encoder, label_channels=1, label_init="zeros"),
    )
    assert find_stem(wide.encoder)[1].weight[:, 3:].abs().max() == 0
    torch.testing.assert_close(answer(wide, label=label), answer(plain), rtol=1e-4, atol=1e-5)


def test_a_normal_label_slice_has_the_stated_width_and_is_read():
    wide = build(encoder="resnet18", label_channels=1)
    label_slice = find_stem(wide.encoder)[1].weight[:, 3:]
    assert label_slice.std().item() == pytest.approx(0.1, rel=0.05)
    assert abs(label_slice.mean().item()) < 0.01
    assert not torch.allclose(answer(wide, label=5.0), answer(wide, label=0.0), atol=1e-3)


def test_a_stem_that_cannot_be_widened_is_refused_in_words():
    for encoder in (nn.Linear(3, 3), nn.Conv2d(4, 4, 3, groups=2), nn.Conv2d(1, 4, 3)):
        with pytest.raises(ValueError, match="first convolution"):
            widen_stem(nn.Sequential(encoder), 1, label_init="zeros", generator=torch.Generator())


@pytest.mark.parametrize("encoder", ["tu-nf_resnet26", "mobileone_s0"])
def test_an_encoder_whose_first_convolution_is_not_all_of_its_stem_is_refused(encoder):
    """One standardises its filters over its inputs, the other adds up several convolutions."""
    with pytest.raises(ValueError, match="stem"):
        build(encoder=encoder, label_channels=1)


# weights from files


def weights_file(tmp_path, kind, prefix=""):
    """An encoder's tensors with a classifier's left over, from another seed."""
    encoder = build(seed=9).encoder
    tensors = {
        prefix + name.removeprefix("model."): value.clone()
        for name, value in encoder.state_dict().items()
    }
    tensors["classifier.weight"] = torch.ones(3, 3)
    path = tmp_path / f"weights.{kind}"
    save_file(tensors, path) if kind == "safetensors" else torch.save(tensors, path)
    return path, encoder


@pytest.mark.parametrize("kind", ["safetensors", "pth"])
@pytest.mark.parametrize("prefix", ["", "model.", "encoder.model."])
@pytest.mark.parametrize("label_channels", [0, 1])
def test_encoder_weights_come_from_the_file(tmp_path, kind, prefix, label_channels):
    path, encoder = weights_file(tmp_path, kind, prefix)
    network, fresh = (
        build(label_channels=label_channels, encoder_weights=w) for w in (str(path), "none")
    )
    stem = find_stem(network.encoder)[0] + ".weight"
    for name, value in encoder.state_dict().items():
        loaded = network.encoder.state_dict()[name]
        assert torch.equal(loaded[:, :3] if name == stem else loaded, value)
    assert network.left_over == ("classifier.weight",)
    decoder = network.decoder.state_dict()
    assert all(
        torch.equal(value, decoder[name]) for name, value in fresh.decoder.state_dict().items()
    )


def test_a_classifier_of_timm_fills_the_encoder(tmp_path):
    classifier = timm.create_model("mobilenetv3_small_100", num_classes=3)
    save_file(classifier.state_dict(), tmp_path / "timm.safetensors")
    network = build(encoder_weights=str(tmp_path / "timm.safetensors"))
    assert torch.equal(find_stem(network.encoder)[1].weight, classifier.conv_stem.weight)


def test_weights_of_another_encoder_are_refused_in_words(tmp_path):
    path, _ = weights_file(tmp_path, "safetensors")
    with pytest.raises(
        SettingsError,
        match=r"weights\.safetensors is not of this encoder: 96 missing: .* and 91 more; "
        r"4 of another shape: .*Left over: .*ResNetEncoder",
    ):
        build(encoder="resnet18", encoder_weights=str(path))


def test_what_a_weights_file_lacks_misshapes_and_holds_besides_is_listed(tmp_path):
    state = build().encoder.state_dict()
    names = [name for name in state if name.endswith("weight")][:2]
    del state[names[0]]
    state[names[1]] = torch.ones(7)
    save_file(state | {"head\x1b": torch.ones(1)}, tmp_path / "odd.safetensors")
    with pytest.raises(SettingsError) as raised:
        build(encoder_weights=str(tmp_path / "odd.safetensors"))
    message = str(raised.value)
    assert f"1 missing: {names[0]}; 1 of another shape: {names[1]} (7,) instead of" in message
    assert r"Left over: head\x1b." in message


def test_a_path_without_a_file_is_refused_in_words(tmp_path):
    with pytest.raises(SettingsError, match=r"nowhere\.pth.*none, imagenet or a file"):
        build(encoder_weights=str(tmp_path / "nowhere.pth"))


@pytest.mark.parametrize("name", ["noise.safetensors", "noise.pth"])
def test_a_file_that_holds_no_tensors_is_refused_in_words(tmp_path, name):
    (tmp_path / name).write_bytes(b"these are no weights, whatever the name says")
    with pytest.raises(SettingsError, match=name):
        build(encoder_weights=str(tmp_path / name))


class Trap:
    """A pickle that makes a file when it is loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("name", ["weights.pth", "weights.safetensors"])
@pytest.mark.parametrize(
    "write",
    [lambda trap: pickle.dumps(trap), lambda trap: pickle.dumps({"conv1.weight": trap}), None],
)
def test_a_pickle_that_holds_more_than_tensors_is_refused_in_words_and_never_run(
    tmp_path, name, write
):
    sprung, path = tmp_path / "sprung", tmp_path / name
    pickle.loads(pickle.dumps(Trap(sprung))).close()  # the trap works
    sprung.unlink()
    torch.save({"conv1.weight": Trap(sprung)}, path) if write is None else path.write_bytes(
        write(Trap(sprung))
    )
    with pytest.raises(
        SettingsError,
        match=rf"encoder_weights: {name} cannot be read as tensors .*; expected a safetensors",
    ):
        build(encoder_weights=str(path))
    assert not sprung.exists()


@pytest.mark.parametrize(
    "content",
    [[torch.ones(2)], torch.ones(2), None, {1: torch.ones(2)}, {"model.conv_stem.weight": 3}],
)
def test_a_torch_file_that_holds_no_named_tensors_is_refused_in_words(tmp_path, content):
    torch.save(content, tmp_path / "odd.pth")
    with pytest.raises(SettingsError, match=r"setting encoder_weights: odd\.pth .*expected"):
        build(encoder_weights=str(tmp_path / "odd.pth"))


# downloads: asked for, never made


@pytest.fixture
def downloads(monkeypatch, tmp_path):
    """The names of what would have been fetched; smp is handed a file made here."""
    asked = []
    given = {"resnet18": build(encoder="resnet18", seed=9).encoder}
    save_file(given["resnet18"].state_dict(), tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({}))

    def hub(repo_id, *, filename, **_):
        asked.append(repo_id)
        return str(tmp_path / filename)

    monkeypatch.setattr("segmentation_models_pytorch.encoders.hf_hub_download", hub)
    monkeypatch.setattr(
        "timm.models._builder.load_pretrained",
        lambda model, **_: asked.append(type(model).__name__),
    )
    return asked, given


def test_imagenet_asks_smp_for_its_download_and_uses_it(downloads):
    asked, given = downloads
    network = build(encoder="resnet18", encoder_weights="imagenet", label_channels=1)
    assert any("resnet18" in name for name in asked)
    assert torch.equal(network.encoder.conv1.weight[:, :3], given["resnet18"].conv1.weight)


def test_imagenet_asks_timm_for_its_download(downloads):
    asked, _ = downloads
    build(encoder=SMALL, encoder_weights="imagenet")
    assert asked == ["MobileNetV3Features"]


def test_none_asks_for_nothing(downloads):
    asked, _ = downloads
    build(encoder="resnet18")
    build(encoder=SMALL)
    assert asked == []


def test_the_fingerprint_is_of_the_file_s_content(tmp_path):
    path, _ = weights_file(tmp_path, "safetensors")
    first = encoder_weights_fingerprint(str(path))
    moved = path.rename(tmp_path / "moved.safetensors")
    assert encoder_weights_fingerprint(str(moved)) == first
    moved.write_bytes(moved.read_bytes() + b" ")
    assert encoder_weights_fingerprint(str(moved)) != first
    assert encoder_weights_fingerprint("none") == ""


@pytest.mark.parametrize(("architecture", "encoder"), [("stdc", "stdc1"), ("ocrnet", HRNET)])
def test_stride_2_stems_of_stdc_and_hrnet_are_widened(architecture, encoder):
    network = build(architecture, encoder, label_channels=2)
    stem = find_stem(network.encoder)[1]
    assert stem.stride == (2, 2)
    assert stem.in_channels == 5
    assert not torch.allclose(answer(network, label=5.0), answer(network, label=0.0), atol=1e-4)


def test_a_stem_over_rearranged_pixels_is_refused_in_words():
    """TResNet's first convolution reads 48 channels, made of blocks of the image."""
    with pytest.raises(SettingsError, match=r"tu-tresnet_m.*reads 48 channels.*cannot be widened"):
        build_network("fpn", "tu-tresnet_m", num_classes=4, label_channels=1)
