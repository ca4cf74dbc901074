"""Matrices of runs through Snakemake, on one machine or a cluster."""

from labkit.workflow._schedule import dry_run, run_matrix, status

__all__ = ["dry_run", "run_matrix", "status"]
