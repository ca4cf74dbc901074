"""Lines of `labkit runs` and `labkit compare`: which runs there are, which are left over, and how
two to six differ.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from labkit.errors import SettingsError, nearest_name
from labkit.records.folders import runs_folder
from labkit.records.prune import folder_bytes, left_over, remove_run
from labkit.records.run import Run
from labkit.records.scan import RunScan, find_run, hint_of_folders, scan_runs
from labkit.records.text import terminal_text

Key = Callable[[Run], Any]
SORTS: dict[str, tuple[Key, bool]] = {  # key, and whether the largest comes first
    "id": (lambda run: run.run_id, False),
    "miou": (lambda run: first_miou(run) or -1.0, True),
    "seconds": (lambda run: seconds_of(run) or 0.0, True),
    "finished": (lambda run: run.manifest().get("finished", ""), True),
}
FILTERS = ("dataset", "role", "kind")
NEXT = (
    "none. Train one: labkit train teacher, or many: labkit matrix labkit/batch/matrices/demo.yaml"
)
REASON = 100  # characters of an error that are shown
NAMES = "ABCDEF"  # of the runs that are compared
NO_DIFFERENCE = "no setting differs"


def runs_table(
    values: Mapping[str, str], *, sort: str = "id", filters: Mapping[str, str]
) -> Iterator[str]:
    """Lines for every run of a folder: complete ones in order, then unfinished and damaged ones.

    Args:
        values: settings; `runs` is the folder.
        sort: of `SORTS`.
        filters: of `FILTERS`, value by name; "" = all runs.

    Raises:
        SettingsError: another setting or order, or an unknown data set.
    """
    if sort not in SORTS:
        raise SettingsError(f"--sort {sort[:40]}: expected one of {', '.join(SORTS)}.")
    refuse_others(values, ("runs",), "labkit runs")
    folder = runs_folder(values.get("runs", "runs"))
    scan = _scan(folder, filters)
    key, reverse = SORTS[sort]
    if scan.runs or scan.unfinished:
        yield f"{'state':>9} {'mIoU':>6} {'seconds':>8}  run"
    for run in (*sorted(scan.runs, key=key, reverse=reverse), *scan.unfinished):
        yield _line(run)
    for fault in scan.faults:
        yield f"{'damaged':>9} {'':>6} {'':>8}  {terminal_text(str(fault))}"
    known = len(scan.runs) + len(scan.unfinished) + len(scan.faults)
    number = f"{known} run{'s' if known > 1 else ''}"
    chosen = ", ".join(f"{name} {value}" for name, value in filters.items() if value)
    which = f" of {chosen}" if chosen else ""
    yield f"{folder}: {f'{number}{which}' if known else f'no run{which}' if which else NEXT}"
    if not known and (hint := hint_of_folders(folder)):
        yield hint
    figures = folder / "figures"
    if figures.is_dir():
        yield f"tables and figures: {figures}"


def prune_lines(
    values: Mapping[str, str], *, filters: Mapping[str, str], yes: bool
) -> Iterator[str]:
    """Remove the failed and stopped runs of a folder, or name them; never a complete or a running
    one.

    Args:
        values: settings; `runs` is the folder.
        filters: as for `runs_table`.
        yes: remove them; otherwise nothing is changed.

    Raises:
        SettingsError: another setting.
    """
    refuse_others(values, ("runs",), "labkit runs")
    folder = runs_folder(values.get("runs", "runs"))
    scan = _scan(folder, filters)
    runs = [run for run in scan.unfinished if left_over(run)]
    size = sum(folder_bytes(run) for run in runs) / 1e6
    for run in runs:
        yield f"{_line(run)}{_reason(run)}"
        if yes:
            remove_run(run)
    kept = len(scan.runs) + len(scan.unfinished) - len(runs)
    done = "removed" if yes else "would remove"
    yield f"{folder}: {done} {len(runs)} failed or stopped ({size:.1f} MB), {kept} others stay."
    if runs and not yes:
        yield "Nothing was changed. Remove them: the same command with --yes."


def compare_lines(names: Sequence[str], values: Mapping[str, str]) -> Iterator[str]:
    """Lines on how complete runs differ: settings, scores and IoU by class.

    Args:
        names: run ids or beginnings of them, two to six.
        values: settings; `runs` is the folder.

    Raises:
        SettingsError: too few or too many, or another setting.
        RecordError: no such complete run.
    """
    if not 2 <= len(names) <= len(NAMES):
        count = f"{len(names)} run{'s' if len(names) > 1 else ''}"
        raise SettingsError(f"labkit compare: got {count}; expected 2 to {len(NAMES)}.")
    refuse_others(values, ("runs",), "labkit compare")
    runs = [find_run(name, values.get("runs", "runs")) for name in names]
    for name, run in zip(NAMES, runs, strict=False):
        yield f"{name}  {run.run_id}"
    yield from _settings_that_differ(runs)
    metrics = [run.metrics() for run in runs]
    protocols = {one.get("protocol") for one in metrics}
    if len(protocols) > 1:
        yield ""
        yield "The scores are of different protocols: " + "; ".join(
            f"{name} {terminal_text(str(one.get('protocol')))}"
            for name, one in zip(NAMES, metrics, strict=False)
        )
    yield from _score_lines(runs, metrics)


def first_miou(run: Run) -> float | None:
    """mIoU of a run's first reading (image, or image and true label); None where there is none."""
    metrics = run.metrics() if run.state == "complete" else {"readings": {}}
    return next((reading["miou"] for reading in metrics["readings"].values()), None)


