"""Files, run folders and build products: atomic, locked, and checked on every use."""

from labkit.records.counts import COUNTS, REGIONS
from labkit.records.files import (
    cannot_write,
    file_hash,
    read_bytes,
    read_json,
    remove_parts,
    write_bytes,
    write_json,
    write_text,
)
from labkit.records.folders import figures_folder, runs_folder
from labkit.records.locks import is_locked, lock
from labkit.records.provenance import now, provenance, source_revision
from labkit.records.run import (
    Run,
    check_outputs,
    describe_run,
    start_run,
)
from labkit.records.scan import RunScan, find_run, load_run, scan_runs
from labkit.records.schema import OUTPUTS, SMALL_OUTPUTS
from labkit.records.text import csv_text, figure_text, markdown_text, terminal_text
from labkit.settings.paths import project_root

__all__ = [
    "COUNTS",
    "OUTPUTS",
    "REGIONS",
    "SMALL_OUTPUTS",
    "Run",
    "RunScan",
    "cannot_write",
    "check_outputs",
    "csv_text",
    "describe_run",
    "figure_text",
    "figures_folder",
    "file_hash",
    "find_run",
    "is_locked",
    "load_run",
    "lock",
    "markdown_text",
    "now",
    "project_root",
    "provenance",
    "read_bytes",
    "read_json",
    "remove_parts",
    "runs_folder",
    "scan_runs",
    "source_revision",
    "start_run",
    "terminal_text",
    "write_bytes",
    "write_json",
    "write_text",
]
