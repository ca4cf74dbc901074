"""Training that cannot go on stops with words, what was saved stays, and nothing half-right is complete."""

import re
from types import SimpleNamespace

import pytest
import torch

from labkit import engine, experiments
from labkit.config import TeacherSettings
from labkit.engine import TrainingError
from labkit.metrics import scores_from_confusion
from tests.test_engine import SMALL, Interrupted, student

OUT_OF_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB."),
    RuntimeError("[enforce fail at alloc_cpu.cpp:124] . DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes."),
    RuntimeError("CUDA error: out of memory"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    MemoryError("Unable to allocate 8.00 EiB for an array"),
]


def told(error=OUT_OF_MEMORY[0], *, precision="fp32", **settings) -> str:
    with pytest.raises(TrainingError) as caught, engine.memory_told(TeacherSettings(**(SMALL | settings)), torch.device("cpu"), precision):
        torch.empty(1 << 60, dtype=torch.uint8) if error is None else raising(error)()
    return str(caught.value)


def raising(error):
    def stop(*_):
        raise error

    return stop


@pytest.mark.parametrize("error", [*OUT_OF_MEMORY, None], ids=["device", "cpu", "driver", "cublas", "numpy", "really"])
def test_out_of_memory_says_what_was_in_use_and_what_to_lower_first(error):
    use, advice = told(error, batch_size=6).split(". ", 1)
    assert use == "out of memory on cpu at batch_size=6, crop 32 x 64, precision=fp32"
    assert re.fullmatch(r".*batch_size.* \(try 3\).*precision=bf16.*crop_height and crop_width\.", advice)


@pytest.mark.parametrize(
    ("batch_size", "precision", "lowered"),
    [(7, "bf16", ["batch_size", "crop_height"]), (1, "fp32", ["precision=bf16", "crop_height"]), (1, "bf16", ["crop_height"])],
)
def test_the_advice_names_what_can_still_be_lowered(batch_size, precision, lowered):
    advice = told(batch_size=batch_size, precision=precision).split(". ", 1)[1]
    assert re.findall("batch_size|precision=bf16|crop_height", advice) == lowered


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [(OUT_OF_MEMORY[0], TrainingError, "out of memory"), (RuntimeError("mat1 and mat2"), RuntimeError, "mat1 and mat2")],
)
def test_only_out_of_memory_is_taken_for_it_and_the_run_failed(tmp_path, monkeypatch, error, kind, words):
    experiment = student(tmp_path)
    monkeypatch.setattr(engine, "_update", raising(error))
    with pytest.raises(kind, match=words) as caught:
        experiments.fit(experiment)
    assert type(caught.value) is kind
    assert experiment.run.state == "failed"
    assert words in experiment.run.manifest()["error"]


@pytest.mark.parametrize(("minutes", "per_step", "saved"), [(0, 1000, [4]), (10, 6, [2, 4]), (10, 10, [1, 2, 3, 4]), (0.5, 0.4, [2, 4])])
def test_checkpoints_come_by_minutes_too(monkeypatch, minutes, per_step, saved):
    clock = [1e6]
    monkeypatch.setattr(engine, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    due, steps = engine._checkpoint_times(TeacherSettings(**SMALL, checkpoint_every_minutes=minutes)), []
    for step in (1, 2, 3, 4):
        clock[0] += 60 * per_step
        steps += [step] if due(step) else []
    assert steps == saved


def test_the_log_outlives_a_kill_while_it_is_reopened(tmp_path, monkeypatch):
    path, old = tmp_path / "log.jsonl", '{"step": 1}\n{"step": 2}\n'
    path.write_text(old)
    with monkeypatch.context() as killed:
        killed.setattr("labkit.files.os.fsync", raising(Interrupted))
        with pytest.raises(Interrupted), engine._log_file(path, [{"step": 1}]):
            pytest.fail("written")
    assert path.read_text() == old
    with engine._log_file(path, [{"step": 1}]) as write_row:
        write_row({"step": 3})
    assert path.read_text() == '{"step": 1}\n{"step": 3}\n'


def test_a_network_whose_answers_are_not_finite_is_never_complete(tmp_path):
    """The last step's loss is finite, and yet the step leads to weights nobody can use."""
    experiment = student(tmp_path, train_steps=1, learning_rate=1e30, optimiser="sgd")
    with pytest.raises(TrainingError, match="not finite"):
        experiments.fit(experiment)
    assert experiment.run.state == "failed"


def test_a_split_without_a_labelled_pixel_is_no_result(tmp_path):
    experiment = student(tmp_path)
    k = experiment.info.num_classes
    nothing = {"image": scores_from_confusion(torch.zeros(k, k, dtype=torch.int64))}
    with pytest.raises(ValueError, match="no labelled pixel"):
        experiments.measured(experiment, nothing, "val", experiment.val_split)
