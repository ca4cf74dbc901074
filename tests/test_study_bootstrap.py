import numpy as np
import pytest
from scipy.stats import t as student_t
from scipy.stats import ttest_rel

from labkit.study.bootstrap import (
    block_length,
    frame_resamples,
    paired_class_gains,
    paired_gain,
    resampled_iou,
    seed_resamples,
)
from labkit.study.counts import Counts
from labkit.study.gains import area_counts


def counts(hits, wrong):
    """(hits, union) per seed, (S, F, 2), of two classes that are confused symmetrically."""
    hits, wrong = np.asarray(hits), np.asarray(wrong)
    return np.stack([hits] * 2, -1), np.stack([hits + 2 * wrong] * 2, -1)


def resampled(pair, *, draws=50, block=1, seed=0):
    """One `Resampled` per seed from (hits, union), each (S, F, K)."""
    weights = frame_resamples(pair[0].shape[1], draws=draws, block=block, seed=seed)
    return [resampled_iou(hits, union, weights) for hits, union in zip(*pair, strict=True)]


def gain_of(method, twin, *, draws=50, block=1, seed=0):
    sides = [resampled(side, draws=draws, block=block, seed=seed) for side in (method, twin)]
    return paired_gain(*sides, seed=seed)


@pytest.fixture
def random_pair():
    """3 seeds, 12 frames, 4 classes: the last never occurs, the third in one frame only."""
    generator = np.random.default_rng(5)
    pair = []
    for _ in range(2):
        hits = generator.integers(1, 20, size=(3, 12, 4))
        union = hits + generator.integers(0, 20, size=hits.shape)
        hits[..., 3] = union[..., 3] = 0
        hits[:, 1:, 2] = union[:, 1:, 2] = 0
        pair.append((hits, union))
    return pair


def slow_miou(hits, union, frames):
    """Percent, one frame at a time; classes without a pixel left out."""
    hit, of = sum(hits[frame] for frame in frames), sum(union[frame] for frame in frames)
    return 100 * np.mean([h / u for h, u in zip(hit, of, strict=True) if u])


def slow_gain(method, twin, seeds, frames):
    scores = [[slow_miou(side[0][s], side[1][s], frames) for s in seeds] for side in (method, twin)]
    return np.mean(scores[0]) - np.mean(scores[1])


def test_a_gain_is_the_mean_difference_of_miou():
    # hits 8 of 10 per class: IoU 8/12; 6 of 10: 6/14; 9 of 10: 9/11
    gain = gain_of(counts([[8], [9]], [[2], [1]]), counts([[6], [6]], [[4], [4]]), draws=200)
    assert gain.by_seed == pytest.approx((100 * (8 / 12 - 6 / 14), 100 * (9 / 11 - 6 / 14)))
    assert gain.value == pytest.approx(np.mean(gain.by_seed))
    assert (gain.low, gain.high) == pytest.approx(gain.by_seed)  # one frame: draws mix two seeds
    assert gain.p_bootstrap == pytest.approx(2 / 201)
    expected = ttest_rel([800 / 12, 900 / 11], [600 / 14, 600 / 14]).pvalue
    assert gain.p_t == pytest.approx(expected)
    middle, spread = np.mean(gain.by_seed), np.ptp(gain.by_seed) / 2
    reach = student_t.ppf(0.975, 1) * spread  # two seeds: their standard error is half their range
    assert (gain.t_low, gain.t_high) == pytest.approx((middle - reach, middle + reach))


def test_every_draw_agrees_with_a_slow_loop(random_pair):
    method, twin = random_pair
    frames = frame_resamples(12, draws=40, block=3, seed=2).astype(int)
    seeds = seed_resamples(3, draws=40, seed=2).astype(int)
    slow = [
        slow_gain(method, twin, np.repeat(np.arange(3), s), np.repeat(np.arange(12), f))
        for s, f in zip(seeds, frames, strict=True)
    ]
    gain = gain_of(method, twin, draws=40, block=3, seed=2)
    assert (gain.low, gain.high) == pytest.approx(tuple(np.quantile(slow, [0.025, 0.975])))
    assert gain.value == pytest.approx(slow_gain(method, twin, range(3), range(12)))


def test_identical_methods_have_no_gain(random_pair):
    assert gain_of(random_pair[0], random_pair[0]) == (0, 0, 0, 1, 1, 0, 0, (0, 0, 0))


def test_swapping_the_sides_changes_the_sign(random_pair):
    gain, loss = gain_of(*random_pair, draws=99), gain_of(*random_pair[::-1], draws=99)
    assert (loss.value, loss.low, loss.high) == pytest.approx((-gain.value, -gain.high, -gain.low))
    assert (loss.p_bootstrap, loss.p_t) == pytest.approx((gain.p_bootstrap, gain.p_t))


