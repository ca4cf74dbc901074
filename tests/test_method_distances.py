"""Distances of logits against hand-computed numbers, slow loops and their invariances."""

import itertools
import math

import pytest
import torch

from labkit.method import DISTANCES, channel_wise_distance, dual_path_consistency, pixel_wise_kd
from labkit.method import frames as frame_groups
from tests.tiny import no_host_reads

every_distance = pytest.mark.parametrize("distance", DISTANCES.values(), ids=DISTANCES.keys())
every_temperature = pytest.mark.parametrize("temperature", [1.0, 4.0])


def logits(seed: int, shape: tuple[int, ...] = (2, 3, 4, 5), scale: float = 2.0) -> torch.Tensor:
    return scale * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def gradient(distance, student, teacher, **options) -> torch.Tensor:
    student = student.clone().requires_grad_()
    distance(student, teacher, **options).backward()
    return student.grad


def softmax(values: list[float]) -> list[float]:
    top = [math.exp(value) for value in values]
    return [value / sum(top) for value in top]


def kl(p: list[float], q: list[float]) -> float:
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))


def test_channel_wise_distance_of_two_maps_by_hand():
    teacher = torch.tensor(
        [[[[2 * math.log(3), 0.0]], [[1.0, -1.0]]]]
    )  # one image, two maps of two positions
    student = torch.tensor([[[[0.0, 0.0]], [[0.0, 3.0]]]])
    by_hand = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
    by_hand += kl(softmax([0.5, -0.5]), softmax([0.0, 1.5]))
    value = channel_wise_distance(student, teacher, temperature=2.0).item()
    assert value == pytest.approx(2.0**2 * by_hand / 2, rel=1e-5)


def test_pixel_wise_kd_of_two_pixels_by_hand():
    teacher = torch.tensor([[[[2 * math.log(3), 1.0]], [[0.0, -1.0]]]])  # two pixels of two classes
    student = torch.tensor([[[[0.0, 0.0]], [[0.0, 3.0]]]])
    by_hand = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
    by_hand += kl(softmax([0.5, -0.5]), softmax([0.0, 1.5]))
    value = pixel_wise_kd(student, teacher, temperature=2.0).item()
    assert value == pytest.approx(2.0**2 * by_hand / 2, rel=1e-5)


def test_each_distance_equals_a_slow_loop():
    student, teacher, temperature = logits(0), logits(1), 3.0
    maps = [(student[n, k].flatten(), teacher[n, k].flatten()) for n in range(2) for k in range(3)]
    pixels = [
        (student[n, :, y, x], teacher[n, :, y, x])
        for n in range(2)
        for y in range(4)
        for x in range(5)
    ]
    for distance, pairs in ((channel_wise_distance, maps), (pixel_wise_kd, pixels)):
        slow = [
            kl(softmax((t / temperature).tolist()), softmax((s / temperature).tolist()))
            for s, t in pairs
        ]
        expected = temperature**2 * sum(slow) / len(slow)
        assert distance(student, teacher, temperature=temperature).item() == pytest.approx(
            expected, rel=1e-5
        )


# what every distance owes


@every_distance
@every_temperature
def test_distance_is_zero_at_equality_and_positive_elsewhere(distance, temperature):
    same = logits(0)
    assert distance(same, same.clone(), temperature=temperature).item() == pytest.approx(
        0, abs=1e-6
    )
    assert gradient(distance, same, same, temperature=temperature).abs().max() < 1e-6
    assert all(
        distance(logits(0), logits(seed), temperature=temperature).item() > 0.01
        for seed in range(1, 6)
    )


@every_distance
def test_teacher_gets_no_gradient(distance):
    student, teacher = logits(0).requires_grad_(), logits(1).requires_grad_()
    distance(student, teacher, temperature=2.0).backward()
    assert student.grad.abs().max() > 0
    assert teacher.grad is None


