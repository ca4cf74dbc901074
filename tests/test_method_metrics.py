"""Counts per frame, scores from their sums, boundaries: by hand, by slow loops, void left out."""

import math

import pytest
import torch

from labkit.method import Counts, boundary_mask, count_pixels, scores_from_counts
from tests.tiny import seeded

TARGET = torch.tensor([[[0, 0, 1, 1, 1, 255]]])
PREDICTION = torch.tensor([[[0, 1, 1, 1, 0, 2]]])


def over_frames(counts: Counts) -> Counts:
    return Counts(*(values.sum(0) for values in counts))


def random_ids(classes: int, shape=(3, 8, 9), seed: int = 0) -> torch.Tensor:
    return torch.randint(classes, shape, generator=seeded(seed))


def test_hand_computed_counts_and_scores():
    counts = count_pixels(PREDICTION, TARGET, num_classes=4)
    assert counts.hits.tolist() == [[1, 2, 0, 0]]
    assert counts.labelled.tolist() == [[2, 3, 0, 0]]
    assert counts.predicted.tolist() == [[2, 3, 0, 0]]
    scores = scores_from_counts(over_frames(counts))
    assert scores.iou[:2] == pytest.approx([100 / 3, 50])
    assert scores.miou == pytest.approx((100 / 3 + 50) / 2)
    assert scores.pixel_accuracy == pytest.approx(60)


def test_absent_classes_are_listed_and_left_out_of_the_mean():
    scores = scores_from_counts(over_frames(count_pixels(PREDICTION, TARGET, num_classes=4)))
    assert scores.absent == [2, 3]
    assert [math.isnan(value) for value in scores.iou] == [False, False, True, True]


def test_a_class_only_predicted_counts_as_zero():
    prediction, target = torch.tensor([[[0, 2]]]), torch.tensor([[[0, 0]]])
    scores = scores_from_counts(over_frames(count_pixels(prediction, target, num_classes=3)))
    assert scores.iou[2] == 0
    assert scores.miou == pytest.approx(25)
    assert scores.absent == [1]


@pytest.mark.parametrize("ignore_index", [255, 7])
@pytest.mark.parametrize("restricted", [False, True])
def test_counts_equal_a_slow_loop(ignore_index, restricted):
    target, prediction = random_ids(6), random_ids(5, seed=1)
    target[target == 5] = ignore_index
    where = random_ids(2, seed=2) == 1 if restricted else None
    counts = count_pixels(prediction, target, num_classes=5, where=where, ignore_index=ignore_index)
    expected = torch.zeros(3, 3, 5, dtype=torch.int64)
    for n, y, x in torch.cartesian_prod(*map(torch.arange, target.shape)).tolist():
        label, answer = target[n, y, x], prediction[n, y, x]
        if label != ignore_index and (where is None or where[n, y, x]):
            expected[0, n, label] += label == answer
            expected[1, n, label] += 1
            expected[2, n, answer] += 1
    assert all(values.dtype == torch.int64 for values in counts)
    assert torch.equal(torch.stack(list(counts)), expected)


def test_scores_equal_sets_of_pixels_counted_class_by_class():
    target, prediction = random_ids(5, seed=1), random_ids(5, seed=2)
    scores = scores_from_counts(over_frames(count_pixels(prediction, target, num_classes=5)))
    for k in range(5):
        both = ((prediction == k) & (target == k)).sum().item()
        either = ((prediction == k) | (target == k)).sum().item()
        assert scores.iou[k] == pytest.approx(100 * both / either)
    accuracy = (prediction == target).double().mean().item()
    assert scores.pixel_accuracy == pytest.approx(100 * accuracy)
    assert scores.absent == []


def test_what_is_predicted_at_void_does_not_matter():
    other = PREDICTION.clone()
    other[TARGET == 255] = 300
    first, second = (count_pixels(p, TARGET, num_classes=4) for p in (other, PREDICTION))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_all_void_counts_nothing_and_scores_nan():
    target = torch.full((1, 4, 4), 255)
    counts = over_frames(count_pixels(torch.zeros_like(target), target, num_classes=3))
    assert [values.tolist() for values in counts] == [[0] * 3] * 3
    scores = scores_from_counts(counts)
    assert math.isnan(scores.miou)
    assert math.isnan(scores.pixel_accuracy)
    assert scores.absent == [0, 1, 2]


@pytest.mark.parametrize("bad", [-1, 3, 254])
@pytest.mark.parametrize("name", ["prediction", "target"])
def test_ids_outside_the_classes_are_refused_by_name(bad, name):
    ids = {"prediction": random_ids(3), "target": random_ids(3, seed=1)}
    ids[name][1, 2, 3] = bad
    with pytest.raises(ValueError, match=rf"{name} holds ids \[{bad}\].*expected 0\.\.2"):
        count_pixels(ids["prediction"], ids["target"], num_classes=3)


def test_shapes_that_differ_are_refused_by_name():
    small, large = torch.zeros(1, 2, 2).long(), torch.zeros(1, 4, 4).long()
    with pytest.raises(ValueError, match=r"\(1, 2, 2\).*\(1, 4, 4\)"):
        count_pixels(small, large, num_classes=2)


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
    target = torch.randint(
        0, 5, (2, 9, 11), generator=torch.Generator().manual_seed(1)
    ).masked_fill(torch.arange(198).reshape(2, 9, 11) % 5 == 0, 255)
    target[:, 3:, 4:] = 3
    mask = boundary_mask(target, width=2)
    for image, row, column in torch.cartesian_prod(
        torch.arange(2), torch.arange(9), torch.arange(11)
    ).tolist():
        around = target[image, max(0, row - 2) : row + 3, max(0, column - 2) : column + 3]
        other = (around != target[image, row, column]) & (around != 255)
        assert mask[image, row, column] == (target[image, row, column] != 255 and other.any())


def test_a_boundary_of_no_width_is_refused():
    with pytest.raises(ValueError, match="width 0; expected at least 1"):
        boundary([[0, 1]], 0)
