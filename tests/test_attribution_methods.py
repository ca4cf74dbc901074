"""Second opinions: Shapley values by their axioms, integrated gradients by completeness, deeper
layers against the library.
"""

import copy

import pytest
import torch

from labkit.attribution import (
    Coalitions,
    branch_layercam,
    branch_means,
    branch_shapley,
    coalitions,
    integrated_gradients,
    joint_layercam,
    label_share,
    noised_layercam,
    shapley_values,
    share_of,
)
from labkit.networks import find_stem
from tests.small_networks import CATEGORY, lively_network, logits_of, make_scene, shared_network

NOTHING = (torch.zeros((), dtype=torch.float64), torch.zeros((), dtype=torch.float64))


@pytest.fixture(scope="module")
def network():
    return shared_network("resnet18")


@pytest.fixture(scope="module")
def scene():
    return make_scene()


def asked(scene, **options):
    return {"category": CATEGORY, "region": "true", "target": scene[2]} | options


def players(x, y):
    return torch.tensor(x, dtype=torch.float64), torch.tensor(y, dtype=torch.float64)


# Shapley values of functions made by hand, in float64


@pytest.mark.parametrize(("a", "b", "c"), [(2.0, -3.0, 0.0), (1.5, 0.25, 4.0), (0.0, 0.0, -7.0)])
def test_shapley_of_a_bilinear_function_shares_the_product_equally(a, b, c):
    x, y = players(3.0, -5.0)
    found = shapley_values(
        coalitions(lambda x, y: a * x + b * y + c * x * y, x, y, baselines=NOTHING)
    )
    torch.testing.assert_close(found.image, a * x + c * x * y / 2, rtol=1e-14, atol=1e-14)
    torch.testing.assert_close(found.label, b * y + c * x * y / 2, rtol=1e-14, atol=1e-14)


def test_shapley_is_efficient_even_with_baselines_that_are_not_zero():
    x, y = players(1.3, 0.7)
    v = coalitions(lambda x, y: (x * y).exp() + x.sin() - y**3, x, y, baselines=players(0.2, -0.4))
    torch.testing.assert_close(sum(shapley_values(v)), v.both - v.nothing, rtol=1e-14, atol=1e-14)


def test_a_dummy_player_has_nothing():
    x, y = players(3.0, -5.0)
    assert shapley_values(coalitions(lambda x, y: x**2 + 1, x, y, baselines=NOTHING)).label == 0
    assert shapley_values(coalitions(lambda x, y: y.cos(), x, y, baselines=NOTHING)).image == 0


def test_players_alike_have_alike():
    x, y = players(0.6, 0.6)
    found = shapley_values(coalitions(lambda x, y: (x + y) ** 3 + x * y, x, y, baselines=NOTHING))
    assert found.image == found.label
    assert share_of(found.label, found.image) == 0.5


def test_shapley_is_linear_in_the_game():
    first, second = (
        Coalitions(
            *torch.randn(4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(s))
        )
        for s in (1, 2)
    )
    both = Coalitions(*(2 * one - 3 * other for one, other in zip(first, second, strict=True)))
    for found, one, other in zip(
        shapley_values(both), shapley_values(first), shapley_values(second), strict=True
    ):
        torch.testing.assert_close(found, 2 * one - 3 * other, rtol=1e-13, atol=1e-13)


# Shapley values and integrated gradients of networks


@pytest.mark.parametrize("score", ["logit", "margin"])
@pytest.mark.parametrize("region", ["true", "predicted"])
def test_shapley_of_a_network_by_four_passes_written_out(network, scene, score, region):
    images, label, target = scene

    @torch.no_grad()
    def logits(x, y):
        return logits_of(network, x, y)

    inside = target == CATEGORY if region == "true" else logits(images, label).argmax(1) == CATEGORY

    def v(x, y):
        values = logits(x, y)
        others = values.clone()
        others[:, CATEGORY] = -torch.inf
        shown = values[:, CATEGORY] - (others.amax(1) if score == "margin" else 0)
        return torch.stack([one[where].mean() for one, where in zip(shown, inside, strict=True)])

    zero, blank = 0 * label, 0 * images
    wanted = (v(blank, label) - v(blank, zero) + v(images, label) - v(images, zero)) / 2
    found = branch_shapley(network, images, label, **asked(scene, region=region, score=score))
    torch.testing.assert_close(found.label, wanted, rtol=1e-4, atol=1e-5)
    every = branch_shapley(
        network, images, label, **asked(scene, region=region, score=score, category=range(4))
    )
    torch.testing.assert_close(every.label[:, CATEGORY], found.label)


