"""Contribution maps: the split is exact, equals the library's LayerCAM, folds as by hand, and leaves no trace."""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from pytorch_grad_cam import LayerCAM
from pytorch_grad_cam.utils.image import scale_cam_image
from torch import nn

from labkit.attribution import BranchMaps, branch_layercam, label_branch_mean, label_share, layercam, library_layercam, view_stem
from labkit.attribution.layercam import split_stem
from labkit.models import build_network, find_stem

every_encoder = pytest.mark.parametrize("encoder", ["resnet18", "tu-mobilenetv3_small_100", "efficientnet-b0", "tu-resnet26d"])
CATEGORY, SIZE = 1, 64


@pytest.fixture(scope="module")
def scene(make_target):
    """images, label channel, target; the class explained occurs in both frames."""
    generator = torch.Generator().manual_seed(0)
    target = make_target(2, SIZE, SIZE)
    assert ((target == CATEGORY).flatten(1).sum(1) > 0).all()
    return torch.randn(2, 3, SIZE, SIZE, generator=generator), 2 * torch.randn(2, 1, SIZE, SIZE, generator=generator), target


@pytest.fixture(scope="module")
def networks(lively_network):
    """encoder -> network, built once and never changed by a test."""
    built = {}

    def get(encoder):
        return built.get(encoder) or built.setdefault(encoder, lively_network(encoder))

    return get


def explain(network, scene, **options):
    images, label, target = scene
    options = {"category": CATEGORY, "region": "true", "target": target, "layer": "raw"} | options
    if options["layer"] == "folded" and "label_mean" not in options:
        options["label_mean"] = label_branch_mean(network, [label])
    return branch_layercam(network, images, label, **options)


def assert_close(found, expected, *, relative):
    """Euclidean norms, and something there to compare."""
    assert expected.norm() > 0
    assert (found - expected).norm() <= relative * expected.norm()


@every_encoder
def test_the_two_branches_add_up_to_the_four_channel_convolution(networks, scene, encoder):
    images, label, _ = scene
    stem = find_stem(networks(encoder).encoder)[1]
    assert_close(sum(split_stem(stem, images, label)), stem(torch.cat([images, label], 1)).detach(), relative=1e-6)


def test_a_stem_s_bias_belongs_to_neither_branch(tiny_network, scene):
    images, label, target = scene
    network = tiny_network(1).eval()
    stem = network.encoder.stem
    bias = stem.bias[:, None, None].detach()
    assert_close(sum(split_stem(stem, images, label)) + bias, stem(torch.cat([images, label], 1)).detach(), relative=1e-6)
    assert split_stem(stem, 0 * images, 0 * label)[0].abs().max() == 0
    view = view_stem(network, images, label, category=CATEGORY, region="true", target=target)
    assert_close(view.image + view.label, view.joint, relative=1e-6)


