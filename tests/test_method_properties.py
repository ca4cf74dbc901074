"""Whatever comes in, the method gives a finite number or a ValueError that says what it expects."""

import math

import hypothesis.extra.numpy as arrays
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from labkit.method import (
    DISTANCES,
    Counts,
    LabelNoising,
    count_pixels,
    cross_entropy,
    dual_path_consistency,
    scores_from_counts,
)

few = settings(max_examples=40, deadline=None, derandomize=True, database=None)
K = 3
ODD = [math.inf, -math.inf, math.nan]
side = st.integers(0, 3)
shapes = st.tuples(st.integers(0, 2), side, side)  # N, H, W; often empty, often one pixel
temperatures = st.floats(0.01, 1000)
every_distance = pytest.mark.parametrize("distance", DISTANCES.values(), ids=DISTANCES)


def tensors(shape, elements, dtype):
    return arrays.arrays(dtype, shape, elements=elements).map(torch.from_numpy)


def logits(shape, *, odd=False):
    """(N, K, H, W) up to 1e4 either way; with `odd`, infinities and NaN among them."""
    values = st.floats(-1e4, 1e4, width=32)
    size = (shape[0], K, *shape[1:])
    return tensors(size, values | st.sampled_from(ODD) if odd else values, "float32")


def ids(shape, *, outside=False):
    """(N, H, W) class ids and void; with `outside`, ids that are neither."""
    bad = [-1, K, 254, 256, -100, 10**6] if outside else []
    return tensors(shape, st.sampled_from([*range(K), 255, *bad]), "int64")


def keeps(shape):
    whole = st.booleans().map(lambda kept: torch.full(shape, kept))
    return st.none() | whole | tensors(shape, st.booleans(), "bool")


def is_target(target):
    return bool((((target >= 0) & (target < K)) | (target == 255)).all())


def answer(compute, *inputs):
    """A loss with its gradients, or None where a ValueError says what was expected."""
    inputs = [value.clone().requires_grad_() for value in inputs]
    try:
        loss = compute(*inputs)
    except ValueError as error:
        if "expected" not in str(error):
            raise
        return None
    loss.backward()
    return loss.detach(), [value.grad for value in inputs if value.grad is not None]


def assert_finite(result):
    loss, gradients = result
    assert loss.shape == ()
    assert torch.isfinite(loss)
    assert all(torch.isfinite(gradient).all() for gradient in gradients)


@every_distance
@few
@given(data=st.data(), shape=shapes, temperature=temperatures)
def test_a_distance_of_any_maps_is_finite_or_refused(distance, data, shape, temperature):
    student, teacher = data.draw(logits(shape)), data.draw(logits(shape))
    keep = data.draw(keeps(shape))
    result = answer(lambda a: distance(a, teacher, temperature=temperature, keep=keep), student)
    assert (result is None) == (0 in shape)
    if result:
        assert_finite(result)
        assert result[0] >= -1e-3 * temperature**2 - 1e-6 * student.abs().max() * temperature


@every_distance
@few
@given(data=st.data(), shape=shapes.filter(lambda shape: 0 not in shape))
def test_what_is_not_finite_shows_in_the_distance(distance, data, shape):
    student, teacher = data.draw(logits(shape, odd=True)), data.draw(logits(shape, odd=True))
    keep = data.draw(keeps(shape))
    result = answer(lambda a: distance(a, teacher, temperature=1.0, keep=keep), student)
    if torch.isfinite(result[0]):
        assert_finite(result)


@every_distance
@pytest.mark.parametrize("temperature", [0, -1, math.nan, math.inf, 1e-45, 1e-30, 1e30, 1e200])
def test_a_temperature_out_of_reach_is_refused(distance, temperature):
    maps = torch.zeros(1, 2, 2, 2)
    assert answer(lambda a: distance(a, maps, temperature=temperature), maps) is None


