"""Scores from one confusion matrix: by hand, against a slow loop, void and absent classes left out."""

import math

import pytest
import torch
from scipy.stats import spearmanr

from labkit.metrics import boundary_mask, confusion_matrix, scores_from_confusion, spearman

TARGET = torch.tensor([[[0, 0, 1, 1, 1, 255]]])
PREDICTION = torch.tensor([[[0, 1, 1, 1, 0, 2]]])


def test_hand_computed_confusion_and_scores():
    confusion = confusion_matrix(PREDICTION, TARGET, num_classes=4)
    assert confusion.tolist() == [[1, 1, 0, 0], [1, 2, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    scores = scores_from_confusion(confusion)
    assert scores.iou[:2] == pytest.approx([100 / 3, 50])
    assert scores.miou == pytest.approx((100 / 3 + 50) / 2)
    assert scores.pixel_accuracy == pytest.approx(60)
    assert torch.equal(scores.confusion, confusion)


def test_absent_classes_are_listed_and_left_out_of_the_mean():
    scores = scores_from_confusion(confusion_matrix(PREDICTION, TARGET, num_classes=4))
    assert scores.absent == [2, 3]
    assert [math.isnan(value) for value in scores.iou] == [False, False, True, True]


def test_a_class_only_predicted_counts_as_zero():
    prediction, target = torch.tensor([[[0, 2]]]), torch.tensor([[[0, 0]]])
    scores = scores_from_confusion(confusion_matrix(prediction, target, num_classes=3))
    assert scores.iou[2] == 0
    assert scores.miou == pytest.approx(25)
    assert scores.absent == [1]


def slow_confusion(prediction: torch.Tensor, target: torch.Tensor, num_classes: int, ignore_index: int) -> list[list[int]]:
    counts = [[0] * num_classes for _ in range(num_classes)]
    for label, said in zip(target.flatten().tolist(), prediction.flatten().tolist(), strict=True):
        if label != ignore_index:
            counts[label][said] += 1
    return counts


@pytest.mark.parametrize("ignore_index", [255, 7])
def test_confusion_equals_a_slow_loop(ignore_index):
    generator = torch.Generator().manual_seed(0)
    target = torch.randint(6, (3, 8, 9), generator=generator)
    prediction = torch.randint(5, (3, 8, 9), generator=generator)
    target[target == 5] = ignore_index
    confusion = confusion_matrix(prediction, target, num_classes=5, ignore_index=ignore_index)
    assert confusion.dtype == torch.int64
    assert confusion.tolist() == slow_confusion(prediction, target, 5, ignore_index)


def test_scores_equal_sets_of_pixels_counted_class_by_class():
    generator = torch.Generator().manual_seed(1)
    target, prediction = (torch.randint(5, (2, 8, 9), generator=generator) for _ in range(2))
    scores = scores_from_confusion(confusion_matrix(prediction, target, num_classes=5))
    for k in range(5):
        both, either = ((prediction == k) & (target == k)).sum(), ((prediction == k) | (target == k)).sum()
        assert scores.iou[k] == pytest.approx(100 * both.item() / either.item())
    assert scores.pixel_accuracy == pytest.approx(100 * (prediction == target).float().mean().item(), rel=1e-5)
    assert scores.absent == []


def test_the_sum_over_frames_scores_the_set():
    generator = torch.Generator().manual_seed(2)
    target, prediction = (torch.randint(3, (4, 5, 5), generator=generator) for _ in range(2))
    frames = [confusion_matrix(p, t, num_classes=3) for p, t in zip(prediction, target, strict=True)]
    assert torch.equal(sum(frames), confusion_matrix(prediction, target, num_classes=3))


def test_what_is_predicted_at_void_does_not_matter():
    other = PREDICTION.clone()
    other[TARGET == 255] = 3
    assert torch.equal(confusion_matrix(other, TARGET, num_classes=4), confusion_matrix(PREDICTION, TARGET, num_classes=4))


def test_all_void_counts_nothing_and_scores_nan():
    target = torch.full((1, 4, 4), 255)
    confusion = confusion_matrix(torch.zeros_like(target), target, num_classes=3)
    assert confusion.tolist() == [[0] * 3] * 3
    scores = scores_from_confusion(confusion)
    assert math.isnan(scores.miou)
    assert math.isnan(scores.pixel_accuracy)
    assert scores.absent == [0, 1, 2]


def test_shapes_that_differ_are_refused_by_name():
    with pytest.raises(ValueError, match=r"\(1, 2, 2\).*\(1, 4, 4\)"):
        confusion_matrix(torch.zeros(1, 2, 2, dtype=torch.int64), torch.zeros(1, 4, 4, dtype=torch.int64), num_classes=2)


@pytest.mark.parametrize("values", [7, 3])
def test_spearman_equals_scipy_s_ties_included(values):
    generator = torch.Generator().manual_seed(values)
    one, other = (torch.randint(values, (40,), generator=generator).float() for _ in range(2))
    assert spearman(one, other) == pytest.approx(spearmanr(one, other).statistic)
    assert spearman(one, one**3) == pytest.approx(1)
    assert spearman(one, -one) == pytest.approx(-1)


def test_spearman_of_what_does_not_vary_or_is_not_there_is_nan():
    assert math.isnan(spearman(torch.ones(4), torch.arange(4.0)))
    assert math.isnan(spearman(torch.tensor([1, math.nan, 2]), torch.arange(3.0)))
    with pytest.raises(ValueError, match="two vectors of one length"):
        spearman(torch.ones(3), torch.ones(4))


def boundary(rows, width):
    return boundary_mask(torch.tensor([rows]), width=width)[0].int().tolist()


def test_a_boundary_is_where_the_neighbourhood_holds_another_class():
    assert boundary([[0, 0, 0, 1, 1, 1]], 1) == [[0, 0, 1, 1, 0, 0]]
    assert boundary([[0, 0, 0, 1, 1, 1]], 2) == [[0, 1, 1, 1, 1, 0]]
    corner = [[2, 0, 0], [0, 0, 0], [0, 0, 0]]
    assert boundary(corner, 1) == [[1, 1, 0], [1, 1, 0], [0, 0, 0]]
    assert boundary(corner, 5) == [[1] * 3] * 3


def test_void_neither_has_a_boundary_nor_makes_one():
    assert boundary([[0, 0, 255, 255, 0, 0]], 1) == [[0] * 6]
    assert boundary([[0, 255, 1]], 1) == [[0, 0, 0]]
    assert boundary([[0, 255, 1]], 2) == [[1, 0, 1]]
    assert boundary([[255, 255]], 1) == [[0, 0]]


def test_a_boundary_agrees_with_a_slow_loop():
    target = torch.randint(0, 5, (2, 9, 11), generator=torch.Generator().manual_seed(1)).masked_fill(
        torch.arange(198).reshape(2, 9, 11) % 5 == 0, 255
    )
    target[:, 3:, 4:] = 3
    mask = boundary_mask(target, width=2)
    for image, row, column in torch.cartesian_prod(torch.arange(2), torch.arange(9), torch.arange(11)).tolist():
        around = target[image, max(0, row - 2) : row + 3, max(0, column - 2) : column + 3]
        other = (around != target[image, row, column]) & (around != 255)
        assert mask[image, row, column] == (target[image, row, column] != 255 and other.any())


def test_a_boundary_of_no_width_is_refused():
    with pytest.raises(ValueError, match="width 0; expected at least 1"):
        boundary([[0, 1]], 0)
