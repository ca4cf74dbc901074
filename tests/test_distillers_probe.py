"""What each distiller does not see, as a whole; what it costs; and the largest tensor it makes."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from labkit.distillers import available, build_distiller
from labkit.distillers.probe import CHANGES, cost, random_outputs, relative_changes, value_of
from labkit.method import Outputs
from tests.distiller_cases import build
from tests.tiny import seeded

POSITION = "student: plus a number per position"
CHANNEL = "student: plus a number per channel"
DOUBLED = "student: doubled"
POSITION_SCALE = "student: times a number per position"
CHANNEL_SCALE = "student: times a number per channel"
ROTATED = "student: channels rotated"
TEACHER = "teacher: doubled"
SHUFFLED = "both: positions shuffled"
CLASSES = "both: classes in another order"
FINER = "both: each position four times"
SCALE = {DOUBLED, TEACHER}
PLACES = {SHUFFLED, FINER}
UNSEEN = {  # besides the order of the classes, which no distiller sees
    "kd": {POSITION, *PLACES},
    "standardised_kd": {POSITION, POSITION_SCALE, *SCALE, *PLACES},
    "dkd": {POSITION, *PLACES},
    "cwd": {CHANNEL, *PLACES},
    "dist": {POSITION, *PLACES},
    "fitnet": PLACES,
    "pkd": {CHANNEL, CHANNEL_SCALE, *SCALE, SHUFFLED},
    "mgd": set(),
    "at": {ROTATED, *SCALE, *PLACES},
    "ickd": {*SCALE, *PLACES},
    "skd": {ROTATED, POSITION_SCALE, *SCALE, *PLACES},
    "ifvd": {ROTATED, *SCALE, *PLACES},
    "dsd": {ROTATED, *SCALE, *PLACES},
    "cirkd": {ROTATED, POSITION_SCALE, *SCALE, *PLACES},
    "af_dcd": set(),
}
PARTS = {  # the parts and settings for which the invariances hold exactly
    "skd": {"pool": 1},
    "dsd": {"csd_weight": 0.0},
    "cirkd": {"memory_weight": 0.0},
}


def outputs(seed: int, size=(6, 8)) -> Outputs:
    """Random logits and two stages of features at stride 1, float64, all on one grid."""
    generator = seeded(seed)
    logits, *features = (
        torch.randn(2, width, *size, generator=generator, dtype=torch.float64)
        for width in (3, 4, 4)
    )
    return Outputs(logits, 1, {}, tuple(features))


@pytest.mark.parametrize("name", available())
def test_a_distiller_sees_every_change_but_those_it_is_known_not_to_see(name):
    student, teacher = outputs(0), outputs(1)
    target = torch.randint(3, (2, 6, 8), generator=seeded(2))
    target[0, 0, :2] = 255
    distiller = build(name, student, teacher, **PARTS.get(name, {})).double()
    value_of(distiller, student, teacher, target)
    changes = relative_changes(distiller.eval(), student, teacher, target)
    assert changes.keys() == CHANGES.keys()
    assert {change for change, moved in changes.items() if moved < 1e-5} == UNSEEN[name] | {CLASSES}


def test_every_distiller_is_in_the_table():
    assert UNSEEN.keys() == set(available())


class _LargestTensor(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.numel = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for value in result if isinstance(result, tuple | list) else (result,):
            if isinstance(value, torch.Tensor):
                self.numel = max(self.numel, value.untyped_storage().nbytes() // 4)
        return result


WIDTH, POSITIONS = 16, 64 * 128
STATED = {  # elements, by the docstrings
    "skd": 1024**2,  # max_nodes x max_nodes
    "cirkd": 256 * 4096,  # max_nodes x drawn entries
    "af_dcd": POSITIONS * 16**2,  # positions x groups^2
}


@pytest.mark.parametrize("name", available())
def test_no_tensor_is_larger_than_stated_at_64_x_128_positions(name):
    """Forward and backward, 19 classes; a matrix of all positions would have 8192^2 elements."""
    student, teacher = (
        random_outputs((64, 128), images=1, classes=19, widths=(WIDTH,) * 2, seed=seed, coarser=1)
        for seed in (0, 1)
    )
    target = torch.randint(19, (1, 256, 512), generator=seeded(2))
    distiller = build_distiller(name, {}, student=student, teacher=teacher, seed=0)
    with _LargestTensor() as largest:
        value_of(distiller, student, teacher, target).backward()
    largest_input = 19 * POSITIONS
    queue = 19 * 2001 * WIDTH if name == "cirkd" else 0
    assert largest.numel <= max(STATED.get(name, 0), 4 * largest_input, queue)


def test_cost_counts_what_is_kept_for_the_backward_pass():
    """kd keeps both probabilities or their logarithms: some multiples of 4 * K * n bytes."""
    student, teacher = (
        random_outputs((8, 8), images=1, classes=5, widths=(4,), seed=seed) for seed in (0, 1)
    )
    target = torch.zeros(1, 32, 32, dtype=torch.int64)
    distiller = build_distiller("kd", {}, student=student, teacher=teacher, seed=0)
    measured = cost(distiller, student, teacher, target)
    one = 4 * 5 * 64 / 1e6
    assert one <= measured.megabytes <= 8 * one
    assert measured.milliseconds > 0
