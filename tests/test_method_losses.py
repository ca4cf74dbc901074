"""Cross-entropy: void, upsampling in groups of frames, memory, and its hard-pixel form."""

import itertools
import math
import re

import pytest
import torch
import torch.nn.functional as F
from torch.profiler import ProfilerActivity, profile

from labkit.method import cross_entropy, full_size, hard_pixel_cross_entropy
from labkit.method import frames as frame_groups
from tests.tiny import block_target, no_host_reads, seeded

LOSSES = {"all": cross_entropy, "hard": hard_pixel_cross_entropy}
every_loss = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES.keys())


def logits(*shape: int, seed: int = 0, scale: float = 2.0) -> torch.Tensor:
    return scale * torch.randn(shape, generator=seeded(seed))


def value_and_gradient(loss, predicted, target, **options):
    predicted = predicted.clone().requires_grad_()
    value = loss(predicted, target, **options)
    value.backward()
    return value.detach(), predicted.grad


def plain_cross_entropy(predicted, target, *, stride=1):
    return F.cross_entropy(full_size(predicted, stride, target.shape[1:]), target, ignore_index=255)


@pytest.mark.parametrize(("stride", "height", "width"), [(1, 16, 24), (2, 31, 33), (8, 26, 70)])
@pytest.mark.parametrize("group_elements", [1, 4 * 26 * 70 * 2, 2**25])
def test_cross_entropy_equals_torch_in_value_and_gradient(
    stride, height, width, group_elements, monkeypatch
):
    monkeypatch.setattr(frame_groups, "GROUP_ELEMENTS", group_elements)
    target = block_target(3, height, width)
    predicted = logits(3, 4, -(-height // stride), -(-width // stride))
    assert (target == 255).any()
    actual = value_and_gradient(cross_entropy, predicted, target, stride=stride)
    expected = value_and_gradient(plain_cross_entropy, predicted, target, stride=stride)
    torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-7)


def test_cross_entropy_of_a_hand_computed_pixel_pair():
    predicted = torch.tensor([[[[math.log(3), 5.0]], [[0.0, -5.0]]]])
    target = torch.tensor([[[0, 255]]])
    assert cross_entropy(predicted, target).item() == pytest.approx(math.log(4 / 3))


@every_loss
@pytest.mark.parametrize("stride", [1, 4])
def test_all_void_is_zero_with_a_zero_gradient(loss, stride):
    target = torch.full((2, 8, 8), 255)
    value, gradient = value_and_gradient(
        loss, logits(2, 3, 8 // stride, 8 // stride), target, stride=stride
    )
    assert value == 0
    assert torch.equal(gradient, torch.zeros_like(gradient))


@pytest.mark.parametrize("odd", [math.inf, -math.inf, math.nan])
def test_logits_at_void_have_no_influence_even_if_not_finite(odd):
    target, predicted = block_target(), logits(2, 4, 32, 32)
    void = (target == 255).unsqueeze(1).expand_as(predicted)
    expected = value_and_gradient(cross_entropy, predicted, target)
    actual = value_and_gradient(cross_entropy, predicted.masked_fill(void, odd), target)
    assert torch.equal(actual[0], expected[0])
    assert torch.equal(actual[1], expected[1])
    assert actual[1][void].abs().max() == 0


def test_logits_that_are_not_finite_at_labelled_pixels_show_in_the_loss():
    predicted, target = logits(1, 3, 2, 2), torch.zeros(1, 2, 2, dtype=torch.int64)
    predicted[0, 1, 0, 0] = math.nan
    assert cross_entropy(predicted, target).isnan()


@every_loss
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_the_gradient_has_the_logits_type_and_the_loss_at_least_float32(loss, dtype):
    predicted = logits(2, 4, 8, 8, scale=10.0).to(dtype)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype != torch.float64):
        value, gradient = value_and_gradient(loss, predicted, block_target(), stride=4)
    assert value.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert gradient.dtype == dtype
    assert gradient.isfinite().all()


@every_loss
@pytest.mark.parametrize("stride", [1, 4])
def test_gradients_equal_finite_differences(loss, stride):
    predicted = logits(2, 3, 8 // stride, 8 // stride).double().requires_grad_()
    target = block_target(2, 8, 8, num_classes=3, side=2)
    assert torch.autograd.gradcheck(lambda a: loss(a, target, stride=stride), predicted)


@every_loss
def test_a_loss_reads_nothing_back_from_the_device(loss):
    predicted, target = logits(2, 4, 8, 8).requires_grad_(), block_target()
    with no_host_reads():
        loss(predicted, target, stride=4).backward()


def peak_bytes(compute) -> int:
    """Most bytes alive at once during a computation, from the profiler's allocations."""
    options = {"profile_memory": True, "acc_events": True}
    with profile(activities=[ProfilerActivity.CPU], **options) as recorded:
        compute()
    nodes, allocations = recorded.profiler.kineto_results.experimental_event_tree(), []
    while nodes:
        node = nodes.pop()
        nodes += node.children
        if node.name == "[memory]":
            allocations.append((node.start_time_ns, node.extra_fields.alloc_size))
    return max(itertools.accumulate(size for _, size in sorted(allocations)))


def test_peak_memory_of_many_classes_is_at_most_half_of_the_plain_loss(monkeypatch):
    classes, batch, side, stride = 171, 4, 64, 8
    monkeypatch.setattr(frame_groups, "GROUP_ELEMENTS", classes * side * side)
    target = torch.randint(classes, (batch, side, side), generator=seeded())
    predicted = logits(batch, classes, side // stride, side // stride)
    ours, plain = (
        peak_bytes(lambda loss=loss: value_and_gradient(loss, predicted, target, stride=stride))
        for loss in (cross_entropy, plain_cross_entropy)
    )
    assert plain >= 2 * 4 * batch * classes * side * side
    assert ours <= plain / 2, (ours, plain)


# hard pixels


def slow_hard_pixels(predicted, target, *, probability, least_share):
    losses = F.cross_entropy(predicted, target, ignore_index=255, reduction="none")
    losses = losses[target != 255].sort(descending=True).values
    above = (losses > -math.log(probability)).sum().item()
    least = math.ceil(least_share * target.numel())
    return losses[: max(above, least)].mean()


@pytest.mark.parametrize("scale", [0.1, 2.0, 20.0])
@pytest.mark.parametrize(("probability", "least_share"), [(0.7, 1 / 16), (0.05, 0.3), (0.9, 1.0)])
def test_hard_pixels_equal_a_sorted_list(scale, probability, least_share):
    target, predicted = block_target(3, 16, 16), logits(3, 4, 16, 16, scale=scale)
    options = {"probability": probability, "least_share": least_share}
    value = hard_pixel_cross_entropy(predicted, target, **options)
    torch.testing.assert_close(value, slow_hard_pixels(predicted, target, **options))


def test_easy_pixels_get_no_gradient():
    target = torch.zeros(1, 4, 4, dtype=torch.int64)
    predicted = torch.zeros(1, 2, 4, 4)
    predicted[:, 0] = 9.0
    predicted[0, :, 0, 0] = 0.0
    value, gradient = value_and_gradient(hard_pixel_cross_entropy, predicted, target)
    assert value.item() == pytest.approx(math.log(2))
    assert gradient[0, :, 0, 0].abs().min() > 0
    assert gradient[0, :, 1:].abs().max() == 0


# what is refused


@every_loss
def test_a_target_of_another_size_is_refused(loss):
    with pytest.raises(ValueError, match=r"\(2, 3, 4, 5\).*\(2, 8, 10\)"):
        loss(logits(2, 3, 4, 5), torch.zeros(2, 8, 10, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"cover"):
        loss(logits(2, 3, 4, 5), torch.zeros(2, 8, 10, dtype=torch.int64), stride=1)
    with pytest.raises(ValueError, match=r"\(2, 9, 10\)"):
        loss(logits(2, 3, 4, 5), torch.zeros(2, 9, 10, dtype=torch.int64), stride=2)


@every_loss
@pytest.mark.parametrize("dtype", [torch.float32, torch.int32, torch.uint8, torch.bool])
def test_a_target_of_another_type_is_refused(loss, dtype):
    with pytest.raises(ValueError, match=r"int64"):
        loss(logits(1, 3, 2, 2), torch.zeros(1, 2, 2, dtype=dtype))


@every_loss
@pytest.mark.parametrize("bad", [-1, 3, 254, 256, -100, 10**6])
def test_ids_that_are_no_classes_are_refused_by_name(loss, bad):
    target = torch.zeros(1, 2, 2, dtype=torch.int64)
    target[0, 1, 1] = bad
    with pytest.raises(ValueError, match=re.escape(f"ids [{bad}]; expected 0..2 or 255")):
        loss(logits(1, 3, 2, 2), target)
