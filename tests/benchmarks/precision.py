"""An assisted teacher's step in bf16 beside the same in float32: what precision=auto rests on."""

import tempfile
from collections.abc import Iterator
from functools import partial

import torch

from labkit.training.experiment import plan_run, prepare
from tests.benchmarks.steps import open_session
from tests.benchmarks.timing import milliseconds, row


def precision_rows() -> Iterator[dict]:
    """The default step of streets; a ratio above 1 says that bf16 is faster."""
    with tempfile.TemporaryDirectory(prefix="labkit-bench-") as runs:
        values, calls = {"runs": runs, "threads": torch.get_num_threads()}, []
        for precision in ("bf16", "fp32"):
            experiment = prepare(plan_run("teacher", values | {"precision": precision}))
            batch = experiment.train_batches[0].to(experiment.device)
            calls.append(partial(open_session(experiment).update, batch, 1))
        size = "8 x 64 x 128, small Unet"
        yield row("teacher step in bf16 vs in float32", size, *milliseconds(*calls))
