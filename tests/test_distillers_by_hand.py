"""Each distiller on 2 x 2 maps whose value is worked out by hand, at weight 1."""

import math

import pytest
import torch

from labkit.distillers import available, build_distiller
from labkit.method import Outputs

LABELLED = torch.zeros(1, 2, 2, dtype=torch.int64)
E1, E2, E3 = (1.0, 0.0), (0.0, 1.0), (1.0, 1.0)
CASES = {}


def worked_out(name):
    """Adds a function that returns (value of the distiller, value by hand)."""

    def add(function):
        CASES[f"{name}-{function.__name__}"] = function
        return function

    return add


def maps(*channels) -> torch.Tensor:
    """(1, C, 2, 2) from one list of four numbers per channel."""
    return torch.tensor(channels, dtype=torch.float64).view(1, len(channels), 2, 2)


def vectors(*positions) -> torch.Tensor:
    """(1, C, 2, 2) from four vectors."""
    return maps(*zip(*positions, strict=True))


def value(name, *, logits=None, features=None, target=LABELLED, prepare=None, **settings):
    """The term of student and teacher: logits and features are pairs, stride 1."""
    zeros = torch.zeros(1, 2, 2, 2, dtype=torch.float64)
    logits, features = logits or (zeros, zeros), features or ((zeros,), (zeros,))
    pair = [Outputs(z, 1, {}, f) for z, f in zip(logits, features, strict=True)]
    settings = {"weight": 1.0} | settings
    options = {f"{name}.{key}": setting for key, setting in settings.items()}
    distiller = build_distiller(name, options, student=pair[0], teacher=pair[1], seed=0).double()
    if prepare:
        prepare(distiller.parts[name])
    return distiller(*pair, target)[name].item()


def kl(p, q):
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))


@worked_out("kd")
def one_pixel_of_four_differs():
    teacher = maps([2 * math.log(3), 0, 0, 0], [0, 0, 0, 0])  # at T = 2: 3/4, 1/4
    by_hand = 4 * kl((0.75, 0.25), (0.5, 0.5)) / 4
    return value("kd", logits=(torch.zeros_like(teacher), teacher), temperature=2.0), by_hand


@worked_out("cwd")
def one_map_of_two_differs():
    teacher = maps([2 * math.log(3), 0, 0, 0], [1, 1, 1, 1])  # at T = 2: 3/6, 1/6, 1/6, 1/6
    by_hand = 4 * kl((1 / 2, 1 / 6, 1 / 6, 1 / 6), (1 / 4,) * 4) / 2
    return value("cwd", logits=(torch.zeros_like(teacher), teacher), temperature=2.0), by_hand


@worked_out("standardised_kd")
def two_classes_keep_only_their_order():
    """z of two classes is +-1/sqrt(2) whatever the logits; one pixel of four has another order."""
    student, teacher = maps([1, 5, 2, 9], [0, 0, 0, 0]), maps([3, 1, 7, 0], [0, 0, 0, 4])
    high = 1 / (1 + math.exp(-math.sqrt(2) / 2))  # at T = 2
    by_hand = 4 * kl((1 - high, high), (high, 1 - high)) / 4
    return value("standardised_kd", logits=(student, teacher), temperature=2.0), by_hand


@worked_out("dkd")
def true_class_and_rest():
    """Labelled 0; probabilities of 3 classes: student 1/2 1/4 1/4, teacher 1/4 1/2 1/4."""
    student = maps(*([math.log(p)] * 4 for p in (0.5, 0.25, 0.25)))
    teacher = maps(*([math.log(p)] * 4 for p in (0.25, 0.5, 0.25)))
    target = torch.tensor([[[0, 0], [255, 0]]])
    by_hand = 3 * kl((1 / 4, 3 / 4), (1 / 2, 1 / 2)) + 5 * kl((2 / 3, 1 / 3), (1 / 2, 1 / 2))
    settings = {"alpha": 3.0, "beta": 5.0, "temperature": 1.0}
    return value("dkd", logits=(student, teacher), target=target, **settings), by_hand