@every_distance
@every_temperature
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_value_and_gradient_are_finite_at_huge_logits_under_autocast(distance, temperature, dtype):
    student = logits(0, scale=1e4).to(dtype).requires_grad_()
    keep = torch.ones(2, 4, 5, dtype=torch.bool)
    keep[0] = False
    for mask in (None, keep):
        student.grad = None
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
            loss = distance(
                student, logits(1, scale=1e4).to(dtype), temperature=temperature, keep=mask
            )
        loss.backward()
        assert loss.dtype == torch.float32
        assert loss.isfinite()
        assert loss > 0
        assert student.grad.isfinite().all()


@every_distance
def test_distance_falls_under_gradient_descent(distance):
    student, teacher = logits(0), logits(1)
    values = []
    for _ in range(30):
        values.append(distance(student, teacher, temperature=2.0).item())
        student = student - 1.0 * gradient(distance, student, teacher, temperature=2.0)
    assert all(after < before for before, after in itertools.pairwise(values))


@every_distance
def test_wrong_shapes_and_temperatures_are_refused_by_name(distance):
    with pytest.raises(ValueError, match=r"\(2, 3, 4, 5\).*\(2, 3, 2, 5\)"):
        distance(logits(0), logits(1, (2, 3, 2, 5)), temperature=1.0)
    with pytest.raises(ValueError, match=r"\(3, 4, 5\)"):
        distance(logits(0, (3, 4, 5)), logits(1, (3, 4, 5)), temperature=1.0)
    for temperature in (0.0, -1.0, math.nan):
        with pytest.raises(ValueError, match="temperature"):
            distance(logits(0), logits(1), temperature=temperature)
    for keep in (torch.ones(2, 4, 5), torch.ones(2, 3, 4, 5, dtype=torch.bool)):
        with pytest.raises(ValueError, match="keep"):
            distance(logits(0), logits(1), temperature=1.0, keep=keep)


# invariances and gradients in closed form


def test_channel_wise_distance_ignores_a_constant_per_map_but_not_a_class_shift_per_pixel():
    student, teacher = logits(0), logits(1)
    value = channel_wise_distance(student, teacher, temperature=2.0)
    per_map, per_pixel = logits(2, (2, 3, 1, 1)), logits(3, (2, 1, 4, 5))
    torch.testing.assert_close(
        channel_wise_distance(student + per_map, teacher - per_map, temperature=2.0), value
    )
    assert not torch.isclose(
        channel_wise_distance(student + per_pixel, teacher, temperature=2.0), value, rtol=0.01
    )


def test_pixel_wise_kd_ignores_a_constant_over_classes_but_not_a_constant_per_map():
    student, teacher = logits(0), logits(1)
    value = pixel_wise_kd(student, teacher, temperature=2.0)
    per_map, per_pixel = logits(2, (2, 3, 1, 1)), logits(3, (2, 1, 4, 5))
    torch.testing.assert_close(
        pixel_wise_kd(student + per_pixel, teacher - per_pixel, temperature=2.0), value
    )
    assert not torch.isclose(
        pixel_wise_kd(student + per_map, teacher, temperature=2.0), value, rtol=0.01
    )


@every_temperature
def test_channel_wise_gradient_is_the_difference_of_position_softmaxes(temperature):
    student, teacher = logits(0), logits(1)
    phi_s, phi_t = ((z / temperature).flatten(2).softmax(2).view_as(z) for z in (student, teacher))
    expected = temperature * (phi_s - phi_t) / (2 * 3)
    torch.testing.assert_close(
        gradient(channel_wise_distance, student, teacher, temperature=temperature), expected
    )


@every_temperature
def test_pixel_wise_gradient_is_the_difference_of_class_softmaxes(temperature):
    student, teacher = logits(0), logits(1)
    p_s, p_t = ((z / temperature).softmax(1) for z in (student, teacher))
    expected = temperature * (p_s - p_t) / (2 * 4 * 5)
    torch.testing.assert_close(
        gradient(pixel_wise_kd, student, teacher, temperature=temperature), expected
    )


# positions left out


def test_channel_wise_keep_equals_computing_on_the_kept_positions_alone():
    student, teacher, keep = (
        logits(0),
        logits(1),
        torch.rand(2, 4, 5, generator=torch.Generator().manual_seed(4)) > 0.4,
    )
    alone = [
        channel_wise_distance(
            student[n][:, keep[n]][None, :, None],
            teacher[n][:, keep[n]][None, :, None],
            temperature=2.0,
        )
        for n in range(2)
    ]
    torch.testing.assert_close(
        channel_wise_distance(student, teacher, temperature=2.0, keep=keep), sum(alone) / 2
    )


