"""Lines of the commands that list: runs, settings, networks and data sets."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from labkit.errors import SettingsError, nearest_name
from labkit.records.folders import runs_folder
from labkit.records.run import Run
from labkit.records.scan import scan_runs
from labkit.records.text import terminal_text
from labkit.settings.table import settings_table

Key = Callable[[Run], Any]
SORTS: dict[str, tuple[Key, bool]] = {  # key, and whether the largest comes first
    "id": (lambda run: run.run_id, False),
    "miou": (lambda run: best_miou(run) or -1.0, True),
    "seconds": (lambda run: _seconds(run) or 0.0, True),
    "finished": (lambda run: run.manifest().get("finished", ""), True),
}
NEXT = (
    "none. Train one: labkit train teacher, or many: labkit matrix labkit/batch/matrices/demo.yaml"
)


def runs_table(values: Mapping[str, str], *, dataset: str = "", sort: str = "id") -> Iterator[str]:
    """Lines for every run of a folder: complete ones in order, then unfinished and damaged ones.

    Args:
        values: settings; `runs` is the folder.
        dataset: runs of this data set alone.
        sort: of `SORTS`.

    Raises:
        SettingsError: another setting or order.
    """
    if sort not in SORTS:
        raise SettingsError(f"--sort {sort[:40]}: expected one of {', '.join(SORTS)}.")
    _refuse_others(values, ("runs",), "labkit runs")
    folder = runs_folder(values.get("runs", "runs"))
    scan = scan_runs(folder, dataset=dataset)
    key, reverse = SORTS[sort]
    if scan.runs or scan.unfinished:
        yield f"{'state':>9} {'mIoU':>6} {'seconds':>8}  run"
    for run in sorted(scan.runs, key=key, reverse=reverse):
        yield _line(run)
    for run in scan.unfinished:
        yield _line(run)
    for fault in scan.faults:
        yield f"{'damaged':>9} {'':>6} {'':>8}  {terminal_text(str(fault))}"
    known = len(scan.runs) + len(scan.unfinished) + len(scan.faults)
    number = f"{known} run{'s' if known > 1 else ''}"
    yield f"{folder}: {number if known else NEXT}"
    figures = folder / "figures"
    if figures.is_dir():
        yield f"tables and figures: {figures}"


def best_miou(run: Run) -> float | None:
    """mIoU of a run's first reading (image, or image and true label); None where there is none."""
    metrics = run.metrics() if run.state == "complete" else {"readings": {}}
    return next((reading["miou"] for reading in metrics["readings"].values()), None)


def settings_lines(role: str, values: Mapping[str, str]) -> Iterator[str]:
    """Lines for every setting of a role: value, default, range, which kinds have it, and meaning.

    Args:
        role: teacher or student.
        values: `dataset`, `recipe` and `data_root`: whose recipe is shown beside the defaults.

    Raises:
        SettingsError: another setting, or no such data set or recipe.
    """
    _refuse_others(values, ("dataset", "recipe", "data_root"), f"labkit settings {role}")
    rows = settings_table(role, **values)
    width = max(len(row.name) for row in rows)
    kinds = max((row.kinds for row in rows), key=len)
    for row in rows:
        default = "(required)" if row.default is None else _text(row.default)
        value = default if row.recipe is None else f"{_text(row.recipe)} (recipe; else {default})"
        limits = f" [{row.range}]" if row.range else ""
        only = "" if len(row.kinds) == len(kinds) else f" ({', '.join(row.kinds)} alone)"
        yield f"{row.name:<{width}}  {value}{limits}  {row.description}{only}"
    if role == "student":
        yield from _distiller_lines()


def network_lines() -> Iterator[str]:
    """A table of the networks, each with a usual encoder, and what an encoder may be."""
    from labkit.networks import networks_table

    form = "{:<10} {:<24} {:>6} {:>12} {:>12} {:>6}  {}"
    yield form.format(
        "network", "encoder", "stride", "parameters", "inference", "GMAC", "auxiliary heads"
    )
    own = []
    for row in networks_table():
        sizes = (f"{row['parameters']:,}", f"{row['inference']:,}", row["gmac"])
        names = (row["architecture"], row["encoder"], row["stride"])
        yield form.format(*names, *sizes, row["auxiliary"])
        if row["own_encoders"]:
            own.append(f"{row['own_encoders']} ({row['architecture']} alone)")
    yield (
        "19 classes. stride: input pixels per logit; parameters with auxiliary heads and without; "
        "GMAC: 1e9 multiply-adds of convolutions at 512 x 1024."
    )
    yield f"encoder: any of smp, tu-<timm name>{''.join(f', {names}' for names in own)}"


def check_lines(
    dataset: str, root: str, *, splits: Sequence[str], as_json: bool
) -> tuple[bool, list[str]]:
    """Whether a data set's files have no fault, and the report's lines.

    Args:
        root: folder that holds the data sets; "" = environment variable LABKIT_DATA.
    """
    from labkit.datasets.check import check_dataset

    report = check_dataset(dataset, root, splits=splits, progress=not as_json)
    lines = [json.dumps(report.to_json(), indent=1)] if as_json else report.lines()
    return report.passed, lines


def _distiller_lines() -> Iterator[str]:
    from labkit import distillers

    yield "distillers, and their options as NAME.OPTION:"
    for name in distillers.available():
        options = ", ".join(
            f"{key}={_text(value)}" for key, value in distillers.distiller_settings(name).items()
        )
        yield f"  {name}: {options}"


def _line(run: Run) -> str:
    miou, seconds = best_miou(run), _seconds(run)
    shown = "" if miou is None else f"{miou:.1f}"
    took = "" if seconds is None else f"{seconds:.0f}"
    return f"{run.state:>9} {shown:>6} {took:>8}  {run.run_id}"


def _seconds(run: Run) -> float | None:
    seconds = run.facts().get("seconds")
    return float(seconds) if isinstance(seconds, int | float) else None


def _text(value: Any) -> str:
    return (
        '""'
        if value == ""
        else {True: "yes", False: "no"}.get(value, str(value))
        if isinstance(value, bool)
        else str(value)
    )


def _refuse_others(values: Mapping[str, str], known: tuple[str, ...], command: str) -> None:
    for name in values:
        if name not in known:
            raise SettingsError(
                f"{command}: no setting {name[:80]!r}; {nearest_name(name[:80], known)}"
            )