@worked_out("dist")
def correlations_of_two_classes():
    """Over two classes Pearson is the order's sign; over pixels both classes have the same one."""
    p_s, p_t = [0.6, 0.7, 0.8, 0.9], [0.9, 0.8, 0.4, 0.7]
    student, teacher = (
        maps([math.log(p / (1 - p)) for p in values], [0] * 4) for values in (p_s, p_t)
    )
    over_pixels = torch.corrcoef(torch.tensor([p_s, p_t], dtype=torch.float64))[0, 1].item()
    by_hand = 2 * 2 / 4 + 3 * (1 - over_pixels)  # 1 - (-1) at one pixel of four
    return value("dist", logits=(student, teacher), inter=2.0, intra=3.0), by_hand


@worked_out("at")
def attention_at_two_positions():
    """Unit vectors at one position each, a right angle apart."""
    f, g = maps([3, 0, 0, 0]), maps([0, 0, 0, -5])
    return value("at", features=((f,), (g,))), 2.0


@worked_out("fitnet")
def mean_of_squares():
    f, g = maps([1, 2, 3, 4], [0, 0, 0, 0]), maps([0, 0, 0, 0], [1, 0, 0, 0])
    return value("fitnet", features=((f,), (g,))), (1 + 4 + 9 + 16 + 1) / 8


@worked_out("skd")
def pairs_of_positions():
    """Of 16 pairs, (0,1), (2,3) are alike for the student alone, (0,2), (1,3) for the teacher."""
    f, g = vectors(E1, E1, E2, E2), vectors(E1, E2, E1, E2)
    return value("skd", features=((f,), (g,)), pool=1), 8 / 16


@worked_out("ifvd")
def distance_from_the_centre():
    """Two of three labelled pixels are e1, one e2: centre (2, 1) / 3; the teacher does not vary."""
    f, g = vectors(E1, E1, E2, E3), vectors(E1, E1, E1, E2)
    target = torch.tensor([[[0, 0], [0, 255]]])
    by_hand = (2 * (2 / math.sqrt(5) - 1) ** 2 + (1 / math.sqrt(5) - 1) ** 2) / 3
    return value("ifvd", features=((f,), (g,)), target=target), by_hand


@worked_out("dsd")
def changes_between_layers():
    """Student taps at positions 0, 1, 2; teacher 1, 0, 2: r12 turns (4), r13 and r23 by 60 deg."""
    a, b, c = maps([1, 0, 0, 0]), maps([0, 1, 0, 0]), maps([0, 0, 1, 0])
    settings = {"psd_weight": 3.0, "csd_weight": 0.0}
    return value("dsd", logits=(c, c), features=((a, b), (b, a)), **settings), 3 * (4 + 1 + 1) / 3


@worked_out("dsd")
def classes_that_share_positions():
    """4 x 4 logits in constant 2 x 2 blocks; class 0 has 3/4 of its mass in one block of four."""
    block = torch.zeros(1, 2, 2, 2, dtype=torch.float64)
    block[0, 0, 0, 0] = 4 * math.log(9)  # at T = 4: 9/12, 1/12, 1/12, 1/12
    teacher = block.repeat_interleave(2, 2).repeat_interleave(2, 3)
    student, target = torch.zeros_like(teacher), torch.zeros(1, 4, 4, dtype=torch.int64)
    features = (torch.zeros(1, 1, 4, 4, dtype=torch.float64),) * 2
    own = 4 * (81 + 3) / 144 - 1  # G_00 of the teacher less the student's 1; the rest is equal
    settings = {"psd_weight": 0.0, "csd_weight": 3.0, "features": (features, features)}
    return value("dsd", logits=(student, teacher), target=target, **settings), 3 * own**2 / 4


