"""What `labkit train` and `labkit run` do: train in this process, or execute a notebook.

What trains and what executes is imported when there is something to do: a complete run is verified
in the time that PyTorch takes to load.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from labkit.batch.executed import NOTEBOOKS, VIEWS, was_executed
from labkit.batch.receipts import JobFiles
from labkit.errors import TrainingError
from labkit.records.files import write_json
from labkit.records.run import Run, check_outputs
from labkit.records.schema import OUTPUTS
from labkit.training.planning import plan_run


def train(
    role: str, values: Mapping[str, Any], *, devices: int = 1, receipt: JobFiles | None = None
) -> Run:
    """Train the run that a role and its settings make; a complete one is verified and left alone.

    Args:
        devices: processes of this machine that train it together.
        receipt: written last, for a scheduler.

    Raises:
        LabkitError: by kind; nothing is started where settings, teacher or data have faults.
    """
    run = plan_run(role, values)
    if run.state == "complete":
        from labkit.training.checkpoint import drop_checkpoints

        check_outputs(run, OUTPUTS)
        drop_checkpoints(run)  # left by a kill between the manifest and their removal
        print(f"{run.run_id}: complete, nothing to do", flush=True)
    elif devices > 1:
        _train_together(run, role, values, devices)
    else:
        from labkit.training.experiment import prepare
        from labkit.training.fit import fit

        fit(prepare(run))
    if receipt:
        from labkit.batch.status import receipt_of

        write_json(receipt.receipt, receipt_of(run))
    return run


def _train_together(run: Run, role: str, values: Mapping[str, Any], devices: int) -> None:
    """Train a run in several processes under torchrun.

    Raises:
        TrainingError: a process failed.
    """
    from labkit.training.distributed import launch

    pairs = [part for name, value in values.items() for part in ("--set", f"{name}={value}")]
    code = launch(["train", role, *pairs], devices)
    if code or run.state != "complete":
        raise TrainingError(
            f"{run.run_id}: its {devices} processes ended with code {code}, the run {run.state}; "
            "their messages are above."
        )


def run_notebook(
    name: str,
    values: Mapping[str, Any],
    *,
    timeout: float = 0,
    receipt: JobFiles | None = None,
    matrix: str = "",
) -> Path:
    """Execute a notebook with its settings checked first.

    A training notebook trains its run where that is not complete and otherwise shows it; one that
    was executed for the complete run as it is now is not executed again.

    Args:
        name: of `NOTEBOOKS`.
        timeout: seconds for the whole notebook; 0 = no limit.
        receipt: written last, for a scheduler; the executed notebook is kept beside it.
        matrix: the matrix file that a view is made for, where its settings do not name it.

    Returns:
        The executed notebook.

    Raises:
        LabkitError: by kind; nothing is started where settings or data have faults.
        NotebookError: the notebook did not finish, or finished without its result.
    """
    if name in VIEWS:
        from labkit.batch.notebook_runs import execute_view, receipt_of_view

        executed = execute_view(name, VIEWS[name](**values), values, timeout, receipt)
        facts = receipt_of_view(name, matrix or values["matrix"]) if receipt else {}
    else:
        run = plan_run(name, values)
        executed = run.folder / f"{NOTEBOOKS[name]}.ipynb"
        if not _is_shown(run, executed):
            from labkit.batch.notebook_runs import execute_training

            execute_training(name, run, executed, values, timeout)
        facts = facts_of(run)
    if receipt:
        write_json(receipt.receipt, facts)
    return executed


def facts_of(run: Run) -> dict[str, Any]:
    """What the executed notebook of a run records: the hash of its weights, once complete."""
    return {"checkpoint": run.checkpoint_hash()} if run.state == "complete" else {}


def _is_shown(run: Run, executed: Path) -> bool:
    """Whether a run is complete, sound, and its notebook was executed for it as it is now."""
    if run.state != "complete":
        return False
    check_outputs(run, OUTPUTS)
    if not was_executed(executed, facts_of(run)):
        return False
    print(f"{run.run_id}: complete, and its notebook was executed", flush=True)
    return True
