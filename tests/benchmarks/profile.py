"""Where the time of a training step goes, operator by operator, and that of loading, function by
function; kept as text.

python -m tests.benchmarks.profile [--threads N]
"""

import argparse
import cProfile
import io
import pstats
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch.autograd.profiler_util import EventList
from torch.profiler import ProfilerActivity, profile

from labkit.records import project_root
from labkit.records.files import write_text
from labkit.training.experiment import plan_run, prepare
from tests.benchmarks.loading import KINDS, Files, batch_maker
from tests.benchmarks.steps import bare_network, open_session
from tests.benchmarks.timing import machine

STEPS, ROWS = 3, 25
BATCHES, FUNCTIONS = 6, 12  # of a profile of loading


def main(arguments: Sequence[str] | None = None) -> Path:
    """Profile an assisted teacher's step beside its bare network at 8 x 64 x 128, and loading."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.profile")
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    threads = parser.parse_args(arguments).threads
    torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory(prefix="labkit-bench-") as runs:
        experiment = prepare(plan_run("teacher", {"runs": runs, "threads": threads}))
        session = open_session(experiment)
        batch = experiment.train_batches[0].to(experiment.device)
        parts = {
            "training step": _table(lambda: session.update(batch, 1)),
            "bare network": _table(bare_network(experiment)),
        }
    header = "  ".join(f"{name}={value}" for name, value in machine().items())
    tables = [f"{name}, {STEPS} times\n{table}" for name, table in parts.items()]
    tables += [_loading(kind) for kind in KINDS]
    path = project_root() / "runs" / "bench_profile.txt"
    write_text(path, "\n".join([header, *tables]))
    return path


def _loading(kind: Files) -> str:
    """The functions that take most of the time of batches from files."""
    with tempfile.TemporaryDirectory(prefix="labkit-bench-") as folder:
        batches = batch_maker(Path(folder), kind)
        profiled, text = cProfile.Profile(), io.StringIO()
        batches[0]
        profiled.enable()
        for step in range(1, BATCHES + 1):
            batches[step]
        profiled.disable()
    pstats.Stats(profiled, stream=text).strip_dirs().sort_stats("tottime").print_stats(FUNCTIONS)
    return f"loading of {BATCHES} batches: {kind}\n{text.getvalue()}"


def _table(call: Callable[[], object]) -> str:
    call()
    activities = [ProfilerActivity.CPU]
    if torch.cuda.is_available():
        activities.append(ProfilerActivity.CUDA)
    with profile(activities=activities) as profiled:
        for _ in range(STEPS):
            call()
    averages: EventList = profiled.key_averages()
    return averages.table(sort_by="self_cpu_time_total", row_limit=ROWS, max_name_column_width=40)


if __name__ == "__main__":
    print(main())