def test_integrated_gradients_add_up_to_the_difference_and_state_their_error(network, scene):
    images, label, _ = scene
    coarse, fine = (
        integrated_gradients(network, images, label, **asked(scene), steps=steps)
        for steps in (4, 32)
    )
    shapley = branch_shapley(network, images, label, **asked(scene))
    for found in (coarse, fine):
        torch.testing.assert_close(
            found.image + found.label - found.difference, found.error, rtol=1e-3, atol=1e-5
        )
        torch.testing.assert_close(found.difference, sum(shapley), rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(found.image_map.sum((1, 2)), found.image)
    assert (fine.error.abs() < 0.05 * fine.difference.abs() + 1e-3).all()
    assert fine.error.abs().sum() < coarse.error.abs().sum()


@pytest.mark.parametrize(("silent", "share"), [(slice(3, None), 0.0), (slice(0, 3), 1.0)])
def test_a_silent_branch_has_no_share_in_any_opinion(network, scene, silent, share):
    images, label, _ = scene
    quiet = copy.deepcopy(network)
    with torch.no_grad():
        find_stem(quiet.encoder)[1].weight[:, silent] = 0
    shapley = branch_shapley(quiet, images, label, **asked(scene))
    gradients = integrated_gradients(quiet, images, label, **asked(scene), steps=4)
    for found in (shapley, gradients):
        torch.testing.assert_close(
            share_of(found.label, found.image), torch.full((2,), share), rtol=0, atol=1e-5
        )


@pytest.mark.parametrize("layer", ["raw", "folded"])
def test_a_plain_network_widened_with_zeros_leans_on_no_label(scene, layer):
    images, label, _ = scene
    network = lively_network("resnet18", label_init="zeros")
    maps = branch_layercam(
        network,
        images,
        label,
        layer=layer,
        means=branch_means(network, [(images, label)]),
        **asked(scene),
    )
    assert label_share(maps).tolist() == [0, 0]
    shapley = branch_shapley(network, images, label, **asked(scene))
    assert share_of(shapley.label, shapley.image).tolist() == [0, 0]


# several classes, several noisings


@pytest.mark.parametrize("score", ["logit", "margin"])
def test_all_classes_at_once_are_each_class_alone(network, scene, score):
    images, label, _ = scene
    options = asked(scene, score=score, means=branch_means(network, [(images, label)]))
    every = branch_layercam(network, images, label, **options | {"category": [3, 0, 1]})
    for place, category in enumerate([3, 0, 1]):
        alone = branch_layercam(network, images, label, **options | {"category": category})
        for parts, part in zip(every, alone, strict=True):
            torch.testing.assert_close(parts[:, place], part, equal_nan=True)


def test_a_frame_s_maps_do_not_depend_on_its_batch(network, scene):
    images, label, target = scene
    whole = branch_layercam(network, images, label, **asked(scene, layer="raw"))
    alone = branch_layercam(
        network, images[1:], label[1:], **asked(scene, layer="raw", target=target[1:])
    )
    torch.testing.assert_close(whole.image[1:], alone.image, rtol=1e-4, atol=1e-7)


def test_the_margin_is_that_over_the_best_other_class(network, scene):
    images, label, target = scene
    found = branch_layercam(network, images, label, **asked(scene, layer="raw", score="margin"))
    with torch.no_grad():
        logits = logits_of(network, images, label)
    others = logits[:, [0, 2, 3]].amax(1)
    wanted = torch.stack(
        [(logits[n, CATEGORY] - others[n])[target[n] == CATEGORY].mean() for n in range(2)]
    )
    torch.testing.assert_close(found.score, wanted, rtol=1e-4, atol=1e-5)


def test_noisings_are_averaged_with_their_deviation(network, scene):
    images, label, _ = scene
    labels = [label, label.flip(3), 0.5 * label]
    single = [branch_layercam(network, images, one, **asked(scene, layer="raw")) for one in labels]
    found = noised_layercam(network, images, labels, **asked(scene, layer="raw"))
    stacked = torch.stack([maps.label for maps in single])
    torch.testing.assert_close(found.mean.label, stacked.mean(0))
    torch.testing.assert_close(found.label_std, stacked.std(0))
    torch.testing.assert_close(found.share, torch.stack([label_share(maps) for maps in single]))
    assert (
        noised_layercam(network, images, [label], **asked(scene, layer="raw"))
        .label_std.isnan()
        .all()
    )
    with pytest.raises(ValueError, match="got no label channel"):
        noised_layercam(network, images, [], **asked(scene))


def test_a_void_frame_is_refused_by_its_number(network, scene):
    images, label, target = scene
    void = target.clone()
    void[1] = 255
    for method in (branch_layercam, branch_shapley, integrated_gradients):
        with pytest.raises(ValueError, match=r"frames \[1\].*void.*labelled pixels: \[0\]"):
            method(network, images, label, category=CATEGORY, target=void)


def test_an_absent_class_is_nan_in_every_opinion(network, scene):
    images, label, target = scene
    without = target.clone()
    without[0][without[0] == CATEGORY] = 0
    options = asked(scene, target=without)
    joint = joint_layercam(network, images, label, layers=["encoder.layer1"], **options)
    assert joint.present.tolist() == [False, True]
    for part in (joint.combined, branch_shapley(network, images, label, **options).label):
        assert part[0].isnan().all()
        assert part[1].isfinite().all()
    gradients = integrated_gradients(network, images, label, **options, steps=2)
    assert gradients.label.isnan().tolist() == gradients.error.isnan().tolist() == [True, False]