@every_encoder
@pytest.mark.parametrize("layer", ["raw", "folded"])
def test_signed_maps_add_up_to_the_joint_map(networks, scene, encoder, layer):
    maps = explain(networks(encoder), scene, layer=layer)
    assert_close(maps.image_signed + maps.label_signed, maps.joint_signed, relative=1e-5)
    assert all(torch.equal(part, signed.relu()) for part, signed in zip(maps[:2], maps[2:4], strict=True))
    assert maps.image.shape == maps.label.shape == (2, SIZE // 2, SIZE // 2)


@pytest.mark.parametrize("region", ["true", "predicted", "both"])
def test_the_score_is_the_mean_logit_over_the_region(networks, scene, region):
    network, (images, label, target) = networks("resnet18"), scene
    with torch.no_grad():
        logits = network(torch.cat([images, label], 1))
    true, predicted = target == CATEGORY, logits.argmax(1) == CATEGORY
    inside = {"true": true, "predicted": predicted, "both": true & predicted}[region]
    assert inside.flatten(1).any(1).all()
    expected = torch.stack([logits[n, CATEGORY][inside[n]].mean() for n in range(2)])
    torch.testing.assert_close(explain(network, scene, region=region).score, expected, rtol=1e-4, atol=1e-5)


def as_the_library_scales(maps: torch.Tensor) -> np.ndarray:
    return scale_cam_image(np.maximum(scale_cam_image(maps.numpy(), (SIZE, SIZE)), 0))


@every_encoder
def test_raw_maps_equal_the_library_after_its_scaling(networks, scene, encoder):
    network, (images, label, target) = networks(encoder), scene
    drawn = library_layercam(network, images, label, category=CATEGORY, region=target == CATEGORY)
    maps = explain(network, scene)
    for name in ("image", "label"):
        np.testing.assert_allclose(as_the_library_scales(getattr(maps, name)), drawn[name], rtol=0, atol=1e-5)
        assert drawn[name].max(axis=(1, 2)) == pytest.approx([1, 1], abs=1e-5)


class TwoConvolutions(nn.Module):
    def __init__(self, weight):
        super().__init__()
        self.image = nn.Conv2d(3, len(weight), 7, stride=2, padding=3, bias=False)
        self.label = nn.Conv2d(1, len(weight), 7, stride=2, padding=3, bias=False)
        self.image.weight, self.label.weight = nn.Parameter(weight[:, :3].clone()), nn.Parameter(weight[:, 3:].clone())

    def forward(self, inputs):
        return self.image(inputs[:, :3]) + self.label(inputs[:, 3:])


@pytest.mark.parametrize("region", ["true", "predicted"])
def test_raw_maps_equal_grad_cam_at_convolutions_split_here(networks, scene, region):
    network, (images, label, target) = networks("resnet18"), scene
    inputs = torch.cat([images, label], 1)
    with torch.no_grad():
        inside = target == CATEGORY if region == "true" else network(inputs).argmax(1) == CATEGORY
    split = copy.deepcopy(network.network)
    split.encoder.conv1 = TwoConvolutions(network.encoder.conv1.weight.detach())
    targets = [lambda logits, mask=mask: logits[CATEGORY][mask].mean() for mask in inside]
    maps, drawn = explain(network, scene, region=region), library_layercam(network, images, label, category=CATEGORY, region=inside)
    for name in ("image", "label"):
        cam = LayerCAM(split, [getattr(split.encoder.conv1, name)])
        oracle = cam(inputs, targets=targets)
        cam.activations_and_grads.release()
        np.testing.assert_allclose(as_the_library_scales(getattr(maps, name)), oracle, rtol=0, atol=1e-5)
        np.testing.assert_allclose(drawn[name], oracle, rtol=0, atol=1e-5)


def test_a_label_slice_a_hundred_times_smaller_lowers_the_label_map_a_hundredfold(networks, scene):
    images, label, target = scene
    network = networks("resnet18")
    view = view_stem(network, images, label, category=CATEGORY, region="true", target=target)
    quiet = copy.deepcopy(find_stem(network.encoder)[1])
    with torch.no_grad():
        quiet.weight[:, 3:] *= 0.01
    image_part, label_part = split_stem(quiet, images, label)
    assert_close(100 * layercam(label_part, view.gradient), layercam(view.label, view.gradient), relative=1e-5)
    assert_close(layercam(image_part, view.gradient), layercam(view.image, view.gradient), relative=1e-6)


def test_the_library_hides_that_scale(networks, scene):
    images, label, target = scene
    network = copy.deepcopy(networks("resnet18"))
    loud = label_share(explain(network, scene))
    with torch.no_grad():
        find_stem(network.encoder)[1].weight[:, 3:] *= 0.01
    assert (label_share(explain(network, scene)) < 0.1 * loud).all()
    drawn = library_layercam(network, images, label, category=CATEGORY, region=target == CATEGORY)
    assert drawn["label"].max(axis=(1, 2)) == pytest.approx([1, 1], abs=1e-3)


def test_layercam_and_label_share_of_hand_computed_numbers():
    activation, gradient = torch.tensor([[2.0, -3.0, 5.0], [1.0, 2.0, -1.0]]).view(2, 1, 3, 1, 1)
    assert layercam(activation, gradient).item() == 2 - 6
    image, label = torch.tensor([[[1.0, 2.0]], [[0.0, 0.0]]]), torch.tensor([[[1.0, 0.0]], [[0.0, 0.0]]])
    share = label_share(BranchMaps(image, label, image, label, image + label, torch.zeros(2)))
    torch.testing.assert_close(share, torch.tensor([0.25, torch.nan]), equal_nan=True)


@pytest.mark.parametrize(("silent", "share"), [(slice(3, None), 0.0), (slice(0, 3), 1.0)])
def test_a_silent_branch_has_no_share(networks, scene, silent, share):
    network = copy.deepcopy(networks("resnet18"))
    with torch.no_grad():
        find_stem(network.encoder)[1].weight[:, silent] = 0
    assert label_share(explain(network, scene)).tolist() == [share, share]
    if share == 0:
        assert label_share(explain(network, scene, layer="folded")).tolist() == [0, 0]


def test_label_branch_mean_is_the_mean_over_frames_and_positions(networks):
    stem = find_stem(networks("resnet18").encoder)[1]
    channels = torch.randn(5, 1, SIZE, SIZE, generator=torch.Generator().manual_seed(3)) + 1
    found = label_branch_mean(networks("resnet18"), [channels[:2], channels[2:]])
    expected = F.conv2d(channels, stem.weight[:, 3:], stride=2, padding=3).mean((0, 2, 3))
    torch.testing.assert_close(found, expected.detach(), rtol=1e-4, atol=1e-6)
    with pytest.raises(ValueError, match="no label channel"):
        label_branch_mean(networks("resnet18"), [])


def folded_by_hand(network, stem, norm, scene):
    """relu(dS/dy) * s * (x - mean) per branch, with y the BatchNorm's output seen by a hook."""
    images, label, target = scene
    seen = []

    def keep(module, inputs, output):
        output.retain_grad()
        seen.append(output)
        return output.clone()  # an in-place ReLU follows

    hook = norm.register_forward_hook(keep)
    logits = network.to_full_size(network(torch.cat([images, label], 1)), (SIZE, SIZE))
    hook.remove()
    sum(logits[n, CATEGORY][target[n] == CATEGORY].mean() for n in range(2)).backward()
    weight = seen[0].grad.relu() * (norm.weight / (norm.running_var + norm.eps).sqrt())[:, None, None]
    parts = zip((images, label), stem.weight.split([3, 1], dim=1), strict=True)
    branches = [F.conv2d(part, w, stride=2, padding=stem.padding) for part, w in parts]
    label_mean = branches[1].mean((0, 2, 3))
    means = norm.running_mean - (0 if stem.bias is None else stem.bias) - label_mean, label_mean
    return [(weight * (branch - mean[:, None, None])).sum(1).detach() for branch, mean in zip(branches, means, strict=True)]


@pytest.mark.parametrize("which", ["resnet18", "tiny"])
def test_folded_maps_equal_batchnorm_worked_out_by_hand(networks, tiny_network, scene, which):
    network = copy.deepcopy(networks("resnet18")) if which == "resnet18" else tiny_network(1).eval()
    stem, norm = (network.encoder.conv1, network.encoder.bn1) if which == "resnet18" else (network.encoder.stem, network.encoder.norm)
    norm.running_mean.normal_(0, 0.5, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        norm.weight[::2] *= -1
    image, label = folded_by_hand(network, stem, norm, scene)
    maps = explain(network, scene, layer="folded")
    for found, expected in ((maps.image_signed, image), (maps.label_signed, label), (maps.joint_signed, image + label)):
        assert_close(found, expected, relative=1e-4)


@pytest.mark.parametrize("encoder", ["mit_b0", "vgg11"])  # a LayerNorm, an in-place ReLU on the stem's own output
def test_folding_needs_a_batchnorm_and_a_label_mean(scene, networks, encoder):
    without = build_network("unet", encoder, num_classes=4, label_channels=1)
    with pytest.raises(ValueError, match=r"no BatchNorm.*layer='raw'"):
        explain(without, scene, layer="folded")
    maps = explain(without, scene)
    assert_close(maps.image_signed + maps.label_signed, maps.joint_signed, relative=1e-5)
    with pytest.raises(ValueError, match="label_mean"):
        explain(networks("resnet18"), scene, layer="folded", label_mean=None)


@pytest.mark.parametrize("layer", ["raw", "folded"])
def test_an_absent_class_gives_nan_for_its_frame_alone(networks, scene, layer):
    images, label, target = scene
    network = networks("resnet18")
    mean = label_branch_mean(network, [label])
    without = target.clone()
    without[0][without[0] == CATEGORY] = 0
    maps, whole = (explain(network, (images, label, t), layer=layer, label_mean=mean) for t in (without, target))
    for part, expected in zip(maps, whole, strict=True):
        assert part[0].isnan().all()
        torch.testing.assert_close(part[1], expected[1], rtol=1e-4, atol=1e-7)
    assert label_share(maps).isnan().tolist() == [True, False]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"region": "somewhere"}, "'somewhere'.*predicted, true or both"),
        ({"region": "true", "target": None}, "'true'.*target"),
        ({"region": "both", "target": None}, "'both'.*target"),
        ({"category": 4}, r"category 4.*0\.\.3"),
        ({"category": -1}, "category -1"),
    ],
)
def test_wrong_arguments_are_refused_by_name(networks, tiny_network, scene, options, words):
    with pytest.raises(ValueError, match=words):
        explain(networks("resnet18"), scene, **options)
    with pytest.raises(ValueError, match="image alone"):
        explain(tiny_network(0), scene)


