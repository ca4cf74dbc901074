"""Soft labels: torch's smoothing as the oracle, a boundary by hand, and what stays as it is."""

import math

import pytest
import torch
import torch.nn.functional as F

from labkit.method import cross_entropy
from labkit.method.soft_labels import soft_cross_entropy, soft_labels
from tests.tiny import block_target, no_host_reads, seeded

TARGET = block_target()
LOGITS = torch.randn(2, 4, 16, 16, generator=seeded())


def labels(target, *, smoothing=0.0, std=0.0, classes=4):
    return soft_labels(target, classes, label_smoothing=smoothing, boundary_smoothing=std)


def test_without_smoothing_it_is_the_cross_entropy():
    torch.testing.assert_close(
        soft_cross_entropy(LOGITS, TARGET, stride=2), cross_entropy(LOGITS, TARGET, stride=2)
    )


def test_a_constant_smoothing_is_torch_s():
    logits = torch.randn(2, 4, 32, 32, generator=seeded())
    expected = F.cross_entropy(logits, TARGET, ignore_index=255, label_smoothing=0.3)
    torch.testing.assert_close(soft_cross_entropy(logits, TARGET, label_smoothing=0.3), expected)


def test_a_boundary_by_hand():
    """Two pixels of each class and void: weights 1, a, b, c of 0 to 3 pixels away."""
    row = labels(torch.tensor([[[0, 0, 1, 255]]]), std=1.0)[0, :, 0]
    a, b = math.exp(-1 / 2), math.exp(-2)
    expected = [(1 + a) / (1 + a + b), (1 + a) / (1 + 2 * a), (b + a) / (1 + a + b), 0]
    torch.testing.assert_close(row[0], torch.tensor(expected))
    torch.testing.assert_close(row[:2].sum(0), torch.tensor([1.0, 1, 1, 0]))


@pytest.mark.parametrize(
    "options", [{"smoothing": 0.2}, {"std": 1.5}, {"smoothing": 0.2, "std": 2}]
)
def test_labels_are_probabilities_where_there_is_a_label(options):
    soft, void = labels(TARGET, **options), TARGET == 255
    assert soft.min() >= 0
    torch.testing.assert_close(soft.sum(1), (~void).float())
    changed = TARGET.clone()
    changed[1] = 255
    torch.testing.assert_close(labels(changed, **options)[0], soft[0])


def test_far_from_a_boundary_nothing_changes_and_near_it_the_own_class_stays_first():
    target = torch.zeros(1, 20, 20, dtype=torch.int64)
    target[:, :, 10:] = 2
    soft = labels(target, std=1.0)
    torch.testing.assert_close(soft[:, 0, :, :7], torch.ones(1, 20, 7))
    assert torch.equal(soft.argmax(1), target)
    assert 0.3 < soft[0, 0, 5, 10] < 0.5


def test_all_void_is_zero_and_bf16_autocast_changes_nothing():
    assert soft_cross_entropy(LOGITS, torch.full_like(TARGET, 255), stride=2) == 0
    options = {"stride": 2, "boundary_smoothing": 1.0, "label_smoothing": 0.1}
    with no_host_reads():
        expected = soft_cross_entropy(LOGITS, TARGET, **options)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert soft_cross_entropy(LOGITS, TARGET, **options) == expected
