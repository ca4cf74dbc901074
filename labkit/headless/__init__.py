"""How notebooks run with nobody watching. A run counts by its manifest, not by papermill's word."""

from labkit.headless._notebook import HeadlessError, Stopped, execute, stoppable
from labkit.headless._runs import NOTEBOOKS, check_settings, end_with, run_job, run_notebook
from labkit.headless._thread import PARENT, report, route, run_all

__all__ = [
    "NOTEBOOKS", "PARENT", "HeadlessError", "Stopped", "check_settings", "end_with", "execute", "report", "route", "run_all", "run_job",
    "run_notebook", "stoppable",
]  # fmt: skip