@pytest.mark.parametrize("is_frozen", [False, True])
@pytest.mark.parametrize("training", [False, True])
def test_attribution_leaves_the_network_as_it_was(lively_network, scene, rng_untouched, is_frozen, training):
    network = lively_network("tu-mobilenetv3_small_100").train(training).requires_grad_(not is_frozen)
    network.network.decoder.train(not training)  # a mixture of modes must survive
    first = next(network.parameters())
    first.grad = torch.full_like(first, 3.0)

    def state():
        hooks = [(len(m._forward_hooks), len(m._forward_pre_hooks), len(m._backward_hooks), m.training) for m in network.modules()]
        flags = [(parameter.requires_grad, parameter.grad is None) for parameter in network.parameters()]
        return hooks, flags, type(find_stem(network.encoder)[1])

    before, values = state(), {name: value.clone() for name, value in network.state_dict().items()}
    images, label, target = scene
    with rng_untouched():
        for layer in ("raw", "folded"):
            explain(network, scene, layer=layer)
        library_layercam(network, images, label, category=CATEGORY, region=target == CATEGORY)
        with pytest.raises(ValueError, match="region"):
            explain(network, scene, region="somewhere")
    assert state() == before
    assert (first.grad == 3).all()
    assert all(torch.equal(value, values[name]) for name, value in network.state_dict().items())
    assert not images.requires_grad


def test_maps_do_not_depend_on_mode_gradients_or_autocast_around_them(networks, scene):
    network = networks("resnet18")
    expected = explain(network, scene)
    other = copy.deepcopy(network).train().requires_grad_(False)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        found = explain(other, scene)
    for part, reference in zip(found, expected, strict=True):
        assert part.dtype == torch.float32
        torch.testing.assert_close(part, reference)
