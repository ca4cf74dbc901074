"""Snakemake as a process that ends when the `labkit matrix` that started it is gone, however that ended."""

import os
import sys

from snakemake.cli import main

from labkit.headless import PARENT, end_with

end_with(int(os.environ.pop(PARENT)))
main(sys.argv[1:])
