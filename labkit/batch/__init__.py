"""Unattended runs: notebooks executed and verified, and matrices of runs through Snakemake.

matrix, plan: a file of wanted runs and its jobs.  status, view: how far it is.  schedule,
scheduler, workflow: make what is missing.  commands, notebook: `labkit train` and `labkit run`.
receipts, signals, private: how processes communicate and end.  listing: what commands print.
"""
