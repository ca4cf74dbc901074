import itertools

import pytest
import torch
from torch import nn

from labkit.errors import TrainingError
from labkit.method import StepOutput
from labkit.training.finite import FiniteCheck
from labkit.training.optimiser import learning_rate_at, make_optimiser


def small_network() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        layers = nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 3)
        return nn.Sequential(*layers).to(memory_format=torch.channels_last)


def test_the_schedule_warms_up_and_decays():
    options = {"peak": 1.0, "steps": 100, "warmup_steps": 10, "poly_power": 0.9}
    rates = [learning_rate_at(step, **options) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[9] == pytest.approx(0.91**0.9)
    assert all(later < earlier for earlier, later in itertools.pairwise(rates[9:]))
    assert learning_rate_at(0, peak=2.0, steps=10, warmup_steps=0, poly_power=0.9) == 2.0


@pytest.mark.parametrize("kind", ["sgd", "adamw"])
def test_weight_decay_leaves_biases_and_batch_norm_alone(kind):
    network = small_network()
    options = {"optimiser": kind, "learning_rate": 0.1, "weight_decay": 0.5, "momentum": 0.9}
    optimiser = make_optimiser(network.parameters(), **options)
    before = [p.detach().clone() for p in network.parameters()]
    for p in network.parameters():
        p.grad = torch.zeros_like(p)
    optimiser.step()
    for old, new in zip(before, network.parameters(), strict=True):
        expected = old * 0.95 if old.ndim > 1 else old
        torch.testing.assert_close(new.detach(), expected)


@pytest.mark.parametrize("kind", ["sgd", "adamw"])
def test_the_fused_optimiser_equals_the_plain_one_on_channels_last_weights(kind):
    networks = small_network(), small_network()
    values = {"learning_rate": 0.01, "weight_decay": 0.01, "momentum": 0.9}
    fused = make_optimiser(networks[0].parameters(), optimiser=kind, **values)
    decay = [p for p in networks[1].parameters() if p.ndim > 1]
    rest = [p for p in networks[1].parameters() if p.ndim <= 1]
    groups = [{"params": decay}, {"params": rest, "weight_decay": 0.0}]
    plain = (
        torch.optim.SGD(groups, lr=0.01, momentum=0.9, weight_decay=0.01, foreach=False)
        if kind == "sgd"
        else torch.optim.AdamW(groups, lr=0.01, weight_decay=0.01, foreach=False)
    )
    for step in range(5):
        inputs = torch.randn(2, 3, 12, 12, generator=torch.Generator().manual_seed(step))
        for network, optimiser in zip(networks, (fused, plain), strict=True):
            optimiser.zero_grad()
            network(inputs).square().mean().backward()
            optimiser.step()
    for first, second in zip(networks[0].parameters(), networks[1].parameters(), strict=True):
        torch.testing.assert_close(first, second, rtol=0, atol=1e-5)


def output(loss: float) -> StepOutput:
    value = torch.tensor(loss)
    return StepOutput(value + 1, {"ce": value, "consistency": torch.ones(())})


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_the_first_step_that_is_not_finite_is_named_with_its_terms(bad):
    check = FiniteCheck(torch.device("cpu"))
    for step, value in enumerate((1.0, 2.0, bad, float("nan"), 3.0), start=1):
        check.add(output(value), step)
    with pytest.raises(TrainingError, match=rf"step 3: .*\(ce {bad}, consistency 1\)"):
        check.read()


def test_finite_losses_pass():
    check = FiniteCheck(torch.device("cpu"))
    check.read()
    check.add(output(1.0), 1)
    check.read()