def test_one_seed_has_no_t_test_and_equal_gains_have_p_0():
    better, worse = ([[8, 7]], [[2, 3]]), ([[6, 7]], [[4, 3]])
    assert np.isnan(gain_of(counts(*better), counts(*worse)).p_t)
    twice = [counts(*(np.repeat(part, 2, 0) for part in side)) for side in (better, worse)]
    assert gain_of(*twice).p_t == 0


def test_the_same_seed_gives_the_same_numbers_and_another_seed_others(random_pair):
    assert gain_of(*random_pair) == gain_of(*random_pair)
    assert gain_of(*random_pair) != gain_of(*random_pair, seed=1)


def test_class_gains_leave_absent_classes_blank(random_pair):
    sides = [resampled(side, draws=60) for side in random_pair]
    gains = paired_class_gains(*sides)
    assert np.isnan(gains.value).tolist() == [False, False, False, True]
    iou = [
        [100 * h[:, 0].sum() / u[:, 0].sum() for h, u in zip(*s, strict=True)] for s in random_pair
    ]
    assert gains.value[0] == pytest.approx(np.mean(iou[0]) - np.mean(iou[1]))
    assert np.isnan([gains.low[3], gains.high[3]]).all()
    assert (gains.low[:3] <= gains.high[:3]).all()


def test_a_class_that_is_predicted_but_absent_counts_as_zero():
    weights = frame_resamples(1, draws=1)
    iou = resampled_iou(np.array([[10, 0, 0]]), np.array([[10, 5, 0]]), weights).iou
    assert iou[:2].tolist() == [100, 0]
    assert np.isnan(iou[2])


def test_frames_of_void_alone_have_no_gain_and_raise_no_warning():
    nothing = np.zeros((2, 3, 2), int)
    gain = gain_of((nothing, nothing), (nothing, nothing), draws=5)
    numbers = [gain.value, gain.low, gain.high, gain.p_bootstrap, gain.p_t]
    assert np.isnan(numbers).all()


def test_resamples_hold_as_many_seeds_and_frames_as_there_are():
    seeds, frames = seed_resamples(3, draws=30), frame_resamples(10, draws=30, block=4)
    assert (seeds.sum(1) == 3).all()
    assert (frames.sum(1) == 10).all()
    assert len(np.unique(seeds, axis=0)) > 5
    assert {block_length(count) for count in (1, 2)} == {1}
    assert block_length(101) == 5


def test_an_interval_holds_the_truth_about_as_often_as_it_says():
    generator = np.random.default_rng(0)
    inside, truth = 0, 100 * (0.8 / 1.2 - 0.75 / 1.25)
    for trial in range(60):
        frame = generator.normal(0, 0.05, size=(1, 40))
        noise = [generator.normal(0, 0.01, size=(8, 1)) for _ in range(2)]
        rates = [rate + frame + extra for rate, extra in zip((0.8, 0.75), noise, strict=True)]
        hits = [generator.binomial(200, rate.clip(0, 1)) for rate in rates]
        gain = gain_of(*(counts(h, 200 - h) for h in hits), draws=200, seed=trial)
        inside += gain.low <= truth <= gain.high
    assert 50 <= inside <= 60


def test_blocks_widen_the_interval_where_neighbours_are_alike():
    generator = np.random.default_rng(0)
    better = np.repeat(generator.normal(0, 15, size=20), 10).astype(int)[None]  # ten in a row
    method, twin = counts(100 + better, 100 - better), counts(*[np.full((1, 200), 100)] * 2)
    singly, blocks = (gain_of(method, twin, draws=400, block=block) for block in (1, 10))
    assert blocks.high - blocks.low > 1.8 * (singly.high - singly.low)


def test_unpaired_runs_are_refused(random_pair):
    method, twin = (resampled(side) for side in random_pair)
    for sides in ((method[:2], twin), (method, resampled(random_pair[1], draws=9)), ([], [])):
        with pytest.raises(ValueError, match="same seeds on the same frames"):
            paired_gain(*sides)


@pytest.mark.parametrize(("draws", "block"), [(0, 1), (5, 0), (5, 11)])
def test_draws_and_blocks_out_of_range_are_refused(draws, block):
    with pytest.raises(ValueError, match=r"block in 1\.\.10"):
        frame_resamples(10, draws=draws, block=block)


def test_areas_count_the_classes_of_a_frame_by_their_share_of_it():
    labelled = np.array([[4, 996, 0], [4, 6, 990], [0, 0, 0]])
    hits, predicted = labelled // 2, labelled + np.array([[0, 0, 9], [2, 0, 0], [0, 0, 0]])
    counted, union, pixels = area_counts(Counts(hits, labelled, predicted))
    assert pixels.tolist() == [[0, 4, 0, 0, 996], [0, 10, 0, 0, 990], [0] * 5]
    assert counted.tolist() == [[0, 2, 0, 0, 498], [0, 5, 0, 0, 495], [0] * 5]
    assert union.tolist() == [[0, 6, 0, 0, 1494], [0, 17, 0, 0, 1485], [0] * 5]
