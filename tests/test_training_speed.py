"""Resident frames, torch.compile and kept memory change no run; faults are explained."""

import platform
import subprocess
import sys

import pytest
import torch
from torch._dynamo.exc import TorchDynamoException

from labkit.datasets import memory
from labkit.errors import SettingsError
from labkit.training.fit import fit
from tests.training import equal, raising, teacher, tiny_networks, weights  # noqa: F401


@pytest.mark.parametrize("values", [{}, {"scale_min": 0.5, "scale_max": 2, "brightness": 0.4}])
def test_resident_frames_give_the_same_batches(values, tmp_path):
    plain, resident = (teacher(tmp_path, resident=r, **values) for r in (False, True))
    assert plain.run.run_id == resident.run.run_id
    pairs = zip(
        plain.train_batches.loader(start=0, steps=6),
        resident.train_batches.loader(start=0, steps=6),
        strict=True,
    )
    for first, second in pairs:
        assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_resident_frames_train_the_same_network(tmp_path):
    plain, resident = (teacher(tmp_path / str(r), resident=r) for r in (False, True))
    assert fit(plain) == fit(resident)
    assert equal(weights(plain), weights(resident))


def test_frames_that_do_not_fit_the_device_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "BUDGET", 1000)
    with pytest.raises(SettingsError, match=r"resident: .* 8 frames"):
        fit(teacher(tmp_path, resident=True))


def test_resident_frames_have_no_workers(tmp_path):
    with pytest.raises(SettingsError, match="workers"):
        teacher(tmp_path, resident=True, workers=1)


PAGES = """
import resource, sys, torch
from labkit.training.allocator import keep_freed_memory
if sys.argv[1] == "kept":
    keep_freed_memory()
for step in range(80):
    if step == 60:  # small pieces no longer take the place of a freed tensor
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(16_000_000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries are left alone")
def test_freed_memory_is_used_again():
    def new_pages(kept):
        command = [sys.executable, "-c", PAGES, kept]
        return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    assert new_pages("kept") < new_pages("returned") / 4


def test_a_compilation_that_fails_is_reported_once_and_changes_nothing(
    tmp_path, monkeypatch, capsys
):
    plain = teacher(tmp_path / "plain")
    fit(plain)
    failing = raising(TorchDynamoException("no compiler\nand a long trace"))
    monkeypatch.setattr(torch, "compile", lambda network, **options: failing)
    compiled = teacher(tmp_path / "compiled", compile=True)
    assert compiled.run.run_id == plain.run.run_id
    fit(compiled)
    assert equal(weights(compiled), weights(plain))
    printed = capsys.readouterr().out
    assert printed.count("warning: the network is trained without torch.compile") == 1
    assert "no compiler" in printed
    assert "long trace" not in printed


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of torch's own compiler
def test_a_compiled_network_trains_alike(tmp_path):
    plain, compiled = (teacher(tmp_path / str(c), compile=c, train_steps=2) for c in (False, True))
    fit(plain), fit(compiled)
    for name, value in weights(plain).items():
        torch.testing.assert_close(weights(compiled)[name], value, rtol=1e-3, atol=1e-4)
