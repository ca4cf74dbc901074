import numpy as np
import pytest
import torch
from scipy.stats import ttest_rel

from labkit.metrics import scores_from_confusion
from labkit.statistics import block_length, paired_class_gains, paired_gain, resamples


def confusions(hits, wrong):
    """(S, F, 2, 2) of frames with as many pixels of either class, symmetric."""
    hits, wrong = np.asarray(hits), np.asarray(wrong)
    return np.stack([np.stack([hits, wrong], -1), np.stack([wrong, hits], -1)], -2)


@pytest.fixture
def random_pair():
    """3 seeds, 12 frames, 4 classes of which the last never occurs; the third in one frame only."""
    generator = np.random.default_rng(5)
    pair = generator.integers(1, 20, size=(2, 3, 12, 4, 4))
    pair[..., 3, :] = pair[..., 3] = 0
    pair[:, :, 1:, 2, :] = pair[:, :, 1:, :, 2] = 0
    return pair


def slow_gain(method, twin, seeds, frames):
    """Mean over drawn seeds of the difference of mIoU over drawn frames, one matrix at a time."""
    differences = []
    for seed in seeds:
        scores = [scores_from_confusion(torch.tensor(sum(counts[seed, frame] for frame in frames))) for counts in (method, twin)]
        differences.append(scores[0].miou - scores[1].miou)
    return np.mean(differences)


def test_a_gain_is_the_mean_difference_of_miou():
    # hits 8 of 10 per class: IoU 8/12; 6 of 10: 6/14; 9 of 10: 9/11
    gain = paired_gain(confusions([[8], [9]], [[2], [1]]), confusions([[6], [6]], [[4], [4]]), draws=200)
    assert gain.by_seed == pytest.approx((100 * (8 / 12 - 6 / 14), 100 * (9 / 11 - 6 / 14)))
    assert gain.value == pytest.approx(np.mean(gain.by_seed))
    assert (gain.low, gain.high) == pytest.approx(gain.by_seed)  # one frame: a draw is a mix of the two seeds
    assert gain.p_bootstrap == pytest.approx(2 / 201)
    assert gain.p_t == pytest.approx(ttest_rel([800 / 12, 900 / 11], [600 / 14, 600 / 14]).pvalue)


def test_every_draw_agrees_with_a_slow_loop(random_pair):
    method, twin = random_pair
    seed_weights, frame_weights = resamples(3, 12, draws=40, block=3, seed=2)
    slow = []
    for by_seed, by_frame in zip(seed_weights.astype(int), frame_weights.astype(int), strict=True):
        slow.append(slow_gain(method, twin, np.repeat(np.arange(3), by_seed), np.repeat(np.arange(12), by_frame)))
    gain = paired_gain(method, twin, draws=40, block=3, seed=2)
    assert (gain.low, gain.high) == pytest.approx(tuple(np.quantile(slow, [0.025, 0.975])))
    assert gain.value == pytest.approx(slow_gain(method, twin, range(3), range(12)))


def test_identical_methods_have_no_gain(random_pair):
    gain = paired_gain(random_pair[0], random_pair[0], draws=50)
    assert gain == (0, 0, 0, 1, 1, (0, 0, 0))


def test_the_twin_s_loss_is_the_method_s_gain(random_pair):
    gain, loss = paired_gain(*random_pair, draws=99), paired_gain(*random_pair[::-1], draws=99)
    assert (loss.value, loss.low, loss.high) == pytest.approx((-gain.value, -gain.high, -gain.low))
    assert (loss.p_bootstrap, loss.p_t) == pytest.approx((gain.p_bootstrap, gain.p_t))


def test_one_seed_has_no_t_test_and_the_same_gain_everywhere_is_certain():
    better, worse = confusions([[8, 7]], [[2, 3]]), confusions([[6, 7]], [[4, 3]])
    assert np.isnan(paired_gain(better, worse, draws=20).p_t)
    assert paired_gain(better.repeat(2, 0), worse.repeat(2, 0), draws=20).p_t == 0


def test_the_same_seed_gives_the_same_numbers_and_another_seed_others(random_pair):
    assert paired_gain(*random_pair, draws=50) == paired_gain(*random_pair, draws=50)
    assert paired_gain(*random_pair, draws=50) != paired_gain(*random_pair, draws=50, seed=1)


def test_gains_by_class_leave_absent_classes_blank_and_rare_ones_to_draws_that_hold_them(random_pair):
    gains = paired_class_gains(*random_pair, draws=60)
    assert np.isnan(gains.value).tolist() == [False, False, False, True]
    by_seed = [[scores_from_confusion(torch.tensor(counts[s].sum(0))).iou[0] for counts in random_pair] for s in range(3)]
    assert gains.value[0] == pytest.approx(np.mean([one - other for one, other in by_seed]))
    assert np.isnan([gains.low[3], gains.high[3]]).all()
    assert (gains.low[:3] <= gains.high[:3]).all()


def test_frames_of_void_alone_have_no_gain_and_raise_no_warning():
    nothing = np.zeros((2, 3, 2, 2), int)
    gain = paired_gain(nothing, nothing, draws=5)
    assert np.isnan([gain.value, gain.low, gain.high, gain.p_bootstrap, gain.p_t]).all()


def test_resamples_hold_as_many_seeds_and_frames_as_there_are():
    seeds, frames = resamples(3, 10, draws=30, block=4, seed=0)
    assert (seeds.sum(1) == 3).all()
    assert (frames.sum(1) == 10).all()
    assert len(np.unique(seeds, axis=0)) > 5
    assert {block_length(count) for count in (1, 2)} == {1}
    assert block_length(101) == 5


def test_an_interval_holds_the_truth_about_as_often_as_it_says():
    generator = np.random.default_rng(0)
    held, truth = 0, 100 * (0.8 / 1.2 - 0.75 / 1.25)
    for trial in range(60):
        frame = generator.normal(0, 0.05, size=(1, 40))
        pair = [rate + frame + generator.normal(0, 0.01, size=(8, 1)) for rate in (0.8, 0.75)]
        method, twin = (confusions(hits, 200 - hits) for hits in (generator.binomial(200, rate.clip(0, 1)) for rate in pair))
        gain = paired_gain(method, twin, draws=200, seed=trial)
        held += gain.low <= truth <= gain.high
    assert 50 <= held <= 60


def test_blocks_widen_the_interval_where_neighbours_resemble_each_other():
    generator = np.random.default_rng(0)
    better = np.repeat(generator.normal(0, 15, size=20), 10).astype(int)[None]  # ten alike in a row
    method, twin = confusions(100 + better, 100 - better), confusions(np.full((1, 200), 100), np.full((1, 200), 100))
    singly, blocks = (paired_gain(method, twin, draws=400, block=block) for block in (1, 10))
    assert blocks.high - blocks.low > 1.8 * (singly.high - singly.low)


@pytest.mark.parametrize("other", [(2, 5, 3, 3), (3, 4, 3, 3), (3, 5, 3, 2), (5, 3, 3)])
def test_unpaired_shapes_are_refused(other):
    with pytest.raises(ValueError, match="same seeds on the same frames"):
        paired_gain(np.zeros(other, int), np.zeros((3, 5, 3, 3), int))


@pytest.mark.parametrize("arguments", [{"draws": 0, "block": 1}, {"draws": 5, "block": 0}, {"draws": 5, "block": 11}])
def test_draws_and_blocks_out_of_range_are_refused(arguments):
    with pytest.raises(ValueError, match=r"block in 1\.\.10"):
        resamples(3, 10, seed=0, **arguments)
