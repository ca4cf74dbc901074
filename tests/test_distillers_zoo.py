"""What every distiller of the folder owes."""

import pytest
import torch

from labkit.distillers import available, distiller_settings
from tests.distiller_cases import build, case, changed, leaves, target_for, value_of, with_leaves
from tests.tiny import no_host_reads, random_outputs, rng_untouched

NAMES = available()
NOT_ZERO_AT_EQUALITY = {"mgd", "af_dcd", "cirkd"}  # a network or projection must learn first
RANDOM = {"mgd", "af_dcd"}  # draw a mask per image
NO_VOID = {  # settings under which void positions have no influence
    "kd": {"void": False},
    "cwd": {"void": False},
    "dist": {"void": False},
    "standardised_kd": {"void": False},
    "dkd": {},
    "ifvd": {},
    "cirkd": {"pixel_weight": 0.0},
}
every_distiller = pytest.mark.parametrize("name", NAMES)


@every_distiller
def test_zero_at_equality_unless_stated_and_positive_elsewhere(name):
    distiller, student, teacher, target = case(name)
    assert value_of(distiller, student, teacher, target) > 0
    same = value_of(distiller, student, changed(student, torch.clone), target)
    if name in NOT_ZERO_AT_EQUALITY:
        assert same > 0
    else:
        assert same.item() == pytest.approx(0, abs=1e-5)


def test_cirkd_without_memory_is_zero_at_equality():
    distiller, student, _, target = case("cirkd", memory_weight=0.0)
    same = value_of(distiller, student, changed(student, torch.clone), target)
    assert same.item() == pytest.approx(0, abs=1e-6)


@every_distiller
def test_the_weight_multiplies_the_term(name):
    default = distiller_settings(name)["weight"]
    one, other = (value_of(*case(name, **options)) for options in ({}, {"weight": 2.5 * default}))
    torch.testing.assert_close(other, 2.5 * one)


@every_distiller
def test_gradients_reach_the_student_and_its_adapters_but_not_the_teacher(name):
    student, teacher = random_outputs(widths=(6, 5)), random_outputs(widths=(6, 8), seed=1)
    distiller = build(name, student, teacher)
    with no_host_reads():
        value_of(distiller, student, teacher, target_for(student)).backward()
    assert any(tensor.grad is not None and tensor.grad.any() for tensor in leaves(student))
    assert all(tensor.grad is None for tensor in leaves(teacher))
    assert all(p.grad is not None and p.grad.any() for p in distiller.parameters())
    assert bool(list(distiller.parameters())) <= bool(distiller.describe())


@every_distiller
def test_gradients_equal_finite_differences(name):
    distiller, student, teacher, target = case(name, dtype=torch.float64, size=(3, 4))

    def value(*tensors):
        return value_of(distiller, with_leaves(student, tensors), teacher, target)

    assert torch.autograd.gradcheck(value, leaves(student), eps=1e-6, atol=1e-4, rtol=1e-3)


@every_distiller
@pytest.mark.parametrize("scale", [1e4, 0.0])
def test_finite_at_huge_and_at_zero_values_under_autocast(name, scale):
    distiller, student, teacher, target = case(name)
    student, teacher = (
        changed(outputs, lambda x: (scale * x).bfloat16()) for outputs in (student, teacher)
    )
    student = with_leaves(student, [tensor.requires_grad_() for tensor in leaves(student)])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = value_of(distiller, student, teacher, target)
    value.backward()
    assert value.dtype == torch.float32
    assert value.isfinite()
    assert all(x.grad is None or x.grad.isfinite().all() for x in leaves(student))
    assert all(p.grad is None or p.grad.isfinite().all() for p in distiller.parameters())


@every_distiller
@pytest.mark.parametrize(("n", "size"), [(1, (1, 1)), (2, (1, 1)), (1, (1, 5)), (1, (9, 7))])
def test_one_pixel_and_one_frame_are_finite(name, n, size):
    distiller, student, teacher, target = case(name, n=n, size=size)
    value = value_of(distiller.train(), student, teacher, target)
    value.backward()
    assert value.isfinite()
    assert all(x.grad is None or x.grad.isfinite().all() for x in leaves(student))


@every_distiller
def test_falls_under_gradient_descent(name):
    distiller, student, teacher, target = case(name)
    parameters = [*leaves(student), *distiller.parameters()]
    optimiser = torch.optim.Adam(parameters, lr=0.02)
    values = []
    for _ in range(40):
        optimiser.zero_grad()
        value = value_of(distiller, student, teacher, target)
        value.backward()
        optimiser.step()
        values.append(value.item())
    assert values[-1] < 0.8 * values[0]


