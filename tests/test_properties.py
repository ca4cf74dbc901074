"""Whatever comes in, mathematics answers with a finite number or a sentence: shapes, ids, void, extreme logits, empty maps."""

import json
import math

import hypothesis.extra.numpy as arrays
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from labkit.config import AnalysisSettings, EvaluateSettings, NoisingSettings, StudentSettings, TeacherSettings, TrainSettings
from labkit.datasets import dataset_recipe
from labkit.lnm import LabelNoising
from labkit.losses import DISTANCES, cross_entropy, dual_path_consistency
from labkit.metrics import confusion_matrix, scores_from_confusion
from labkit.planning import checked
from labkit.recipes import resolve

settings.register_profile("labkit", max_examples=60, deadline=None, derandomize=True, database=None)
settings.load_profile("labkit")

K = 3
ODD = [math.inf, -math.inf, math.nan]
side = st.integers(0, 3)
maps = st.tuples(st.integers(0, 2), side, side)  # N, H, W; often empty, often one pixel
temperatures = st.floats(0.01, 1000)
every_distance = pytest.mark.parametrize("distance", DISTANCES.values(), ids=DISTANCES)


def tensors(shape, elements, dtype):
    return arrays.arrays(dtype, shape, elements=elements).map(torch.from_numpy)


def logits(shape, *, channels=K, odd=False):
    """(N, K, H, W) up to 1e4 either way; with `odd`, infinities and NaN among them."""
    values = st.floats(-1e4, 1e4, width=32)
    size = (shape[0], channels, *shape[1:])
    return tensors(size, values | st.sampled_from(ODD) if odd else values, "float32")


def ids(shape, *, outside=False):
    """(N, H, W) class ids and void; with `outside`, ids that are neither."""
    return tensors(shape, st.sampled_from([*range(K), 255] + [-1, K, 254, 256, -100, 10**6] * outside), "int64")


def keeps(shape):
    whole = st.booleans().map(lambda kept: torch.full(shape, kept))
    return st.none() | whole | tensors(shape, st.booleans(), "bool")


def asked(compute):
    """What is answered and "", or None and the words of the refusal. Any other error is a fault of labkit."""
    try:
        return compute(), ""
    except ValueError as error:
        return None, str(error)


def answered(compute, *inputs):
    """A loss with its gradients, or None where it was refused in words that say what was expected."""
    inputs = [value.clone().requires_grad_() for value in inputs]
    loss, refusal = asked(lambda: compute(*inputs))
    if loss is None:
        assert "expected" in refusal
        return None
    loss.backward()
    return loss.detach(), [value.grad for value in inputs if value.grad is not None]


def finite_or_refused(answer):
    if answer:
        loss, gradients = answer
        assert loss.shape == ()
        assert torch.isfinite(loss)
        assert all(torch.isfinite(gradient).all() for gradient in gradients)


def told_or_refused(answer):
    """What is not finite shows in the loss, where the engine looks; never in the gradient alone."""
    if answer and torch.isfinite(answer[0]):
        finite_or_refused(answer)


# losses


@every_distance
@given(data=st.data(), shape=maps, temperature=temperatures)
def test_a_distance_of_any_maps_is_finite_and_not_negative_or_refused(distance, data, shape, temperature):
    student, teacher = data.draw(logits(shape)), data.draw(logits(shape))
    keep = data.draw(keeps(shape))
    answer = answered(lambda a: distance(a, teacher, temperature=temperature, keep=keep), student)
    finite_or_refused(answer)
    if answer:
        assert answer[0] >= -1e-3 * temperature**2 - 1e-6 * student.abs().max() * temperature if student.numel() else answer[0] == 0
    if 0 not in shape:
        assert answer is not None


@every_distance
@given(data=st.data(), shape=maps.filter(lambda shape: 0 not in shape))
def test_logits_that_are_not_finite_show_in_a_distance_or_are_refused(distance, data, shape):
    student, teacher, keep = data.draw(logits(shape, odd=True)), data.draw(logits(shape, odd=True)), data.draw(keeps(shape))
    told_or_refused(answered(lambda a: distance(a, teacher, temperature=1.0, keep=keep), student))


@every_distance
@pytest.mark.parametrize("shape", [(0, K, 2, 2), (1, K, 0, 2), (1, K, 2, 0), (1, 0, 2, 2), (0, 0, 0, 0)])
@pytest.mark.parametrize("kept", [None, True, False])
def test_a_distance_of_nothing_is_0_or_refused(distance, shape, kept):
    keep = None if kept is None else torch.full((shape[0], *shape[2:]), kept)
    finite_or_refused(answered(lambda a: distance(a, torch.zeros(shape), temperature=1.0, keep=keep), torch.zeros(shape)))


