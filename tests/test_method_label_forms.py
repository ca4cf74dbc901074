"""Edges and regions of a label as the channel: by hand, and what they do not hold."""

import pytest
import torch

from labkit.method.label_forms import EdgeNoising, RegionNoising, connected_regions
from tests.tiny import block_target, rng_untouched, seeded

NOISINGS = (EdgeNoising, RegionNoising)
# Class 0 in two regions that touch at a corner alone, class 1 in two, and void.
SMALL = torch.tensor([[[0, 0, 1], [1, 1, 0], [1, 1, 255]]])


def clean(noising, target=SMALL, **options):
    return noising(num_classes=4, pixel_std=0, **options)(target, generator=seeded())[:, 0]


def test_edges_by_hand():
    assert clean(EdgeNoising, label_scale=3.0).tolist() == [[[3, 3, 3], [3, 3, 3], [0, 3, 3]]]
    alone = torch.full((1, 5, 5), 2)
    assert not clean(EdgeNoising, alone).any()
    alone[0, 2, 2] = 3
    cross = clean(EdgeNoising, alone)[0]
    assert cross.sum() == 5
    assert cross[2, 1:4].tolist() == cross[1:4, 2].tolist() == [1, 1, 1]


def test_edges_do_not_hold_the_classes():
    target = block_target()
    swapped = torch.tensor([1, 0, 3, 2])[target.clamp(max=3)].masked_fill(target == 255, 255)
    assert torch.equal(clean(EdgeNoising, target), clean(EdgeNoising, swapped))
    assert torch.equal(clean(RegionNoising, target), clean(RegionNoising, swapped))


def test_connected_regions_by_hand():
    assert connected_regions(SMALL).tolist() == [[[0, 0, 1], [2, 2, 3], [2, 2, 4]]]


def test_every_region_has_one_code_of_its_own():
    codes = clean(RegionNoising, class_std=2.0, label_scale=3.0)[0]
    regions = connected_regions(SMALL)[0]
    found = [codes[regions == number].unique() for number in range(5)]
    assert [len(values) for values in found] == [1] * 5
    assert len(torch.cat(found).unique()) == 5
    torch.testing.assert_close(codes, 6 * clean(RegionNoising)[0])
    assert clean(RegionNoising, void_policy="zero")[0, 2, 2] == 0


def test_codes_of_regions_are_normal_draws_for_every_image_and_channel():
    target = torch.arange(40 * 40).view(1, 40, 40).expand(3, -1, -1) % 2
    noising = RegionNoising(num_classes=4, label_channels=2, pixel_std=0)
    codes = noising(target, generator=seeded())
    assert codes.shape == (3, 2, 40, 40)
    assert codes.flatten(2).std(2).sub(1).abs().max() < 0.5  # 40 stripes each
    assert len(codes[:, :, 0, 0].unique()) == 6


@pytest.mark.parametrize("noising", NOISINGS)
def test_the_channel_follows_the_generator_and_no_other_image(noising):
    target = block_target(3)
    made = noising(num_classes=4)
    with rng_untouched():
        first = made(target, generator=seeded())
    assert torch.equal(first, made(target, generator=seeded()))
    other = target.clone()
    other[0] = block_target(1, seed=9)[0]
    assert torch.equal(made(other, generator=seeded())[1:], first[1:])
    assert first.std() > 0.1
    assert first.dtype == torch.float32


@pytest.mark.parametrize("noising", NOISINGS)
def test_one_pixel_and_a_target_of_another_shape(noising):
    assert noising(num_classes=4)(SMALL[:, :1, :1], generator=seeded()).shape == (1, 1, 1, 1)
    with pytest.raises(ValueError, match="LabelNoising: target is"):
        noising(num_classes=4)(SMALL.float(), generator=seeded())
