"""`make bench`: rows name, size, ours, reference and ratio, or ours and a budget.

Printed, and kept in runs/bench.json with the machine they were measured on. Ratios are taken within
one run on one machine; times of two machines say nothing about each other.

    python -m tests.benchmarks.bench [GROUP ...] [--threads N] [--cpu-time] [--once]
"""

import argparse
import importlib
import os
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch

from labkit.records import project_root, write_json
from labkit.training.allocator import keep_freed_memory
from tests.benchmarks.timing import Clock, machine

GROUPS = {  # file of this folder -> its function of rows
    "noising": "noising_rows",
    "steps": "step_rows",
    "sizes": "size_rows",
    "precision": "precision_rows",
    "losses": "loss_rows",
    "loading": "loading_rows",
    "evaluation": "evaluation_rows",
    "maps": "map_rows",
    "explorers": "explorer_rows",
    "distillers": "distiller_rows",
    "scaling": "scaling_rows",
    "plans": "plan_rows",
    "gpu": "gpu_rows",
}


def rows_of(group: str) -> Iterable[dict]:
    """Rows of one group, as they are measured."""
    return getattr(importlib.import_module(f"tests.benchmarks.{group}"), GROUPS[group])()


def main(arguments: Sequence[str] | None = None) -> Path:
    """Measure, print and keep the rows of all or some groups; the file they are kept in."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.bench")
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=f"of {', '.join(GROUPS)}")
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    parser.add_argument("--cpu-time", action="store_true", help="for a machine others use too")
    parser.add_argument("--once", action="store_true", help="time every call once")
    options = parser.parse_args(arguments)
    if unknown := set(options.groups) - GROUPS.keys():
        parser.error(f"unknown groups {', '.join(unknown)}; expected of {', '.join(GROUPS)}")
    torch.set_num_threads(options.threads)
    keep_freed_memory()  # as in training; the references have it too
    os.environ.setdefault("KINETO_LOG_LEVEL", "6")  # no messages of the profiler between the rows
    Clock.once = options.once
    if options.cpu_time:
        Clock.read = staticmethod(time.process_time)
    path, kept = project_root() / "runs" / "bench.json", []
    print(*(f"{name}={value}" for name, value in machine().items()), sep="  ", flush=True)
    for group in options.groups or GROUPS:
        for row in rows_of(group):
            kept.append({"group": group} | row)
            print("  ".join(f"{name}={value}" for name, value in row.items()), flush=True)
            write_json(path, {"machine": machine(), "rows": kept})
    return path


if __name__ == "__main__":
    print(main())
