"""Tables as files: CSV with everything, Markdown for reading, and under it how the numbers were made."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from labkit.files import write_text
from labkit.studies.gains import frames_together
from labkit.studies.regions import RegionConfusions
from labkit.studies.rows import LABELS, Row, Study, complete_runs
from labkit.tables import markdown, write_csv

DASH = "–"  # no run is complete
MEAN = "{{{0}_mean:.2f}} ± {{{0}_std:.2f}}"
COMPUTE = {"seconds": "{seconds:.0f}", "with teacher": "{total_seconds:.0f}", "images": "{images:.0f}", "device": "{device}"}
SHOWN = {  # Markdown column: what of a line it shows
    "students": {
        "n": "{n}", "last": MEAN.format("last"), "best": MEAN.format("best"), "teacher": MEAN.format("teacher"),
        "its reliance": MEAN.format("teacher_reliance"), **COMPUTE,
    },
    "gains": {
        "over": "{over}", "n": "{n}", "gain": "{gain:+.2f}", "95 % interval": "{ci_low:+.2f} to {ci_high:+.2f}",
        "p, bootstrap": "{p_bootstrap:.3f}", "p, t-test": "{p_t:.3f}", "by seed": "{by_seed}",
        "boundary": "{boundary_gain:+.2f}", "interior": "{interior_gain:+.2f}",
    },
    "teachers": {
        "n": "{n}", "reads": "{reads}", **{name.replace("_", " "): MEAN.format(name) for name in
        ("last", "best", "foreign_label", "zero_label", "reliance", "label_gain")},
        "seconds": "{seconds:.0f}", "images": "{images:.0f}", "device": "{device}",
    },
}  # fmt: skip
SAID_ONCE = ("dataset", "teacher_network", "student_network", "noise", "reads", "images", "device")  # where every row has the same


def write_table(name: str, table: pd.DataFrame, folder: Path, *, notes: Sequence[str]) -> list[Path]:
    """<name>.csv and <name>.md; byte-identical when rebuilt from the same runs.

    In Markdown a dash stands where no run is complete and a blank where nothing applies; columns that are empty are left out, and
    labels that are the same in every line are said once below.

    Args:
        name: students, gains or teachers.
        notes: sentences under the Markdown table.
    """
    csv, path = write_csv(table, folder / f"{name}.csv"), folder / f"{name}.md"
    cells = pd.DataFrame([_cells(line, SHOWN[name]) for line in table.to_dict("records")])
    found = {column: cells.loc[cells[column] != DASH, column].unique() for column in SAID_ONCE if column in cells}
    same = {column: values[0] if len(values) else "" for column, values in found.items() if len(values) <= 1}
    kept = [column for column in cells if column not in same and cells[column].ne("").any()]
    said = ", ".join(f"{column.replace('_', ' ')} {value}" for column, value in same.items() if value)
    lines = [*([f"Every row: {said}."] if said else []), *notes]
    body = markdown(cells[kept]) if len(cells) else "The matrix has no such row.\n"
    write_text(path, body + "\n" + "\n".join(f"* {line}" for line in lines) + "\n")
    return [csv, path]


def protocol_line(rows: Sequence[Row]) -> str:
    """What the scores are: frames, size, scale and absent classes, per data set."""
    said: dict[str, dict[str, None]] = {}
    for run in complete_runs(rows):
        metrics = run.metrics()
        absent = dict.fromkeys(name for scores in metrics["readings"].values() for name in scores["absent"])
        words = f"{metrics['protocol']}, absent classes: {', '.join(absent) or 'none'}"
        said.setdefault(run.settings.dataset, {})[words] = None
    protocols = [f"{dataset}: {words}" for dataset, texts in said.items() for words in texts]
    return "mIoU in percent, mean ± deviation (ddof 1) over n seeds. " + "; ".join(protocols or ["no run is complete"]) + "."


def interval_line(study: Study, measured: Mapping[str, RegionConfusions], *, draws: int, boundary_width: int) -> str:
    """How the intervals and regions were made."""
    frames = {run.settings.dataset: len(measured[run.run_id].boundary) for run in complete_runs(study.students)}
    drawn = []
    for dataset, count in frames.items():
        together = frames_together(dataset, count)
        drawn.append(f"{dataset}: {count} frames, " + (f"blocks of {together} consecutive ones" if together > 1 else "singly"))
    return (
        f"Gain: paired over the same seeds and frames. Interval: 2.5 to 97.5 percent of {draws} bootstrap draws over seeds and frames, "
        f"crossed ({'; '.join(drawn or ['no run is complete'])}); over three seeds or fewer it is too narrow, the t-test over seeds is "
        "not; with one seed it is over frames alone. "
        f"Boundary: mIoU over pixels with another class within {boundary_width} pixels; interior: over the others."
    )


def _cells(line: dict, shown: Mapping[str, str]) -> dict[str, str]:
    """The Markdown cells of one line, the labels first."""
    n = line["n"]
    count = f"{n} of {line['planned']}" if n < line.get("planned", n) else str(n)
    cells = {name: line[name] for name in LABELS}
    for column, pattern in shown.items():
        text = pattern.format(**line | {"n": count}).replace(" ± nan", "")
        missing = n == 0 and column not in ("n", "over")
        cells[column] = DASH if missing else "" if "nan" in text else text
    return cells
