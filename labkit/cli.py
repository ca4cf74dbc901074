"""The command line: run the notebooks headless, score a run, predict an image."""

import contextlib
import logging
import os
import shlex
import sys
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from labkit.receipts import JobFiles

app = typer.Typer(help="Label Assisted Distillation, headless.", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
Set = Annotated[list[str], typer.Option("--set", metavar="name=value", help="A setting; repeat for more.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]


class Target(StrEnum):
    """What `labkit run` runs."""

    noising = "noising"
    teacher = "teacher"
    student = "student"
    analysis = "analysis"
    study = "study"
    all = "all"


@app.command()
def run(
    target: Target,
    set_: Set = [],  # noqa: B006
    seeds: Annotated[str, typer.Option(help="Seeds of `all`, separated by commas.")] = "0",
    jobs: Annotated[int, typer.Option(min=0, help="Runs of `all` side by side; 0 = two on a CPU, one on a GPU.")] = 0,
    timeout: Annotated[float, typer.Option(min=0, help="Seconds for each notebook; 0 = no limit.")] = 0,
    receipt: Annotated[Path | None, typer.Option(help="For schedulers: a JSON file written when the run is done.")] = None,
    debug: Debug = False,
) -> None:
    """Run a notebook headless, or the whole thread (`all`). Settings and data are checked before anything starts.

    Exit codes: 0 done; 1 failed; 2 bad settings, data or records, nothing started; 124 time limit, 130 Ctrl-C, 143 SIGTERM.
    Whatever stopped it, the same command goes on from the last checkpoint.
    """
    with _told_in_words(debug), _reported(target, receipt) as job:
        from labkit import headless

        parent = os.environ.pop(headless.PARENT, "")
        if parent:
            headless.end_with(int(parent))

        values = _settings(set_)
        if target is Target.all:
            failed = headless.run_all(values, seeds=_seeds(seeds), jobs=jobs, timeout=timeout)
            if failed:
                raise headless.HeadlessError(f"failed: {', '.join(failed)}.")
            return
        settings = headless.check_settings(target.value, values)
        if job:
            print(headless.run_job(target.value, settings, job, timeout=timeout))
        else:
            print(headless.run_notebook(target.value, settings, timeout=timeout))


@app.command()
def matrix(
    what: Annotated[str, typer.Argument(metavar="[status] FILE", help="A matrix file, such as labkit/workflow/tiny.yaml.")],
    file: Annotated[str, typer.Argument(hidden=True)] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be started, also as plain commands; start nothing.")] = False,
    jobs: Annotated[int, typer.Option(min=0, help="Runs side by side; 0 = two on a CPU, one on a GPU, the profile's on a cluster.")] = 0,
    keep_going: Annotated[bool, typer.Option("--keep-going", help="After a failure, start what does not depend on it.")] = False,
    profile: Annotated[str, typer.Option(help="local, slurm, or a folder with a Snakemake profile.")] = "local",
    debug: Debug = False,
) -> None:
    """Make every run of a matrix file that is not there yet, then its tables; `matrix status FILE` says how far it is.

    Exit codes as of `run`. Whatever stopped it, the same command goes on; nothing is made twice.
    """
    with _told_in_words(debug):
        from labkit import headless, workflow
        from labkit.config import SettingsError

        if file and what != "status":
            raise SettingsError(f"labkit matrix {what} {file}: expected one file, or: labkit matrix status FILE.")
        if file or dry_run:
            for line in workflow.status(file) if file else workflow.dry_run(what, profile=profile):
                print(line)
            return
        failed = workflow.run_matrix(what, jobs=jobs, keep_going=keep_going, profile=profile)
        if failed:
            raise headless.HeadlessError(f"not made: {', '.join(failed)}.")


@app.command()
def evaluate(run: str, set_: Set = [], debug: Debug = False) -> None:  # noqa: B006
    """Score a finished run on a split (--set split=test), of its own or another data set with the same classes."""
    with _told_in_words(debug):
        from labkit import evaluation
        from labkit.config import EvaluateSettings

        for line in evaluation.evaluate_run(run, EvaluateSettings(**_settings(set_))):
            print(line)


@app.command()
def predict(
    run: str,
    image: Path,
    label: Annotated[Path | None, typer.Option(help="Label for an assisted teacher: single-channel class ids, 255 = void.")] = None,
    output: Annotated[Path | None, typer.Option(help="Where the picture goes; default <image>-<method>.png.")] = None,
    runs: Annotated[str, typer.Option(help="Folder of run folders.")] = "",
    debug: Debug = False,
) -> None:
    """Write the coloured prediction of a finished run for one image."""
    with _told_in_words(debug):
        from labkit import evaluation

        print(evaluation.predict_image(run, image, label=label, output=output, runs=runs))


@contextlib.contextmanager
def _reported(target: Target, receipt: Path | None) -> Iterator["JobFiles | None"]:
    """A scheduler's job tells how it goes by files beside its receipt; anything else has none."""
    from labkit.config import SettingsError
    from labkit.receipts import JobFiles, reported

    if receipt is None:
        yield None
        return
    if target not in (Target.teacher, Target.student, Target.study):
        raise SettingsError(f"--receipt: labkit run {target} makes nothing to write one of; expected teacher, student or study.")
    files = JobFiles(receipt.absolute())
    with reported(files):
        yield files


def _settings(pairs: list[str]) -> dict[str, str]:
    """name=value pairs; values stay text, the settings classes give them types."""
    from labkit.config import SettingsError

    wrong = [pair for pair in pairs if "=" not in pair]
    if wrong:
        raise SettingsError(f"--set {wrong[0]}: expected name=value.")
    return dict(pair.split("=", 1) for pair in pairs)


def _seeds(text: str) -> list[int]:
    from labkit.config import SettingsError

    if not all(part.strip().isdigit() for part in text.split(",")):
        raise SettingsError(f"--seeds {text}: expected whole numbers of at least 0 separated by commas, such as 0,1,2.")
    return [int(part) for part in text.split(",")]


@contextlib.contextmanager
def _told_in_words(debug: bool) -> Iterator[None]:
    """Every error becomes one message and an exit code; a traceback only with --debug."""
    if not debug:
        logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # it prints tracebacks of what waited for a kernel that is gone
    try:
        yield
    except (typer.Exit, SystemExit):
        raise
    except BrokenPipeError:  # whoever read this has seen enough
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  for what is still flushed at the end
        raise typer.Exit(0) from None
    except BaseException as error:
        if debug:
            raise
        message, code = _in_words(error)
        print(f"\nlabkit: {message}", file=sys.stderr)
        raise typer.Exit(code) from None


def _in_words(error: BaseException) -> tuple[str, int]:
    """Message and exit code of an error."""
    from labkit.config import SettingsError
    from labkit.datasets import DataError
    from labkit.engine import TrainingError
    from labkit.files import FileError
    from labkit.headless import HeadlessError
    from labkit.records import RecordError

    go_on = f"Go on with: {shlex.join(['labkit', *sys.argv[1:]])}"
    if isinstance(error, SettingsError | DataError | RecordError):
        return str(error), 2
    if isinstance(error, HeadlessError):
        return f"{error}\n{go_on}", error.exit_code
    if isinstance(error, TrainingError | FileError):
        return f"{error}\n{go_on}", 1
    if isinstance(error, KeyboardInterrupt):
        return f"{getattr(error, 'reason', 'interrupted (Ctrl-C)')}.\n{go_on}", getattr(error, "exit_code", 130)
    if type(error).__name__ == "OutOfMemoryError":  # training tells its own; here a network is only shown frames
        return f"out of memory on the device ({str(error).splitlines()[0]}). End what else uses it, or use --set device=cpu.", 1
    return f"{type(error).__name__}: {error}. This is a fault of labkit; --debug shows where.", 1