@pytest.mark.parametrize("name", NO_VOID)
def test_void_has_no_influence_where_it_is_left_out(name):
    settings = NO_VOID[name]
    student, teacher = random_outputs(size=(4, 6)), random_outputs(size=(4, 6), seed=1)
    student, teacher = (x._replace(features=(x.features[0],)) for x in (student, teacher))
    target = target_for(student)
    distiller = build(name, student, teacher, **settings)
    value_of(distiller, student, teacher, target)
    distiller.eval()
    void = (target == 255)[:, None, 1::4, 1::4]
    assert 0 < void.float().mean() < 1
    value = value_of(distiller, student, teacher, target)
    value.backward()
    for tensor in leaves(student):
        if tensor.grad is not None:
            assert tensor.grad.masked_select(void).abs().max() == 0
    for one, other in ((9.0, 0.0), (0.0, 9.0), (-7.0, 3.0)):
        moved = value_of(
            distiller,
            changed(student, lambda x, one=one: x + one * void),
            changed(teacher, lambda x, other=other: x * (1 + other * void)),
            target,
        )
        torch.testing.assert_close(moved, value.detach())


@pytest.mark.parametrize("name", NO_VOID)
def test_all_void_is_zero_with_a_zero_gradient_where_void_is_left_out(name):
    distiller, student, teacher, target = case(name, **NO_VOID[name])
    value = value_of(distiller.train(), student, teacher, torch.full_like(target, 255))
    value.backward()
    assert value == 0
    assert all(x.grad is None or not x.grad.any() for x in leaves(student))


@pytest.mark.parametrize("name", [name for name in NAMES if name not in RANDOM])
def test_a_batch_twice_has_the_value_of_once(name):
    """Every term is a mean. PKD's unbiased deviation is the exception, by (m - 1) / m."""
    distiller, student, teacher, target = case(name)
    student, teacher = (changed(outputs, torch.clone) for outputs in (student, teacher))
    once = value_of(distiller, student, teacher, target)
    student, teacher = (
        changed(outputs, lambda x: torch.cat([x, x])) for outputs in (student, teacher)
    )
    distiller.parts[name].draws = 1
    twice = value_of(distiller, student, teacher, torch.cat([target, target]))
    if name == "pkd":
        once, m = once / (1 - 1 / 12), 24  # features of 2 x 3 positions, two images
        twice = twice / (1 - 1 / m)
    torch.testing.assert_close(twice, once, rtol=1e-4, atol=1e-6)


BY_RESOLUTION = {"skd": {"pool": 1}}


@pytest.mark.parametrize("name", [n for n in NAMES if n not in RANDOM | {"dsd", "pkd"}])
def test_every_position_four_times_has_the_value_of_once(name):
    distiller, student, teacher, _ = case(name, **BY_RESOLUTION.get(name, {}))
    student, teacher = (changed(outputs, torch.clone) for outputs in (student, teacher))
    target = target_for(student, side=8)  # one label per feature position
    once = value_of(distiller, student, teacher, target)

    def finer(values):
        return values.repeat_interleave(2, -1).repeat_interleave(2, -2)

    student, teacher = (changed(outputs, finer) for outputs in (student, teacher))
    finer_value = value_of(distiller, student, teacher, finer(target))
    torch.testing.assert_close(finer_value, once, rtol=1e-4, atol=1e-6)


@every_distiller
def test_going_on_from_a_saved_state_is_bit_equal(name):
    def batches():
        for seed in range(10, 16):
            student, teacher = random_outputs(seed=seed), random_outputs(seed=seed + 50)
            yield student, teacher, target_for(student, seed=seed)

    def train(distiller, steps):
        optimiser = torch.optim.SGD([*distiller.parameters(), torch.zeros(1)], lr=0.01)
        values = []
        for student, teacher, target in steps:
            optimiser.zero_grad()
            value = value_of(distiller, student, teacher, target)
            value.backward()
            optimiser.step()
            values.append(value.item())
        return values

    steps = list(batches())
    student, teacher, _ = steps[0]
    whole, first, second = (build(name, student, teacher) for _ in range(3))
    expected = train(whole, steps)
    train(first, steps[:3])
    torch.manual_seed(123)  # nothing may depend on the global state
    second.load_state_dict({key: value.clone() for key, value in first.state_dict().items()})
    assert train(second, steps[3:]) == expected[3:]
    ends = (distiller.state_dict() for distiller in (whole, second))
    for one, other in zip(*(end.values() for end in ends), strict=True):
        assert torch.equal(one, other)


@every_distiller
def test_networks_of_other_sizes_and_widths_are_matched(name):
    student = random_outputs(size=(8, 10), widths=(3, 5, 7), stride=2)
    teacher = random_outputs(size=(4, 5), widths=(4, 8), stride=4, seed=1)
    distiller = build(name, student, teacher)
    value = value_of(distiller, student, teacher, target_for(student))
    value.backward()
    assert value.isfinite()
    assert value > 0


@every_distiller
def test_global_randomness_is_untouched(name):
    student, teacher = random_outputs(), random_outputs(seed=1)
    target = target_for(student)
    with rng_untouched():
        value_of(build(name, student, teacher), student, teacher, target)