def seconds_of(run: Run) -> float | None:
    """Seconds of training; None where they are not recorded."""
    seconds = run.facts().get("seconds")
    return float(seconds) if isinstance(seconds, int | float) else None


def refuse_others(values: Mapping[str, str], known: tuple[str, ...], command: str) -> None:
    """Refuse settings that a command does not have.

    Raises:
        SettingsError: naming the first, with the nearest known one.
    """
    for name in values:
        if name not in known:
            raise SettingsError(
                f"{command}: no setting {name[:80]!r}; {nearest_name(name[:80], known)}"
            )


def _scan(folder: Any, filters: Mapping[str, str]) -> RunScan:
    dataset = filters.get("dataset", "")
    scan = scan_runs(folder, dataset=dataset)
    if dataset and not any(scan):
        _check_dataset(dataset)
    wanted = {name: filters.get(name, "") for name in ("role", "kind")}

    def fits(run: Run) -> bool:
        return all(value in ("", getattr(run, name)) for name, value in wanted.items())

    return RunScan(
        [run for run in scan.runs if fits(run)],
        [] if any(wanted.values()) else scan.faults,
        [run for run in scan.unfinished if fits(run)],
    )


def _check_dataset(name: str) -> None:
    """Refuse a data set that there is not; called where no run has it, because PyTorch is loaded.

    Raises:
        SettingsError: with the nearest name.
    """
    from labkit.datasets import available

    if name not in available():
        hint = nearest_name(name[:80], available())
        raise SettingsError(f"--dataset {name[:80]}: no such data set; {hint}")


def _line(run: Run) -> str:
    miou, seconds = first_miou(run), seconds_of(run)
    shown = "" if miou is None else f"{miou:.1f}"
    took = "" if seconds is None else f"{seconds:.0f}"
    return f"{run.state:>9} {shown:>6} {took:>8}  {run.run_id}"


def _reason(run: Run) -> str:
    """Step of how many, and the first line of the error."""
    step = max((row["step"] for row in run.log_rows()), default=0)
    error = terminal_text(str(run.facts().get("error", "")).partition("\n")[0])[:REASON]
    return f"  (step {step} of {run.settings.train_steps}{f'; {error}' if error else ''})"


def _settings_that_differ(runs: Sequence[Run]) -> Iterator[str]:
    tables = [_flat(run) for run in runs]
    names = dict.fromkeys(name for table in tables for name in table)
    rows = [[name, *(table.get(name, "–") for table in tables)] for name in names]
    rows = [row for row in rows if len(set(row[1:])) > 1]
    yield ""
    yield from _table(["settings that differ", *NAMES[: len(runs)]], rows or [[NO_DIFFERENCE]])


def _flat(run: Run) -> dict[str, str]:
    """Role, kind, settings, options of distillers and inputs of a run by name, as text."""
    config = run.config
    taught_by = config["identity"]["teacher"]
    inputs = {"data": config["identity"]["data"][:8], "weights": config["identity"]["weights"][:8]}
    teacher = {"teacher": taught_by["run_id"]} if taught_by else {}
    flat: dict[str, Any] = {"role": run.role, "kind": run.kind}
    for name, value in config["settings"].items():
        flat |= value if isinstance(value, dict) else {name: value}
    return {name: terminal_text(str(value)) for name, value in (flat | teacher | inputs).items()}


def _score_lines(runs: Sequence[Run], metrics: Sequence[dict[str, Any]]) -> Iterator[str]:
    titles = [*NAMES[: len(runs)], *(f"{name} - A" for name in NAMES[1 : len(runs)])]
    firsts = [next(iter(one["readings"].values())) for one in metrics]
    readings = dict.fromkeys(name for one in metrics for name in one["readings"])
    rows = [
        _row(
            f"mIoU, {reading.replace('_', ' ')}",
            [one["readings"].get(reading, {}).get("miou") for one in metrics],
        )
        for reading in readings
    ]
    if len({next(iter(one["readings"])) for one in metrics}) > 1:
        rows.insert(0, _row("mIoU, image or true label", [one["miou"] for one in firsts]))
    rows.append(_row("pixel accuracy", [one["pixel_accuracy"] for one in firsts]))
    rows.append(_row("seconds", [seconds_of(run) for run in runs]))
    yield ""
    yield from _table(["scores, percent", *titles], rows)
    classes = dict.fromkeys(name for one in firsts for name in one["iou"])
    rows = [_row(terminal_text(name), [one["iou"].get(name) for one in firsts]) for name in classes]
    yield ""
    yield from _table(["IoU by class", *titles], rows)


def _row(title: str, values: Sequence[float | None]) -> list[str]:
    """Values to a tenth, and their differences from the first; – where there is none."""
    first = values[0]
    shown = ["–" if value is None else f"{value:.1f}" for value in values]
    differences = [
        "–" if value is None or first is None else f"{round(value - first, 1) + 0.0:+.1f}"
        for value in values[1:]
    ]
    return [title, *shown, *differences]


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Lines of a table; the first column begins its lines, the others end at their title."""
    columns = [max(map(len, cells)) for cells in zip(header, *rows, strict=False)]
    for cells in (header, *rows):
        first, *others = cells
        texts = [f"{cell:>{width}}" for cell, width in zip(others, columns[1:], strict=False)]
        yield "  ".join([f"{first:<{columns[0]}}", *texts]).rstrip()
