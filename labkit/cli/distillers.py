"""`labkit distillers`: list them, and measure their weights."""

import typer

from labkit.batch.exits import Debug, errors_explained
from labkit.cli.options import Set, values_of

distillers_app = typer.Typer(
    help="Distillers: list them; calibrate: measure weights of equal gradient.",
    invoke_without_command=True,
)


@distillers_app.callback()
def list_distillers(context: typer.Context, debug: Debug = False) -> None:
    """List the distillers; calibrate: measure weights of equal gradient."""
    if context.invoked_subcommand is not None:
        return
    with errors_explained(debug):
        from labkit.batch.distillers import distiller_lines

        for line in distiller_lines():
            print(line)


@distillers_app.command()
def calibrate(set_: Set = [], debug: Debug = False) -> None:  # noqa: B006
    """Print gradient norms and proposed weights: --set teacher=RUN [--set distillation=cwd+at]."""
    with errors_explained(debug):
        from labkit.batch.distillers import calibration_lines

        for line in calibration_lines(values_of(set_)):
            print(line)