@worked_out("cirkd")
def relations_inside_one_image():
    """Per row two cosines of 1 and two of 0; half of them are elsewhere for the teacher."""
    f, g = vectors(E1, E1, E2, E2), vectors(E1, E2, E1, E2)
    high, low = (math.exp(c) / (2 * math.e + 2) for c in (1, 0))
    by_hand = kl((high, low, high, low), (high, high, low, low))
    settings = {"memory_weight": 0.0, "temperature": 1.0}
    return value("cirkd", features=((f,), (g,)), **settings), by_hand


@worked_out("cirkd")
def relations_to_remembered_regions():
    """The queues hold the teacher's own vectors e1 of class 0 and e2 of class 1."""
    target = torch.tensor([[[0, 0], [1, 255]]])
    f, g = vectors(E1, E2, E2, E1), vectors(E1, E1, E2, E1)

    def as_it_is(distiller):  # a projection that only subtracts the mean; e1, e2 keep their order
        for layer in distiller.adapters["projection"][::3]:
            torch.nn.init.eye_(layer.weight)

    high, low = (math.exp(c) / (math.e + 1) for c in (1, 0))
    by_hand = 2 * kl((high, low), (low, high)) / 3  # pixels and regions; one of three differs
    settings = {"pixel_weight": 0.0, "memory_weight": 1.0, "temperature": 1.0}
    return value(
        "cirkd", features=((f,), (g,)), target=target, prepare=as_it_is, **settings
    ), by_hand


@worked_out("pkd")
def correlation_per_channel():
    rows = torch.tensor([[1.0, 2, 3, 5], [2, 2, 1, 7]], dtype=torch.float64)
    correlation = torch.corrcoef(rows)[0, 1].item()
    f, g = maps(rows[0].tolist(), [1, 0, 0, 0]), maps(rows[1].tolist(), [3, 2, 2, 2])
    by_hand = (1 - correlation) / 2 * 3 / 4
    return value("pkd", features=((f,), (g,))), by_hand


@worked_out("mgd")
def everything_kept_or_dropped():
    f, g = maps([1, 2, 3, 4]), maps([1, 0, 3, 0])

    def identity(distiller):
        for layer in distiller.generation[::2]:
            torch.nn.init.dirac_(layer.weight)
            torch.nn.init.zeros_(layer.bias)

    kept = value("mgd", features=((f,), (g,)), drop=0.0, prepare=identity)
    dropped = value("mgd", features=((f,), (g,)), drop=1.0, prepare=identity)
    return kept + 100 * dropped, (4 + 16) / 4 + 100 * (1 + 9) / 4


@worked_out("af_dcd")
def contrast_of_two_groups():
    """Student 0 everywhere; the teacher's groups differ by position."""
    f, g = maps([0] * 4, [0] * 4), maps([1, 2, 3, 4], [5, 6, 7, 8])
    by_hand = 0.0
    for position in range(4):
        for own, other in ((0, 1), (1, 0)):
            rows = g[0].flatten(1).tolist()
            negatives = sum(math.exp(-value) for value in rows[other])
            positive = math.exp(-rows[own][position])
            by_hand -= math.log(positive / (positive + negatives)) / 8
    settings = {"regeneration_weight": 0.0, "contrast_weight": 1.0, "groups": 2, "pool": 1}
    return value("af_dcd", features=((f,), (g,)), patch=2, temperature=1.0, **settings), by_hand


@worked_out("ickd")
def channels_active_together():
    """Student's channels share no position, the teacher's are alike: rows (1, 0), (1, 1)/sqrt 2."""
    f, g = maps([1, 0, 0, 0], [0, 1, 0, 0]), maps([1, 2, 0, 0], [1, 2, 0, 0])
    return value("ickd", features=((f,), (g,))), 2 - math.sqrt(2)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_the_value_is_the_one_worked_out_by_hand(case):
    actual, expected = case()
    assert actual == pytest.approx(expected, rel=1e-5)


def test_every_distiller_has_a_case_worked_out_by_hand():
    assert {name.partition("-")[0] for name in CASES} == set(available())