@every_distance
@pytest.mark.parametrize("temperature", [0, -1, math.nan, math.inf, 1e-45, 1e-30, 1e30, 1e200])
def test_a_temperature_out_of_reach_is_finite_or_refused(distance, temperature):
    maps = torch.randn(2, 1, 2, 2, 2, generator=torch.Generator().manual_seed(0))
    finite_or_refused(answered(lambda a: distance(a, maps[1], temperature=temperature), maps[0]))


@every_distance
@given(data=st.data(), shape=maps, temperature=temperatures)
def test_consistency_of_any_maps_is_finite_and_symmetric_or_refused(distance, data, shape, temperature):
    a, b, keep = data.draw(logits(shape)), data.draw(logits(shape)), data.draw(keeps(shape))
    options = {"distance": distance, "temperature": temperature, "keep": keep}
    forth = answered(lambda a, b: dual_path_consistency(a, b, **options), a, b)
    finite_or_refused(forth)
    back = answered(lambda a, b: dual_path_consistency(a, b, **options), b, a)
    assert (forth is None) == (back is None)
    if forth:
        torch.testing.assert_close(forth[0], back[0])


@given(data=st.data(), shape=maps)
def test_cross_entropy_of_any_maps_is_finite_or_refused(data, shape):
    target = data.draw(ids(shape))
    answer = answered(lambda a: cross_entropy(a, target), data.draw(logits(shape)))
    finite_or_refused(answer)
    assert answer is not None


@given(data=st.data(), shape=maps)
def test_cross_entropy_refuses_ids_that_are_no_classes(data, shape):
    target = data.draw(ids(shape, outside=True))
    answer = answered(lambda a: cross_entropy(a, target), data.draw(logits(shape)))
    finite_or_refused(answer)
    sound = ((target >= 0) & (target < K)) | (target == 255)
    assert (answer is not None) == bool(sound.all())


@given(data=st.data(), shape=maps)
def test_logits_that_are_not_finite_show_in_cross_entropy_or_are_refused(data, shape):
    target = data.draw(ids(shape))
    told_or_refused(answered(lambda a: cross_entropy(a, target), data.draw(logits(shape, odd=True))))


@pytest.mark.parametrize("dtype", [torch.float32, torch.int32, torch.uint8, torch.bool])
def test_a_target_of_another_type_is_refused_by_name(dtype):
    with pytest.raises(ValueError, match=r"cross_entropy: .*int64"):
        cross_entropy(torch.zeros(1, K, 2, 2), torch.zeros(1, 2, 2, dtype=dtype))


# the noised label


noisings = st.builds(
    LabelNoising, num_classes=st.just(K), class_std=st.floats(0, 1e4), pixel_std=st.floats(0, 1e4), label_scale=st.floats(0, 1e4),
    void_policy=st.sampled_from(["own", "zero"]), label_channels=st.integers(1, 3),
)  # fmt: skip


@given(noising=noisings, data=st.data(), shape=maps, seed=st.integers(0, 2**32))
def test_any_target_becomes_a_finite_channel_or_is_refused(noising, data, shape, seed):
    target = data.draw(ids(shape) | ids(shape, outside=True))
    before = target.clone()
    sound = ((target >= 0) & (target < K)) | (target == 255)
    channel, refusal = asked(lambda: noising(target, generator=torch.Generator().manual_seed(seed)))
    assert (channel is not None) == bool(sound.all())
    if channel is None:
        assert "expected 0..2 or 255 for void" in refusal
        return
    assert channel.shape == (shape[0], noising.label_channels, *shape[1:])
    assert torch.isfinite(channel).all()
    assert torch.equal(channel, noising.steps(target, generator=torch.Generator().manual_seed(seed)).noised)
    assert torch.equal(target, before)


@pytest.mark.parametrize("value", ODD)
@pytest.mark.parametrize("name", ["class_std", "pixel_std", "label_scale"])
def test_a_noising_that_would_not_be_finite_is_refused(name, value):
    with pytest.raises(ValueError, match=f"LabelNoising: .*{name}="):
        LabelNoising(num_classes=K, **{name: value})


@pytest.mark.parametrize(("num_classes", "ignore_index"), [(256, 255), (300, 255), (3, 1), (3, 0)])
def test_an_id_that_would_be_class_and_void_at_once_is_refused(num_classes, ignore_index):
    with pytest.raises(ValueError, match=f"LabelNoising: .*{ignore_index}"):
        LabelNoising(num_classes=num_classes, ignore_index=ignore_index)


