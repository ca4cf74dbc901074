"""Sentences below the tables: protocol, devices and revisions, intervals, and margins in words."""

from collections.abc import Iterable, Sequence

import pandas as pd

from labkit.records.run import Run
from labkit.records.text import markdown_text
from labkit.study.counts import main_reading
from labkit.study.gains import Resampler
from labkit.study.rows import LAST_LABELS, Row
from labkit.study.scores import device_of, revision_of

ONE_SEED = (
    "One seed: an interval is over frames alone and says nothing about another training run; "
    "differences of students below about 2 points mean nothing alone."
)


def protocol_note(rows: Sequence[Row]) -> str:
    """What the scores are: frames, size, scale and absent classes, per data set."""
    by_dataset: dict[str, dict[str, None]] = {}
    for run in _runs(rows):
        metrics = run.metrics()
        readings = metrics["readings"].values()
        absent = dict.fromkeys(name for scores in readings for name in scores["absent"])
        protocol = metrics.get("protocol", metrics["split"])
        text = f"{protocol}, absent classes: {', '.join(absent) or 'none'}"
        by_dataset.setdefault(run.settings.dataset, {})[text] = None
    protocols = [f"{dataset}: {text}" for dataset, texts in by_dataset.items() for text in texts]
    return (
        "mIoU in percent, mean ± deviation (ddof 1) over n seeds. "
        f"{'; '.join(protocols or ['No run is complete'])}."
    )


def origin_note(rows: Sequence[Row]) -> str:
    """Devices and source revisions the runs were made with; "" where no run is complete."""
    runs = _runs(rows)
    if not runs:
        return ""
    return (
        f"Made on {_joined(map(device_of, runs))} by revision {_joined(map(revision_of, runs))}, "
        f"precision {_joined(run.settings.precision for run in runs)}."
    )


def seeds_note(rows: Sequence[Row]) -> str:
    """A warning where every row has one run at most; else ""."""
    counts = [len(row.complete) for row in rows]
    return ONE_SEED if counts and max(counts) == 1 else ""


def interval_note(rows: Sequence[Row], resampler: Resampler) -> str:
    """How gains, intervals and regions were made; "" where no run is complete."""
    drawn: dict[str, None] = {}
    widths: dict[int, None] = {}
    for run in _runs(rows):
        scored = resampler.score(run, main_reading(run))
        how = f"blocks of {scored.block} consecutive ones" if scored.block > 1 else "singly"
        drawn[f"{run.settings.dataset}: {scored.frames} frames, {how}"] = None
        widths[run.settings.boundary_width] = None
    if not drawn:
        return ""
    return (
        "Gain: paired over the same seeds and frames. Bootstrap interval: 2.5 to 97.5 percent of "
        f"{resampler.draws} bootstrap draws over seeds and frames, crossed "
        f"({'; '.join(drawn)}). Over three seeds or fewer it is too "
        "narrow, that of the t-test over seeds is not; with one seed it is over frames alone. "
        "Boundary: "
        f"mIoU over pixels with another class within {_joined(widths)} pixels; "
        "interior: over the others."
    )


def margins(teacher_gains: pd.DataFrame, gains: pd.DataFrame) -> str:
    """Every paired gain in one Markdown line, with its interval and number of seeds."""
    lines = [*_margins(teacher_gains), *_margins(gains)]
    if not lines:
        return "No two complete rows to compare yet.\n"
    if max(table.n.max() for table in (teacher_gains, gains) if len(table)) == 1:
        lines += ["", ONE_SEED]
    return "\n".join(lines) + "\n"


def _margins(table: pd.DataFrame) -> list[str]:
    differ, lines = [name for name in _labels(table) if table[name].nunique() > 1], []
    for line in table.dropna(subset="gain").to_dict("records"):
        others = [line[name] for name in differ if isinstance(line[name], str)]
        first, second = ", ".join(filter(None, [line["method"], *others])), line["over"]
        if line["reads"] != line["over_reads"]:
            first = f"{first}, {line['reads'].replace('_', ' ')}"
            second = f"{second}, {line['over_reads'].replace('_', ' ')}"
        name, key = ("t-test", "t") if line["n"] > 1 else ("bootstrap", "ci")
        interval = f"{name} {line[f'{key}_low']:+.1f} to {line[f'{key}_high']:+.1f}"
        lines.append(
            f"* {markdown_text(first)} over {markdown_text(second)}: **{line['gain']:+.1f}** mIoU "
            f"({interval}; {line['n']} {'seed' if line['n'] == 1 else 'seeds'})"
        )
    return lines


def _labels(gains: pd.DataFrame) -> list[str]:
    """Columns that tell rows of the same method apart."""
    columns = list(gains.columns[: gains.columns.get_loc("over")])
    return [name for name in columns if name not in LAST_LABELS]


def _runs(rows: Sequence[Row]) -> list[Run]:
    return [run for row in rows for run in row.complete]


def _joined(values: Iterable) -> str:
    return ", ".join(sorted({str(value) for value in values if str(value)}))
