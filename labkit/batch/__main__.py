"""Snakemake as a process that ends when the `labkit matrix` that started it is gone."""

import os
import signal
import sys
import time

from snakemake.cli import main

from labkit.batch.scheduler import PATIENCE_SECONDS
from labkit.batch.signals import PARENT, watch_parent


def _interrupt() -> None:
    """End Snakemake and its jobs as Ctrl-C does; on SIGTERM it would let running jobs finish."""
    os.killpg(0, signal.SIGINT)
    time.sleep(PATIENCE_SECONDS)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    watch_parent(int(os.environ.pop(PARENT)), _interrupt)
    main(sys.argv[1:])
