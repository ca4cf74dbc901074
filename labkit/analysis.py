"""What 03_analysis asks of finished runs: which runs, by which names, and what they predict."""

from collections import Counter

from torch import Tensor

from labkit.datasets import Batch
from labkit.experiments import Experiment
from labkit.records import RecordError, Run

TITLES = {
    ("teacher", "none"): "plain teacher",
    ("teacher", "lad"): "assisted teacher",
    ("student", "none"): "student alone",
    ("student", "kd"): "student of plain",
    ("student", "lad"): "student of assisted",
}


def run_names(runs: list[Run]) -> dict[str, Run]:
    """The runs a figure shows, by a short name: of every recipe the run with the lowest seed.

    Where several recipes share a name, the recipe's hash follows it; `tables.trials_table` says what they are. Figures hold
    frames of one size: runs at another size than the first one's are left to the table.

    Raises:
        RecordError: there is no complete run.
    """
    if not runs:
        raise RecordError("analysis: no complete run of this data set in the runs folder. First: labkit run all.")
    order = list(TITLES)
    first: dict[tuple[str, str, str], Run] = {}
    size = runs[0].settings.height, runs[0].settings.width
    fitting = [run for run in runs if (run.settings.height, run.settings.width) == size]
    for run in sorted(fitting, key=lambda run: (order.index((run.role, run.method)), run.seed, run.run_id)):
        first.setdefault((run.role, run.method, run.recipe_hash), run)
    shared = Counter((role, method) for role, method, _ in first)
    return {TITLES[role, method] + (f" {recipe}" if shared[role, method] > 1 else ""): run for (role, method, recipe), run in first.items()}


def assisted_teacher(named: dict[str, Run]) -> str:
    """The name of the first assisted teacher, whose evidence is looked at.

    Raises:
        RecordError: none is complete.
    """
    found = [name for name, run in named.items() if (run.role, run.method) == ("teacher", "lad")]
    if not found:
        raise RecordError("analysis: no complete assisted teacher. First: labkit run teacher --set method=lad.")
    return found[0]


def predictions(experiments: dict[str, Experiment], batch: Batch) -> dict[str, Tensor]:
    """(N, H, W) class ids by name; an assisted teacher with its true and with a foreign label."""
    found = {}
    for name, experiment in experiments.items():
        for reading in experiment.readings():
            if reading != "zero_label":
                shown = name if reading == "image" else f"{name}, {reading.replace('_', ' ')}"
                found[shown] = experiment.logits(reading, batch).argmax(1)
    return found
