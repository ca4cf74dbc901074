"""Speed measurements: rows, never tests. `python -m tests.benchmarks.bench` runs the groups.

bench: the groups and the command line.  timing: times, memory, rows.  reference: what public
scripts do.  camvid_files: generated files.  profile: the operators of a step, as text.
Every other file is a group, one function of rows.
"""
