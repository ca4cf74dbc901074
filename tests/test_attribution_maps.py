"""Contribution maps: the split is exact, equals the library's LayerCAM, folds as by hand, and
leaves no trace.
"""

import copy

import pytest
import torch
import torch.nn.functional as F

from labkit.attribution import (
    branch_layercam,
    branch_means,
    label_share,
    layercam,
    split_stem,
    view_stem,
)
from labkit.attribution.common import eval_float32
from labkit.networks import find_stem
from tests.small_networks import (
    CATEGORY,
    SIZE,
    TinyAssisted,
    logits_of,
    make_scene,
    shared_network,
)

BATCHNORM_STEMS = [
    "resnet18",
    "tu-mobilenetv3_small_100",
    "tu-resnet26d",
]  # the last has three 3x3 convolutions
RAW_STEMS = ["mit_b0", "vgg11"]  # a LayerNorm; an in-place ReLU on the stem's own output
every_encoder = pytest.mark.parametrize("encoder", BATCHNORM_STEMS + RAW_STEMS)


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
    if options["layer"] == "folded" and "means" not in options:
        options["means"] = branch_means(network, [(images, label)])
    return branch_layercam(network, images, label, **options)


def record_the_stem(network, images, label):
    with eval_float32(network, images.device):
        return view_stem(network, images, label)


def gradient_of(view, target):
    inside = (target == CATEGORY)[:, None]
    score = (view.logits[:, CATEGORY, None] * inside).flatten(1).sum(1) / inside.flatten(1).sum(1)
    return torch.autograd.grad(score.sum(), view.output)[0]


