"""The distance weighted by what the label changes: numbers by hand, and who can be taught so."""

import math

import pytest
import torch

from labkit.distillers import build_distiller
from labkit.errors import SettingsError
from labkit.method import Outputs
from labkit.method.assistance import BesideZeroLabel
from labkit.settings import make_settings
from tests.tiny import TinyNetwork, frozen, random_images, random_outputs

TARGET = torch.zeros(1, 1, 2, dtype=torch.int64)


def row(*classes) -> torch.Tensor:
    """(1, K, 1, P) logits from one list of positions for each class."""
    return torch.tensor(classes, dtype=torch.float64)[None, :, None]


def value(student, teacher, zero_label=None, *, target=TARGET, name="disagreement"):
    auxiliary = {} if zero_label is None else {"zero_label": zero_label}
    pair = Outputs(student, 1, {}, ()), Outputs(teacher, 1, auxiliary, ())
    options = {f"{name}.weight": 1.0, f"{name}.temperature": 1.0}
    distiller = build_distiller(name, options, student=pair[0], teacher=pair[1], seed=0).double()
    return distiller(*pair, target)[name]


def test_two_positions_of_which_one_disagrees_by_hand():
    """Class 0 has 3/4 and 1/4 of its mass, the student half each; the first weighs 2, the other 0.

    Class 1 is equal in both.
    """
    teacher = row([math.log(3), 0.0], [0.0, 0.0])
    zero_label = row([0.0, 0.0], [0.0, 0.0])  # agrees at the second position alone
    by_hand = 2 * (0.75 * math.log(0.75 / 0.5) - 0.75 + 0.5) / 2
    assert value(row([0.0, 0.0], [0.0, 0.0]), teacher, zero_label).item() == pytest.approx(by_hand)


def test_equal_weights_and_no_zero_label_answer_are_cwd():
    student, teacher = (random_outputs(seed=seed, dtype=torch.float64).logits for seed in (0, 1))
    target = torch.zeros(2, 4, 6, dtype=torch.int64)
    expected = value(student, teacher, target=target, name="cwd")
    torch.testing.assert_close(value(student, teacher, target=target), expected)
    probability = teacher.softmax(1)
    other = (probability.roll(1, 1) + probability) / 2  # a distance that varies over positions
    weighted = value(student, teacher, other.log(), target=target)
    assert not torch.isclose(weighted, expected)
    same_everywhere = row([0.0] * 4, [1.0] * 4), row([1.0] * 4, [0.0] * 4)
    student = row([3.0, 1.0, 0.0, 2.0], [0.0, 5.0, 1.0, 1.0])
    target = torch.zeros(1, 1, 4, dtype=torch.int64)
    torch.testing.assert_close(
        value(student, *same_everywhere, target=target),
        value(student, same_everywhere[0], target=target, name="cwd"),
    )


def test_answers_that_agree_teach_nothing_and_the_least_value_is_at_the_teacher():
    student, teacher, zero = (random_outputs(seed=i, dtype=torch.float64).logits for i in range(3))
    target = torch.zeros(2, 4, 6, dtype=torch.int64)
    assert value(student, teacher, teacher, target=target) == 0
    assert value(student, teacher, zero, target=target) > 0
    at_teacher = teacher.detach().clone().requires_grad_()
    least = value(at_teacher, teacher, zero, target=target)
    assert least.item() == pytest.approx(0, abs=1e-12)
    (gradient,) = torch.autograd.grad(least, at_teacher)
    assert gradient.abs().max() < 1e-12


def test_a_teacher_answers_with_and_without_its_label():
    teacher, images = frozen(TinyNetwork(2)), random_images()
    channels = torch.randn(2, 2, 32, 32)
    outputs = BesideZeroLabel(teacher)(torch.cat([images, channels], 1))
    with_label = teacher(torch.cat([images, channels], 1))
    without = teacher(torch.cat([images, 0 * channels], 1))
    torch.testing.assert_close(outputs.logits, with_label.logits)
    torch.testing.assert_close(outputs.auxiliary["zero_label"], without.logits)
    torch.testing.assert_close(outputs.features, with_label.features)


def test_a_plain_teacher_is_refused():
    values = {"teacher": "t", "distillation": "disagreement:3"}
    assert make_settings("student", values, taught_by="assisted").distillation == "disagreement:3"
    with pytest.raises(SettingsError, match="setting distillation: got 'disagreement:3'"):
        make_settings("student", values, taught_by="plain")
