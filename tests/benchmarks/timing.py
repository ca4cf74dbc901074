"""Times, memory and rows of the benchmarks.

Calls that are compared are timed in turns, so that what else the machine does falls on both.
"""

import contextlib
import io
import math
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from labkit.records.provenance import cpu_name

Call = Callable[[], object]


class Clock:
    """What `seconds_of` reads, and how often; set once by the command line.

    Attributes:
        read: seconds of the wall, or of this process's cores where others use the machine too.
        once: whether every call is timed once, to see that all rows work.
    """

    read: Callable[[], float] = staticmethod(time.perf_counter)
    once = False


def seconds_of(call: Call) -> float:
    """Seconds of one call, queued work of a device included."""
    _wait()
    began = Clock.read()
    call()
    _wait()
    return Clock.read() - began


def milliseconds(*calls: Call, repeat: int = 9) -> list[float]:
    """Median times of calls that take turns, after one turn to warm up."""
    times: list[list[float]] = [[] for _ in calls]
    for turn in range(1 if Clock.once else repeat + 1):
        for call, taken in zip(calls, times, strict=True):
            seconds = seconds_of(call)
            if turn or Clock.once:
                taken.append(1000 * seconds)
    return [statistics.median(taken) for taken in times]


def peak_megabytes(call: Call) -> float:
    """Most memory that tensors of a call on the CPU hold at once, beyond what was held before.

    Counted by PyTorch's profiler: the process's own size also shows what the C library keeps free
    and what the system takes back.
    """
    cpu = [ProfilerActivity.CPU]
    with profile(activities=cpu, profile_memory=True, acc_events=True) as profiled:
        call()
    events = profiled.profiler.kineto_results.events()
    changes = [event for event in events if event.name() == "[memory]"]
    changes.sort(key=lambda event: event.start_ns())
    return max(accumulate((event.nbytes() for event in changes), initial=0)) / 1e6


def quiet() -> contextlib.redirect_stdout:
    """No bars and messages of training between the rows."""
    return contextlib.redirect_stdout(io.StringIO())


def slope(sizes: Sequence[float], values: Sequence[float]) -> float:
    """Slope of log value over log size by least squares: 1 = linear, 0 = constant."""
    x, y = [math.log(size) for size in sizes], [math.log(value) for value in values]
    return statistics.linear_regression(x, y).slope


def row(name: str, size: str, ours: float, reference: float, *, unit: str = "ms") -> dict:
    """One measurement, with the ratio reference / ours."""
    ratio = round(reference / ours, 2)
    values = {"ours": round(ours, 2), "reference": round(reference, 2), "ratio": ratio}
    return {"name": name, "size": size, **values, "unit": unit}


def budget_row(name: str, size: str, ours: float, budget: Any, *, unit: str = "ms") -> dict:
    """One measurement beside what it should be."""
    return {"name": name, "size": size, "ours": round(ours, 3), "budget": budget, "unit": unit}


def machine() -> dict[str, Any]:
    """What the numbers were measured on."""
    return {
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "torch": torch.__version__,
        "python": platform.python_version(),
        "clock": "wall" if Clock.read is time.perf_counter else "cpu",
        "load": round(os.getloadavg()[0], 1),
    }


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
