"""Unattended runs: notebooks executed and verified, and matrices of runs through Snakemake.

matrix, plan: a file of wanted runs and its jobs.  status, view: how far it is.  schedule: make what is missing.
commands, notebook: what `labkit train` and `labkit run` do.  receipts, signals, private: how processes communicate and end.
"""
