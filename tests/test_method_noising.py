"""The noised label channel: its formula, its randomness, and what it refuses."""

import dataclasses
import math

import pytest
import torch

from labkit.method import LabelNoising, stream_generator, stream_seed
from tests.tiny import block_target, no_host_reads, rng_untouched, seeded

K = 4


def slow_noising(
    noising: LabelNoising, target: torch.Tensor, generator: torch.Generator
) -> torch.Tensor:
    """label_scale * (sum_k w_k [y = k] + pixel_std e), one class and channel at a time."""
    codes = noising.draw_codes(len(target), generator=generator)
    noise = torch.randn(len(target), noising.label_channels, *target.shape[1:], generator=generator)
    result = torch.zeros_like(noise)
    for n in range(len(target)):
        for c in range(noising.label_channels):
            for k in range(noising.num_classes):
                result[n, c] += codes[n, c, k] * (target[n] == k)
            result[n, c] += codes[n, c, noising.num_classes] * (target[n] == noising.ignore_index)
    return noising.label_scale * (result + noising.pixel_std * noise)


CASES = [
    {"class_codes": codes, "void_policy": policy, "label_channels": channels}
    for codes, channels in (("random", 1), ("random", 3), ("fixed", 1))
    for policy in ("own", "zero")
]


@pytest.mark.parametrize("options", CASES, ids=lambda o: "-".join(map(str, o.values())))
def test_channel_equals_the_formula_computed_slowly(options):
    noising = LabelNoising(num_classes=K, class_std=1.5, pixel_std=0.2, label_scale=3.0, **options)
    target = block_target(3, 16, 24)
    channel = noising(target, generator=seeded())
    assert channel.shape == (3, options["label_channels"], 16, 24)
    assert channel.dtype == torch.float32
    torch.testing.assert_close(channel, slow_noising(noising, target, seeded()), rtol=0, atol=1e-6)


@pytest.mark.parametrize("options", CASES, ids=lambda o: "-".join(map(str, o.values())))
def test_steps_end_at_what_the_call_returns(options):
    noising = LabelNoising(num_classes=K, label_scale=2.0, **options)
    target = block_target(2, 16, 16)
    steps = noising.steps(target, generator=seeded())
    assert torch.equal(steps.noised, noising(target, generator=seeded()))
    assert steps.one_hot.shape == (2, K + 1, 16, 16)
    assert steps.weighted.shape == (2, options["label_channels"], K + 1, 16, 16)
    assert torch.equal(steps.one_hot.sum(1), torch.ones(2, 16, 16))
    assert torch.equal(steps.one_hot[:, K], (target == 255).float())
    torch.testing.assert_close(steps.weighted.sum(2), steps.summed)


def test_random_codes_are_normal_draws_of_the_stated_width():
    noising = LabelNoising(num_classes=K, class_std=2.0, label_channels=3)
    codes = noising.draw_codes(5, generator=seeded())
    assert torch.equal(codes, 2.0 * torch.randn(5, 3, K + 1, generator=seeded()))


def test_zero_void_policy_clears_the_last_weight_alone():
    own, zero = (
        LabelNoising(num_classes=K, void_policy=p).draw_codes(2, generator=seeded())
        for p in ("own", "zero")
    )
    assert torch.equal(own[..., :K], zero[..., :K])
    assert own[..., K].abs().min() > 0
    assert zero[..., K].abs().max() == 0


def test_fixed_codes_are_the_ramp_with_void_last():
    noising = LabelNoising(num_classes=2, class_codes="fixed", pixel_std=0, label_scale=10)
    channel = noising(torch.tensor([[[0, 1, 255]]]), generator=seeded())
    torch.testing.assert_close(channel, torch.tensor([[[[-11.0, -0.5, 10.0]]]]))
    ramp = LabelNoising(num_classes=21, class_codes="fixed").draw_codes(2, generator=seeded())
    torch.testing.assert_close(ramp[1, 0], (torch.arange(22) - 11) / 10)


def test_same_generator_state_gives_the_same_channel_and_the_call_advances_it():
    noising, target, generator = LabelNoising(num_classes=K), block_target(), seeded()
    first, second = noising(target, generator=generator), noising(target, generator=generator)
    assert torch.equal(first, noising(target, generator=seeded()))
    assert not torch.equal(first, second)


def test_fixed_codes_still_draw_fresh_pixel_noise():
    noising, target, generator = (
        LabelNoising(num_classes=K, class_codes="fixed"),
        block_target(),
        seeded(),
    )
    assert not torch.equal(
        noising(target, generator=generator), noising(target, generator=generator)
    )


