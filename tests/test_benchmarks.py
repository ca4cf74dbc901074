"""The benchmarks' references compute what labkit computes, and every group is listed."""

import math
import time
from functools import partial
from pathlib import Path

import torch

from labkit.method import (
    IGNORE_INDEX,
    LabelNoising,
    channel_wise_distance,
    count_pixels,
    cross_entropy,
)
from tests.benchmarks import bench, reference, timing
from tests.tiny import block_target, seeded

SHARED = {"__init__", "bench", "camvid_files", "profile", "reference", "timing"}


def logits_of(n=2, classes=4, height=8, width=8, *, seed=0):
    return torch.randn(n, classes, height, width, generator=seeded(seed))


def test_every_file_with_rows_is_a_group_and_runs_by_name():
    folder = Path(bench.__file__).parent
    assert {path.stem for path in folder.glob("*.py")} - SHARED == bench.GROUPS.keys()


def test_noising_by_masks_is_label_noising():
    noising, target = LabelNoising(num_classes=4), block_target()
    expected = noising(target, generator=seeded())
    torch.testing.assert_close(reference.masked_loop(target, noising, seeded()), expected)


def test_plain_losses_are_ours():
    logits, other, target = logits_of(), logits_of(seed=1), block_target()
    expected = cross_entropy(logits, target, stride=4)
    torch.testing.assert_close(reference.plain_cross_entropy(logits, target), expected)
    expected = channel_wise_distance(logits, other, temperature=2.0)
    torch.testing.assert_close(reference.plain_distance(logits, other, 2.0), expected)


def test_confusion_by_numpy_has_our_counts():
    target = block_target()
    prediction = block_target(seed=1).masked_fill_(block_target(seed=1) == IGNORE_INDEX, 0)
    counts = count_pixels(prediction, target, num_classes=4)
    pairs = zip(prediction.numpy(), target.numpy(), strict=True)
    confusion = sum(reference.frame_confusion(one, label, 4) for one, label in pairs)
    assert (confusion.diagonal() == counts.hits.sum(0).numpy()).all()
    assert (confusion.sum(0) == counts.predicted.sum(0).numpy()).all()
    assert (confusion.sum(1) == counts.labelled.sum(0).numpy()).all()


def test_slope_of_powers():
    sizes = [10, 100, 1000]
    assert math.isclose(timing.slope(sizes, [3 * size**1.5 for size in sizes]), 1.5)
    assert math.isclose(timing.slope(sizes, [7, 7, 7]), 0, abs_tol=1e-12)


def test_times_are_medians_of_turns():
    short, long = timing.milliseconds(
        partial(time.sleep, 0.001), partial(time.sleep, 0.02), repeat=3
    )
    assert 1 <= short < long


def test_peak_memory_is_what_tensors_hold_at_once():
    def take(megabytes, times):
        for _ in range(times):
            torch.ones(megabytes * 10**6, dtype=torch.uint8)

    held = torch.ones(10**6, dtype=torch.uint8)
    assert timing.peak_megabytes(partial(take, 50, 1)) == 50
    assert timing.peak_megabytes(partial(take, 50, 3)) == 50
    assert timing.peak_megabytes(held.double) == 8
    assert timing.peak_megabytes(held.numel) == 0