# metrics


@given(data=st.data(), shape=maps)
def test_confusion_counts_every_labelled_pixel_or_refuses_ids_that_are_no_classes(data, shape):
    prediction = data.draw(tensors(shape, st.integers(0, K - 1), "int64") | ids(shape) | ids(shape, outside=True))
    target = data.draw(ids(shape) | ids(shape, outside=True))
    labelled = target != 255
    sound = all(((value >= 0) & (value < K))[labelled].all() for value in (prediction, target))
    counts, refusal = asked(lambda: confusion_matrix(prediction, target, num_classes=K))
    assert (counts is not None) == bool(sound)
    if counts is None:
        assert refusal.startswith("confusion_matrix: ")
        assert "expected" in refusal
        return
    assert counts.shape == (K, K)
    pairs = zip(target[labelled].tolist(), prediction[labelled].tolist(), strict=True)
    expected = torch.zeros(K, K, dtype=torch.int64)
    for row, column in pairs:
        expected[row, column] += 1
    assert torch.equal(counts, expected)


@given(counts=tensors((K, K), st.sampled_from([0, 0, 1, 7, 2**40]), "int64"))
def test_scores_are_percent_and_nan_only_where_a_class_or_everything_is_absent(counts):
    scores = scores_from_confusion(counts)
    absent = [k for k in range(K) if counts[k].sum() + counts[:, k].sum() == 0]
    assert scores.absent == absent == [k for k in range(K) if math.isnan(scores.iou[k])]
    assert all(0 <= value <= 100 for k, value in enumerate(scores.iou) if k not in absent)
    for value in (scores.miou, scores.pixel_accuracy):
        assert math.isnan(value) if len(absent) == K else 0 <= value <= 100


# settings

KINDS = [TeacherSettings, StudentSettings, NoisingSettings, AnalysisSettings, EvaluateSettings]
UNITS = st.builds("{}{}{}".format, st.integers(0, 999), st.sampled_from(["", " "]), st.sampled_from(["px", "%", "k", "s", "min"]))
JUNK = (
    st.none() | st.booleans() | st.integers(-3, 300) | st.integers(-(10**330), 10**330) | st.floats() | st.text(max_size=8) | UNITS
    | st.sampled_from(["x" * 300, "../..", "/", "imagenet", "none", "fixed", "sgd"]) | st.lists(st.integers(), max_size=2)
)  # fmt: skip


@given(kind=st.sampled_from(KINDS), data=st.data())
def test_any_value_of_any_setting_is_accepted_or_refused_by_name(kind, data):
    names = data.draw(st.lists(st.sampled_from([*kind.model_fields, "heigth"]), min_size=1, max_size=3, unique=True))
    values = {name: data.draw(JUNK, label=name) for name in names}
    accepted, refusal = asked(lambda: kind(**values))
    if accepted is None:
        assert all(line.startswith("setting ") for line in refusal.splitlines())
        assert any(f"setting {name}: " in refusal for name in names)
        return
    assert kind(**json.loads(json.dumps(accepted.model_dump(), allow_nan=False))) == accepted


@pytest.mark.parametrize("name", ["encoder_weights", "teacher", "runs", "data_root", "encoder", "dataset", "recipe"])
@pytest.mark.parametrize("value", ["x" * 300, "a\0b", "/", "..", "a/*", ""])
def test_no_name_of_a_file_or_part_ends_in_an_error_of_the_system(name, value):
    kind = StudentSettings if name == "teacher" else TeacherSettings
    accepted, refusal = asked(lambda: checked(kind, {name: value}))
    assert accepted is not None or refusal.startswith(("setting ", "run "))


@given(kind=st.sampled_from(KINDS[:4]), data=st.data())
def test_any_settings_are_planned_or_refused_by_name(kind, data):
    names = data.draw(st.lists(st.sampled_from(list(kind.model_fields)), min_size=1, max_size=3, unique=True))
    values = {name: data.draw(JUNK, label=name) for name in names}
    accepted, refusal = asked(lambda: checked(kind, values))
    if accepted is None:
        assert refusal.startswith(("setting ", "run "))
    elif isinstance(accepted, TrainSettings):
        recipe = dataset_recipe(accepted.dataset, accepted.recipe)
        resolved = resolve(accepted, recipe)
        assert resolve(resolved, recipe) == resolved
