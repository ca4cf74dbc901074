"""Device, precision and memory of a training process."""

import contextlib
import os
from collections.abc import Iterator, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from labkit.datasets.batches import Batch, ScoringBatch
from labkit.errors import SettingsError, TrainingError
from labkit.records.provenance import cpu_name

AnyBatch = TypeVar("AnyBatch", Batch, ScoringBatch)

# Exhausted memory as drivers, cuBLAS and the CPU's allocator report it, without OutOfMemoryError.
OUT_OF_MEMORY = ("out of memory", "ALLOC_FAILED", "can't allocate memory", "not enough memory")


def choose_device(device: str) -> torch.device:
    """Device by its setting; auto = cuda where there is one.

    Raises:
        SettingsError: cuda is asked for and torch finds none.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise SettingsError(
            "setting device: got cuda; torch finds no CUDA device here. Use device=auto or cpu.",
            names=["device"],
        )
    if device == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    if "LOCAL_RANK" in os.environ:  # set by torchrun: one process per device
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    return torch.device("cuda")


def choose_precision(precision: str, device: torch.device) -> str:
    """Precision by its setting; auto = bf16 where the device computes faster in it, else fp32.

    A processor does with a matrix unit (AMX), and AMD's with AVX512-BF16. Intel's without AMX have
    those instructions too, but a step takes 1.2 times as long (tests/benchmarks/README.md).
    """
    if precision != "auto":
        return precision
    if device.type == "cuda":
        faster = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        has = torch.cpu.get_capabilities().get
        faster = has("amx_bf16", False) or (has("avx512_bf16", False) and "AMD" in cpu_name())
    return "bf16" if faster else "fp32"


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """bf16 autocast, or a context that does nothing for fp32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


def to_device(batch: AnyBatch, device: torch.device) -> AnyBatch:
    """A batch on a device; the host does not wait for the copy. Positions stay on the CPU."""
    index = batch.index
    if device.type == "cuda":
        batch = type(batch)(*map(_pinned, batch))
    return batch.to(device)._replace(index=index)


def _pinned(value: Tensor | None) -> Tensor | None:
    """A tensor of the CPU in pinned memory; others as they are."""
    return value.pin_memory() if value is not None and value.device.type == "cpu" else value


@contextlib.contextmanager
def full_float32(device: torch.device) -> Iterator[None]:
    """No autocast and, on CUDA, no TF32: what scores and maps are computed in."""
    backends = (torch.backends.cudnn, torch.backends.cuda.matmul) if device.type == "cuda" else ()
    before = [backend.allow_tf32 for backend in backends]
    try:
        for backend in backends:
            backend.allow_tf32 = False
        with torch.autocast(device.type, enabled=False):
            yield
    finally:
        for backend, allowed in zip(backends, before, strict=True):
            backend.allow_tf32 = allowed


@contextlib.contextmanager
def explain_out_of_memory(
    device: torch.device, *, at: str, advice: Sequence[str]
) -> Iterator[None]:
    """Report exhausted memory in one message: the settings it happened at, and what to do.

    Args:
        at: settings with their values.
        advice: what to do first, then what else.

    Raises:
        TrainingError: in place of torch's error.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if isinstance(error, TrainingError) or not _is_out_of_memory(error):
            raise
        text = ", then ".join(advice)
        raise TrainingError(
            f"out of memory on {device.type} at {at}. {text[0].upper()}{text[1:]}."
        ) from error


def _is_out_of_memory(error: BaseException) -> bool:
    known = isinstance(error, torch.OutOfMemoryError | MemoryError)
    return known or any(words in str(error) for words in OUT_OF_MEMORY)
