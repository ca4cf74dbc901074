"""The best decoder of a noised label, and regions of a label."""

import math

import numpy as np
import pytest

from labkit.explore.decoder import best_threshold_decoder, decode, decode_jointly
from labkit.explore.regions import largest_region, region_at


def codes_and_shares(seed, count):
    rng = np.random.default_rng(seed)
    shares = rng.dirichlet(np.ones(count))
    return rng.normal(size=count), shares


def density(x, codes, shares, std):
    """shares[k] times the density of class k at x: (K, X)."""
    return (
        shares[:, None]
        * np.exp(-(((x - codes[:, None]) / std) ** 2) / 2)
        / (std * math.sqrt(2 * math.pi))
    )


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("std", [0.02, 0.3, 2.0])
def test_the_best_decoder_s_accuracy_is_the_integral_of_the_largest_density(seed, std):
    codes, shares = codes_and_shares(seed, 9)
    x = np.linspace(-12 * max(std, 1), 12 * max(std, 1), 400_001)
    brute = np.trapezoid(density(x, codes, shares, std).max(0), x)
    assert best_threshold_decoder(codes, shares, std).accuracy == pytest.approx(brute, abs=2e-5)


@pytest.mark.parametrize("seed", range(4))
def test_no_other_thresholds_on_a_fine_grid_are_right_more_often(seed):
    """Every way to give each of many small bins to one class is bounded by the best class of each
    bin; thresholds reach it.
    """
    codes, shares = codes_and_shares(seed, 5)
    decoder = best_threshold_decoder(codes, shares, 0.4)
    x = np.linspace(-6, 6, 6001)
    dense = density(x, codes, shares, 0.4)
    answers = decode(decoder, x)
    away = np.abs(x[:, None] - decoder.thresholds).min(1, initial=1) > 1e-3
    assert (answers == dense.argmax(0))[away].all()
    for k in range(len(decoder.thresholds)):
        for shift in (-0.05, 0.05):
            moved = decoder._replace(
                thresholds=decoder.thresholds + shift * (np.arange(len(decoder.thresholds)) == k)
            )
            if (np.diff(moved.thresholds) > 0).all():
                assert (
                    dense[decode(moved, x), np.arange(len(x))].sum()
                    <= dense[answers, np.arange(len(x))].sum()
                )


def test_simulated_pixels_agree_with_the_expected_accuracy():
    codes, shares = codes_and_shares(3, 8)
    rng = np.random.default_rng(0)
    ids = rng.choice(8, size=200_000, p=shares)
    values = codes[ids] + 0.2 * rng.normal(size=len(ids))
    decoder = best_threshold_decoder(codes, shares, 0.2)
    assert (decode(decoder, values) == ids).mean() == pytest.approx(decoder.accuracy, abs=0.004)
    assert (
        decode_jointly(values[None], codes[None], shares, 0.2) == decode(decoder, values)
    ).mean() > 0.9999


def test_without_noise_distinct_codes_are_all_read_and_equal_ones_as_the_more_frequent():
    assert best_threshold_decoder(
        np.array([0.1, -1.0, 0.4]), np.array([0.2, 0.5, 0.3]), 0
    ).accuracy == pytest.approx(1)
    decoder = best_threshold_decoder(np.array([1.0, 1.0, 3.0]), np.array([0.5, 0.2, 0.3]), 0)
    assert decoder.accuracy == pytest.approx(0.8)
    assert decoder.classes.tolist() == [0, 2]


def test_in_boundless_noise_only_the_most_frequent_class_is_answered():
    codes, shares = codes_and_shares(1, 6)
    assert best_threshold_decoder(codes, shares, 1e6).accuracy == pytest.approx(
        shares.max(), abs=1e-5
    )
    assert best_threshold_decoder(0 * codes, shares, 0).accuracy == pytest.approx(shares.max())


def test_two_channels_tell_more_than_one():
    rng = np.random.default_rng(2)
    codes, ids = rng.normal(size=(2, 8)), rng.integers(8, size=20_000)
    values = codes[:, ids] + 0.3 * rng.normal(size=(2, len(ids)))
    shares = np.full(8, 1 / 8)
    joint = (decode_jointly(values, codes, shares, 0.3) == ids).mean()
    brute = ((values[:, None] - codes[:, :, None]) ** 2).sum(0).argmin(0)
    assert joint == (brute == ids).mean()
    assert joint > (decode(best_threshold_decoder(codes[0], shares, 0.3), values[0]) == ids).mean()


def test_a_region_is_what_a_flood_reaches():
    rng = np.random.default_rng(0)
    for _ in range(20):
        ids = rng.integers(2, size=(12, 15))
        y, x = rng.integers(12), rng.integers(15)
        reached, ahead = set(), [(y, x)]
        while ahead:
            here = ahead.pop()
            if (
                here not in reached
                and 0 <= here[0] < 12
                and 0 <= here[1] < 15
                and ids[here] == ids[y, x]
            ):
                reached.add(here)
                ahead += [
                    (here[0] + 1, here[1]),
                    (here[0] - 1, here[1]),
                    (here[0], here[1] + 1),
                    (here[0], here[1] - 1),
                ]
        assert {tuple(map(int, place)) for place in np.argwhere(region_at(ids, y, x))} == {
            tuple(map(int, place)) for place in reached
        }


def test_the_largest_region_is_pointed_at_inside_it():
    ids = np.zeros((8, 12), dtype=np.int64)
    ids[1:3, 1:3] = 5
    ids[4:7, 5:11] = 5
    y, x = largest_region(ids, 5)
    assert region_at(ids, y, x).sum() == 18
    assert largest_region(ids, 7) is None