def test_every_image_and_channel_has_its_own_codes():
    noising = LabelNoising(num_classes=K, pixel_std=0, label_channels=2)
    channel = noising(torch.zeros(3, 2, 2, dtype=torch.int64), generator=seeded())
    assert len(channel[..., 0, 0].unique()) == 6


def test_channel_is_linear_in_label_scale():
    one, three = (
        LabelNoising(num_classes=K, label_scale=s)(block_target(), generator=seeded())
        for s in (1.0, 3.0)
    )
    torch.testing.assert_close(three, 3 * one)


def test_without_pixel_noise_a_region_is_constant_and_regions_differ():
    target = block_target(2, 32, 32)
    channel = LabelNoising(num_classes=K, pixel_std=0)(target, generator=seeded())
    for n in range(2):
        codes = [channel[n, 0][target[n] == k].unique() for k in target[n].unique()]
        assert all(len(code) == 1 for code in codes)
        assert len(torch.cat(codes).unique()) == len(codes)


def test_pixel_noise_has_the_stated_width_in_units_of_the_class_weights():
    noising = LabelNoising(num_classes=K, class_std=0, pixel_std=0.03, label_scale=10)
    channel = noising(torch.zeros(1, 200, 200, dtype=torch.int64), generator=seeded())
    assert channel.std().item() == pytest.approx(0.3, rel=0.03)
    assert abs(channel.mean().item()) < 0.01


def test_another_void_id_is_obeyed():
    target = torch.tensor([[[0, 9]]])
    channel = LabelNoising(num_classes=2, class_codes="fixed", pixel_std=0, ignore_index=9)(
        target, generator=seeded()
    )
    torch.testing.assert_close(channel.flatten(), torch.tensor([-1.1, 1.0]))


def test_a_call_reads_nothing_back_from_the_device():
    noising, target = LabelNoising(num_classes=K, label_channels=2), block_target()
    with no_host_reads():
        noising(target, generator=seeded())


def test_global_randomness_and_the_target_are_untouched():
    target = block_target()
    before = target.clone()
    with rng_untouched():
        LabelNoising(num_classes=K)(target, generator=seeded())
        LabelNoising(num_classes=K).steps(target, generator=seeded())
    assert torch.equal(before, target)


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (torch.zeros(1, 4, 4), "float32"),
        (torch.zeros(1, 4, 4, dtype=torch.int32), "int32"),
        (torch.zeros(4, 4, dtype=torch.int64), r"\(4, 4\)"),
        (torch.zeros(1, 1, 4, 4, dtype=torch.int64), r"\(1, 1, 4, 4\)"),
        (torch.tensor([[[0, K]]]), rf"\[{K}\].*0\.\.{K - 1}.*255"),
        (torch.tensor([[[-1, 0]]]), r"\[-1\]"),
        (torch.tensor([[[0, 254, 300]]]), r"\[254, 300\]"),
    ],
)
@pytest.mark.parametrize("method", ["__call__", "steps"])
def test_what_is_no_target_is_refused_by_name(target, words, method):
    with pytest.raises(ValueError, match=words):
        getattr(LabelNoising(num_classes=K), method)(target, generator=seeded())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"num_classes": 0}, "num_classes=0"),
        ({"label_channels": 0}, "label_channels=0"),
        ({"class_std": -1.0}, "class_std=-1"),
        ({"pixel_std": -0.1}, "pixel_std=-0.1"),
        ({"label_scale": -3.0}, "label_scale=-3"),
        ({"pixel_std": math.nan}, "pixel_std=nan"),
        ({"class_std": math.inf}, "class_std=inf"),
        ({"num_classes": 256}, "ignore_index=255"),
        ({"ignore_index": 1}, "ignore_index=1"),
        ({"ignore_index": -100}, "ignore_index=-100"),
        ({"void_policy": "none"}, "'none'"),
        ({"class_codes": "ramp"}, "'ramp'"),
        ({"class_codes": "fixed", "label_channels": 2}, "label_channels"),
    ],
)
def test_settings_outside_their_range_are_refused_by_name(options, words):
    with pytest.raises(ValueError, match=words):
        LabelNoising(**({"num_classes": K} | options))


def test_noising_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        LabelNoising(num_classes=K).label_scale = 2.0


def test_named_streams_differ_by_name_and_key_and_repeat():
    keys = [
        ("order", 0, 1),
        ("order", 1, 0),
        ("noise", 0, 1),
        ("order", 0),
        ("order", 1),
        ("order",),
    ]
    seeds = [stream_seed(*key) for key in keys]
    assert len(set(seeds)) == len(keys)
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert seeds == [stream_seed(*key) for key in keys]
    first, second = (torch.randn(3, generator=stream_generator("order", 5)) for _ in range(2))
    assert torch.equal(first, second)