def test_pixel_wise_keep_equals_computing_on_the_kept_positions_alone():
    student, teacher, keep = (
        logits(0),
        logits(1),
        torch.rand(2, 4, 5, generator=torch.Generator().manual_seed(4)) > 0.4,
    )
    kept_s, kept_t = (z.movedim(1, -1)[keep].T[None, :, None] for z in (student, teacher))
    alone = pixel_wise_kd(kept_s, kept_t, temperature=2.0)
    torch.testing.assert_close(pixel_wise_kd(student, teacher, temperature=2.0, keep=keep), alone)


@every_distance
def test_keep_everywhere_changes_nothing_and_positions_left_out_get_no_gradient(distance):
    student, teacher, keep = logits(0), logits(1), torch.ones(2, 4, 5, dtype=torch.bool)
    whole = distance(student, teacher, temperature=2.0)
    torch.testing.assert_close(distance(student, teacher, temperature=2.0, keep=keep), whole)
    keep[:, 1:3] = False
    masked = gradient(distance, student, teacher, temperature=2.0, keep=keep)
    assert masked[:, :, 1:3].abs().max() == 0
    assert masked[:, :, 0].abs().max() > 0


@every_distance
def test_nothing_kept_gives_zero_with_a_zero_gradient(distance):
    keep = torch.zeros(2, 4, 5, dtype=torch.bool)
    assert distance(logits(0), logits(1), temperature=2.0, keep=keep).item() == 0
    assert gradient(distance, logits(0), logits(1), temperature=2.0, keep=keep).abs().max() == 0


# dual-path consistency


@every_distance
def test_consistency_is_symmetric_and_reaches_both_paths(distance):
    a, b = logits(0).requires_grad_(), logits(1).requires_grad_()
    loss = dual_path_consistency(a, b, distance=distance, temperature=2.0)
    torch.testing.assert_close(
        loss, dual_path_consistency(b, a, distance=distance, temperature=2.0)
    )
    loss.backward()
    torch.testing.assert_close(a.grad, gradient(distance, a.detach(), b.detach(), temperature=2.0))
    torch.testing.assert_close(b.grad, gradient(distance, b.detach(), a.detach(), temperature=2.0))


@every_distance
def test_consistency_hands_keep_to_both_directions(distance):
    keep = torch.zeros(2, 4, 5, dtype=torch.bool)
    assert (
        dual_path_consistency(
            logits(0), logits(1), distance=distance, temperature=2.0, keep=keep
        ).item()
        == 0
    )


# groups of frames


@every_distance
@pytest.mark.parametrize("kept", [False, True])
def test_groups_of_frames_change_neither_value_nor_gradient(distance, kept, monkeypatch):
    student, teacher = logits(0, (5, 3, 4, 5)), logits(1, (5, 3, 4, 5))
    keep = logits(2, (5, 4, 5)) > 0 if kept else None
    options = {"temperature": 2.0, "keep": keep}
    whole = distance(student, teacher, **options), gradient(distance, student, teacher, **options)
    monkeypatch.setattr(frame_groups, "GROUP_ELEMENTS", 2 * 3 * 4 * 5)
    parts = distance(student, teacher, **options), gradient(distance, student, teacher, **options)
    torch.testing.assert_close(parts, whole)


@every_distance
def test_gradients_equal_finite_differences(distance):
    student, teacher = logits(0).double().requires_grad_(), logits(1).double()
    keep = logits(2, (2, 4, 5)) > -1
    options = {"temperature": 2.0, "keep": keep}
    assert torch.autograd.gradcheck(lambda a: distance(a, teacher, **options), student)


@every_distance
def test_a_distance_reads_nothing_back_from_the_device(distance):
    student, keep = logits(0).requires_grad_(), torch.ones(2, 4, 5, dtype=torch.bool)
    with no_host_reads():
        distance(student, logits(1), temperature=2.0, keep=keep).backward()