def find_stem_size(network):
    stem = find_stem(network.encoder)[1]
    return [SIZE // stride for stride in stem.stride]


def assert_close(found, expected, *, relative):
    """Euclidean norms, and something there to compare."""
    assert expected.norm() > 0
    assert (found - expected).norm() <= relative * expected.norm()


@every_encoder
def test_the_two_branches_add_up_to_the_four_channel_convolution(networks, scene, encoder):
    images, label, _ = scene
    stem = find_stem(networks(encoder).encoder)[1]
    assert_close(
        sum(split_stem(stem, images, label)),
        stem(torch.cat([images, label], 1)).detach(),
        relative=1e-6,
    )


def test_a_stem_s_bias_belongs_to_neither_branch(scene):
    images, label, _ = scene
    network = TinyAssisted().eval()
    stem = network.encoder.stem
    bias = stem.bias[:, None, None].detach()
    assert_close(
        sum(split_stem(stem, images, label)) + bias,
        stem(torch.cat([images, label], 1)).detach(),
        relative=1e-6,
    )
    assert split_stem(stem, 0 * images, 0 * label)[0].abs().max() == 0
    view = record_the_stem(network, images, label)
    assert_close(view.image + view.label, view.joint, relative=1e-6)


@pytest.mark.parametrize(
    ("encoder", "layer"),
    [(e, "raw") for e in BATCHNORM_STEMS + RAW_STEMS] + [(e, "folded") for e in BATCHNORM_STEMS],
)
def test_signed_maps_add_up_to_the_joint_map(networks, scene, encoder, layer):
    maps = explain(networks(encoder), scene, layer=layer)
    assert_close(maps.image_signed + maps.label_signed, maps.joint_signed, relative=1e-5)
    assert all(
        torch.equal(part, signed.relu()) for part, signed in zip(maps[:2], maps[2:4], strict=True)
    )
    assert maps.image.shape == maps.label.shape == (2, *find_stem_size(networks(encoder)))


@pytest.mark.parametrize("region", ["true", "predicted", "both"])
def test_the_score_is_the_mean_logit_over_the_region(networks, scene, region):
    network, (images, label, target) = networks("resnet18"), scene
    with torch.no_grad():
        logits = logits_of(network, images, label)
    true, predicted = target == CATEGORY, logits.argmax(1) == CATEGORY
    inside = {"true": true, "predicted": predicted, "both": true & predicted}[region]
    assert inside.flatten(1).any(1).all()
    expected = torch.stack([logits[n, CATEGORY][inside[n]].mean() for n in range(2)])
    torch.testing.assert_close(
        explain(network, scene, region=region).score, expected, rtol=1e-4, atol=1e-5
    )


def test_a_label_slice_a_hundred_times_smaller_lowers_the_label_map_a_hundredfold(networks, scene):
    images, label, target = scene
    network = networks("resnet18")
    view = record_the_stem(network, images, label)
    gradient = gradient_of(view, target)
    quiet = copy.deepcopy(find_stem(network.encoder)[1])
    with torch.no_grad():
        quiet.weight[:, 3:] *= 0.01
    image_part, label_part = split_stem(quiet, images, label)
    assert_close(
        100 * layercam(label_part, gradient), layercam(view.label, gradient), relative=1e-5
    )
    assert_close(layercam(image_part, gradient), layercam(view.image, gradient), relative=1e-6)


@pytest.mark.parametrize("layer", ["raw", "folded"])
@pytest.mark.parametrize(("silent", "share"), [(slice(3, None), 0.0), (slice(0, 3), 1.0)])
def test_a_silent_branch_has_no_share(networks, scene, silent, share, layer):
    network = copy.deepcopy(networks("resnet18"))
    with torch.no_grad():
        find_stem(network.encoder)[1].weight[:, silent] = 0
    assert label_share(explain(network, scene, layer=layer)).tolist() == [share, share]


def test_branch_means_are_over_frames_and_positions(networks):
    stem = find_stem(networks("resnet18").encoder)[1]
    generator = torch.Generator().manual_seed(3)
    images, channels = (
        torch.randn(5, 3, SIZE, SIZE, generator=generator),
        torch.randn(5, 1, SIZE, SIZE, generator=generator) + 1,
    )
    found = branch_means(
        networks("resnet18"), [(images[:2], channels[:2]), (images[2:], channels[2:])]
    )
    for mean, part, weight in zip(
        found, (images, channels), stem.weight.split([3, 1], dim=1), strict=True
    ):
        expected = F.conv2d(part, weight, stride=2, padding=3).mean((0, 2, 3))
        torch.testing.assert_close(mean, expected.detach(), rtol=1e-4, atol=1e-6)
    with pytest.raises(ValueError, match="no batch"):
        branch_means(networks("resnet18"), [])


def folded_by_hand(network, stem, norm, scene):
    """relu(dS/dy) * s * (x - mean) per branch, with y the BatchNorm's output seen by a hook."""
    images, label, target = scene
    seen = []

    def keep(module, inputs, output):
        output.retain_grad()
        seen.append(output)
        return output.clone()  # an in-place ReLU follows

    hook = norm.register_forward_hook(keep)
    logits = logits_of(network, images, label)
    hook.remove()
    sum(logits[n, CATEGORY][target[n] == CATEGORY].mean() for n in range(2)).backward()
    weight = (
        seen[0].grad.relu() * (norm.weight / (norm.running_var + norm.eps).sqrt())[:, None, None]
    )
    parts = zip((images, label), stem.weight.split([3, 1], dim=1), strict=True)
    branches = [F.conv2d(part, w, stride=2, padding=stem.padding) for part, w in parts]
    means = [branch.mean((0, 2, 3)) for branch in branches]
    return [
        (weight * (branch - mean[:, None, None])).sum(1).detach()
        for branch, mean in zip(branches, means, strict=True)
    ]


@pytest.mark.parametrize("which", ["resnet18", "tiny"])
def test_folded_maps_equal_batchnorm_worked_out_by_hand(networks, scene, which):
    network = copy.deepcopy(networks("resnet18")) if which == "resnet18" else TinyAssisted().eval()
    stem, norm = (
        (network.encoder.conv1, network.encoder.bn1)
        if which == "resnet18"
        else (network.encoder.stem, network.encoder.norm)
    )
    norm.running_mean.normal_(0, 0.5, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        norm.weight[::2] *= -1
    image, label = folded_by_hand(network, stem, norm, scene)
    maps = explain(network, scene, layer="folded")
    for found, expected in (
        (maps.image_signed, image),
        (maps.label_signed, label),
        (maps.joint_signed, image + label),
    ):
        assert_close(found, expected, relative=1e-4)


@pytest.mark.parametrize("encoder", RAW_STEMS)
def test_folding_needs_a_batchnorm_and_means(scene, networks, encoder):
    without = networks(encoder)
    with pytest.raises(ValueError, match=r"no BatchNorm.*layer='raw'"):
        explain(without, scene, layer="folded")
    maps = explain(without, scene)
    assert_close(maps.image_signed + maps.label_signed, maps.joint_signed, relative=1e-5)
    with pytest.raises(ValueError, match="needs means"):
        explain(networks("resnet18"), scene, layer="folded", means=None)


@pytest.mark.parametrize("layer", ["raw", "folded"])
def test_an_absent_class_gives_nan_for_its_frame_alone(networks, scene, layer):
    images, label, target = scene
    network = networks("resnet18")
    means = branch_means(network, [(images, label)])
    without = target.clone()
    without[0][without[0] == CATEGORY] = 0
    maps, whole = (
        explain(network, (images, label, t), layer=layer, means=means) for t in (without, target)
    )
    assert maps.present.tolist() == [False, True]
    for part, expected in zip(maps[:-1], whole[:-1], strict=True):
        assert part[0].isnan().all()
        torch.testing.assert_close(part[1], expected[1], rtol=1e-4, atol=1e-7)
    assert label_share(maps).isnan().tolist() == [True, False]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"region": "somewhere"}, "'somewhere'.*predicted, true, both"),
        ({"region": "true", "target": None}, "'true'.*target"),
        ({"region": "both", "target": None}, "'both'.*target"),
        ({"category": 4}, r"category 4.*0\.\.3"),
        ({"category": -1}, "category -1"),
        ({"category": [0, 7]}, r"category 7.*0\.\.3"),
        ({"category": []}, r"category none.*0\.\.3"),
        ({"score": "probability"}, "'probability'.*logit, margin"),
    ],
)
def test_wrong_arguments_are_refused_by_name(networks, scene, options, words):
    with pytest.raises(ValueError, match=words):
        explain(networks("resnet18"), scene, **options)
    with pytest.raises(ValueError, match="image alone"):
        explain(TinyAssisted(0), scene)
