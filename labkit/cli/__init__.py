"""The command line. Heavy packages are imported inside the commands that need them.

options: options that commands share.  training: train, run, matrix, site.  models: what a complete
run does.  lists: runs, compare, settings, networks.  data: data sets.  distillers: list and
calibrate.
"""

import atexit
import gc
import os

import typer

from labkit.cli import lists, models, training
from labkit.cli.data import data_app
from labkit.cli.distillers import distillers_app
from labkit.cli.options import Version

app = typer.Typer(
    help="Label Assisted Distillation: train, score and compare, unattended.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


@app.callback()
def main(version: Version = False) -> None:
    """Exit codes: 0 done; 1 failed; 2 bad settings, data or records, nothing was started;
    124 time limit; 130 Ctrl-C; 129, 131, 143 other signals. Whatever stopped a command, the same
    command goes on."""
    for name in ("LABKIT_DATA", "LABKIT_CACHE"):  # schedulers and kernels work in other folders
        if folder := os.environ.get(name):
            os.environ[name] = os.path.abspath(os.path.expanduser(folder))


atexit.register(gc.freeze)  # no search for cycles in all of torch at the end, which takes 0.4 s

for commands in (training.COMMANDS, models.COMMANDS, lists.COMMANDS):
    for command in commands:
        app.command()(command)
app.add_typer(data_app, name="data", no_args_is_help=True)
app.add_typer(distillers_app, name="distillers")
