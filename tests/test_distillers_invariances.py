"""Which changes of the student's Outputs each distiller does not see, and which it does."""

import pytest
import torch

from labkit.distillers import available
from tests.distiller_cases import case, changed, value_of
from tests.tiny import seeded

NAMES = available()


def rotation(width: int) -> torch.Tensor:
    return torch.linalg.qr(torch.randn(width, width, generator=seeded(9)))[0]


def random_like(values, *dims, seed=5, low=0.5, high=2.0):
    """Random numbers that vary along the dimensions named alone."""
    shape = [size if dim in dims else 1 for dim, size in enumerate(values.shape)]
    return low + (high - low) * torch.rand(shape, generator=seeded(seed))


def shift_per_pixel(values):
    return values + 3 * random_like(values, 0, 2, 3)


def shift_per_map(values):
    return values + 3 * random_like(values, 0, 1)


def scale_per_pixel(values):
    return values * random_like(values, 0, 2, 3)


def scale_per_channel(values):
    return values * random_like(values, 1)


def scale_all(values):
    return 3 * values


def affine_per_pixel(values):
    return shift_per_pixel(scale_per_pixel(values))


def affine_per_channel(values):
    return scale_per_channel(values) + 3 * random_like(values, 1, seed=6)


def rotate_channels(values):
    return torch.einsum("dc,nchw->ndhw", rotation(values.shape[1]), values)


NO_POOL = {"skd": {"pool": 1}, "cirkd": {"memory_weight": 0.0}}
CSD, PSD = {"psd_weight": 0.0, "csd_weight": 1.0}, {"csd_weight": 0.0}
UNSEEN = [
    ("kd", shift_per_pixel, {}),
    ("cwd", shift_per_map, {}),
    ("dkd", shift_per_pixel, {}),
    ("dist", shift_per_pixel, {}),
    ("standardised_kd", affine_per_pixel, {}),
    ("at", scale_all, {}),
    ("at", rotate_channels, {}),
    ("skd", scale_per_pixel, NO_POOL["skd"]),
    ("skd", rotate_channels, NO_POOL["skd"]),
    ("ifvd", scale_all, {}),
    ("ifvd", rotate_channels, {}),
    ("dsd", scale_all, PSD),
    ("dsd", shift_per_map, CSD),
    ("cirkd", scale_per_pixel, NO_POOL["cirkd"]),
    ("cirkd", rotate_channels, NO_POOL["cirkd"]),
    ("pkd", affine_per_channel, {}),
    ("ickd", scale_all, {}),
]
SEEN = [
    ("kd", shift_per_map, {}),
    ("cwd", shift_per_pixel, {}),
    ("dkd", shift_per_map, {}),
    ("dist", shift_per_map, {}),
    ("standardised_kd", shift_per_map, {}),
    ("at", scale_per_pixel, {}),
    ("fitnet", scale_all, {}),
    ("skd", shift_per_map, {}),
    ("ifvd", shift_per_map, {}),
    ("dsd", scale_per_pixel, PSD),
    ("dsd", shift_per_pixel, CSD),
    ("cirkd", shift_per_map, {}),
    ("pkd", scale_per_pixel, {}),
    ("ickd", scale_per_channel, {}),
    ("mgd", scale_all, {}),
    ("af_dcd", scale_all, {}),
]


@pytest.mark.parametrize(("name", "change", "settings"), UNSEEN)
def test_a_change_it_does_not_see(name, change, settings):
    distiller, student, teacher, target = case(name, **settings)
    value = value_of(distiller, student, teacher, target)
    after = value_of(distiller, changed(student, change), teacher, target)
    torch.testing.assert_close(after, value, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("name", "change", "settings"), SEEN)
def test_a_change_it_sees(name, change, settings):
    distiller, student, teacher, target = case(name, **settings)
    value = value_of(distiller, student, teacher, target)
    after = value_of(distiller, changed(student, change), teacher, target)
    assert not torch.isclose(after, value, rtol=0.01)


def test_every_distiller_has_a_change_it_sees():
    assert {name for name, *_ in SEEN} == set(NAMES)