@every_distance
@few
@given(data=st.data(), shape=shapes, temperature=temperatures)
def test_consistency_is_symmetric_or_refused(distance, data, shape, temperature):
    a, b, keep = data.draw(logits(shape)), data.draw(logits(shape)), data.draw(keeps(shape))
    options = {"distance": distance, "temperature": temperature, "keep": keep}
    forth = answer(lambda a, b: dual_path_consistency(a, b, **options), a, b)
    back = answer(lambda a, b: dual_path_consistency(b, a, **options), a, b)
    assert (forth is None) == (back is None)
    if forth:
        assert_finite(forth)
        torch.testing.assert_close(forth[0], back[0])


@few
@given(data=st.data(), shape=shapes)
def test_cross_entropy_of_any_target_is_finite_or_refused(data, shape):
    target = data.draw(ids(shape) | ids(shape, outside=True))
    result = answer(lambda a: cross_entropy(a, target), data.draw(logits(shape)))
    assert (result is not None) == is_target(target)
    if result:
        assert_finite(result)


@few
@given(data=st.data(), shape=shapes)
def test_what_is_not_finite_shows_in_cross_entropy(data, shape):
    target = data.draw(ids(shape))
    result = answer(lambda a: cross_entropy(a, target), data.draw(logits(shape, odd=True)))
    if torch.isfinite(result[0]):
        assert_finite(result)


noisings = st.builds(
    LabelNoising,
    num_classes=st.just(K),
    class_std=st.floats(0, 1e4),
    pixel_std=st.floats(0, 1e4),
    label_scale=st.floats(0, 1e4),
    void_policy=st.sampled_from(["own", "zero"]),
    label_channels=st.integers(1, 3),
)


@few
@given(noising=noisings, data=st.data(), shape=shapes, seed=st.integers(0, 2**32))
def test_any_target_becomes_a_finite_channel_or_is_refused(noising, data, shape, seed):
    target = data.draw(ids(shape) | ids(shape, outside=True))
    before = target.clone()
    generator = torch.Generator().manual_seed(seed)
    if not is_target(target):
        with pytest.raises(ValueError, match=r"expected 0\.\.2 or 255 for void"):
            noising(target, generator=generator)
        return
    channel = noising(target, generator=generator)
    assert channel.shape == (shape[0], noising.label_channels, *shape[1:])
    assert torch.isfinite(channel).all()
    steps = noising.steps(target, generator=torch.Generator().manual_seed(seed))
    assert torch.equal(channel, steps.noised)
    assert torch.equal(target, before)


@few
@given(counts=tensors((3, K), st.sampled_from([0, 0, 1, 7, 2**40]), "int64"))
def test_scores_are_percent_and_nan_only_where_a_class_or_everything_is_absent(counts):
    hits, missed, wrong = counts
    scores = scores_from_counts(Counts(hits, hits + missed, hits + wrong))
    absent = [k for k in range(K) if counts[:, k].sum() == 0]
    assert scores.absent == absent == [k for k in range(K) if math.isnan(scores.iou[k])]
    assert all(0 <= value <= 100 for k, value in enumerate(scores.iou) if k not in absent)
    assert math.isnan(scores.miou) == (len(absent) == K)


@few
@given(data=st.data(), shape=shapes)
def test_counts_of_any_ids_add_up_or_are_refused(data, shape):
    prediction = data.draw(tensors(shape, st.integers(0, K - 1), "int64") | ids(shape))
    target = data.draw(ids(shape, outside=True))
    labelled = target != 255
    sound = all(((x >= 0) & (x < K))[labelled].all() for x in (prediction, target))
    if not sound:
        with pytest.raises(ValueError, match=r"count_pixels: .*expected"):
            count_pixels(prediction, target, num_classes=K)
        return
    counts = count_pixels(prediction, target, num_classes=K)
    total = labelled.flatten(1).sum(1)
    assert torch.equal(counts.labelled.sum(1), total)
    assert torch.equal(counts.predicted.sum(1), total)
