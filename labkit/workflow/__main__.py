"""Snakemake as a process that ends when the `labkit matrix` that started it is gone, however that ended."""

import os
import signal
import sys
import time

from snakemake.cli import main

from labkit.headless import PARENT, end_with
from labkit.workflow._schedule import PATIENCE_SECONDS


def _interrupt() -> None:
    """End Snakemake and its jobs as Ctrl-C does; told to terminate, it would let every job that runs come to its end."""
    os.killpg(0, signal.SIGINT)
    time.sleep(PATIENCE_SECONDS)
    os.kill(os.getpid(), signal.SIGKILL)


end_with(int(os.environ.pop(PARENT)), _interrupt)
main(sys.argv[1:])
