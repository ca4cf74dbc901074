"""Tables as files: CSV with every column, Markdown for reading, and below it how it was made."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from labkit.records.artifacts import write_csv
from labkit.records.files import write_text
from labkit.records.text import markdown_text

DASH = "–"  # no run is complete
MEAN = "{{{0}_mean:.2f}} ± {{{0}_std:.2f}}"
STUDENT_COLUMNS = {
    "n": "{n}",
    "tried": "{tried}",
    "last": MEAN.format("last"),
    "best": MEAN.format("best"),
    "teacher": MEAN.format("teacher"),
    "its reliance": MEAN.format("teacher_reliance"),
    "seconds": "{seconds:.0f}",
    "with teacher": "{total_seconds:.0f}",
    "images": "{images:.0f}",
}
TEACHER_COLUMNS = {
    "n": "{n}",
    "tried": "{tried}",
    "reads": "{reads}",
    "last": MEAN.format("last"),
    "best": MEAN.format("best"),
    "foreign label": MEAN.format("foreign_label"),
    "zero label": MEAN.format("zero_label"),
    "reliance": MEAN.format("reliance"),
    "label gain": MEAN.format("label_gain"),
    "seconds": "{seconds:.0f}",
    "images": "{images:.0f}",
}
GAIN_COLUMNS = {
    "n": "{n}",
    "tried": "{tried}",
    "gain": "{gain:+.2f}",
    "95 %, bootstrap": "{ci_low:+.2f} to {ci_high:+.2f}",
    "95 %, t-test": "{t_low:+.2f} to {t_high:+.2f}",
    "p, bootstrap": "{p_bootstrap:.3f}",
    "p, t-test": "{p_t:.3f}",
    "by seed": "{by_seed}",
    "boundary": "{boundary_gain:+.2f}",
    "interior": "{interior_gain:+.2f}",
}
COLUMNS = {  # Markdown column: pattern filled by a line of the table
    "students": STUDENT_COLUMNS,
    "teachers": TEACHER_COLUMNS,
    "gains": {"over": "{over}", **GAIN_COLUMNS},
    "teacher_gains": {"reads": "{reads}", "over": "{over}, {over_reads}", **GAIN_COLUMNS},
}
NAMES = {"n", "tried", "over", "reads"}  # columns that have a value where no run is complete
READS = {
    "image": "image",
    "true_label": "true label",
    "foreign_label": "foreign label",
    "zero_label": "zero label",
}
ONCE = ("images", "reads", "tried")  # said once below where every row has the same, as labels are


def write_table(table: pd.DataFrame, path: Path) -> Path:
    """Every column as CSV: numbers with three decimals, blank where there is none."""
    rows = ([_csv_cell(value) for value in row] for row in table.itertuples(index=False))
    return write_csv(path, list(table.columns), rows)


def _csv_cell(value: object) -> object:
    if not isinstance(value, float):
        return value
    return None if np.isnan(value) else f"{value:.3f}"


def markdown(table: pd.DataFrame) -> str:
    """A table of text as Markdown; cells are escaped."""
    return markdown_lines(list(table.columns), table.to_numpy().tolist())


def markdown_lines(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Rows of text as a Markdown table; cells are escaped."""
    lines = ["| " + " | ".join(map(markdown_text, titles)) + " |", "|" + "---|" * len(titles)]
    lines += ["| " + " | ".join(markdown_text(str(cell)) for cell in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def study_markdown(name: str, table: pd.DataFrame, *, notes: Sequence[str]) -> str:
    """One table of a study as Markdown, with notes below it.

    A dash stands where no run is complete and a blank where nothing applies; columns without a
    value are left out, and labels that are the same in every line are given once below.

    Args:
        name: students, teachers, gains or teacher_gains.
        table: of `scores` or `gains`.
        notes: sentences, plain text.
    """
    if table.empty:
        body, lines = "There is no such row.\n", []
    else:
        body, lines = _body(name, table)
    return body + "\n" + "".join(f"* {markdown_text(line)}\n" for line in (*lines, *notes))


def write_study_table(
    name: str, table: pd.DataFrame, folder: Path, *, notes: Sequence[str]
) -> list[Path]:
    """<name>.csv and <name>.md; the same bytes when made again from the same runs."""
    path = folder / f"{name}.md"
    write_text(path, study_markdown(name, table, notes=notes))
    return [write_table(table, folder / f"{name}.csv"), path]


def _body(name: str, table: pd.DataFrame) -> tuple[str, list[str]]:
    """The Markdown table, and what is the same in every row in words."""
    labels = list(table.columns[: table.columns.get_loc("over" if "over" in table else "n")])
    cells = pd.DataFrame([_cells(line, labels, COLUMNS[name]) for line in table.to_dict("records")])
    same = {}
    for column in [*(label.replace("_", " ") for label in labels), *ONCE]:
        values = cells.loc[cells[column] != DASH, column].unique() if column in cells else ()
        if len(values) == 1 and column != "method":
            same[column] = values[0]
    empty = [column for column in cells if cells[column].eq("").all()]
    kept = [column for column in cells if column not in same and column not in empty]
    text = ", ".join(f"{column} {value}" for column, value in same.items() if value)
    return markdown(cells[kept]), [f"Every row: {text}."] if text else []


def _cells(line: Mapping, labels: Sequence[str], columns: Mapping[str, str]) -> dict[str, str]:
    """The Markdown cells of one line, labels first."""
    n, planned = line["n"], line.get("planned", line["n"])
    shown = {
        **line,
        "n": f"{n} of {planned}" if n < planned else str(n),
        "tried": line["tried"] or "",
        "reads": READS.get(line.get("reads", ""), ""),
        "over_reads": READS.get(line.get("over_reads", ""), ""),
    }
    cells = {name.replace("_", " "): line[name] for name in labels}
    for column, pattern in columns.items():
        text = pattern.format(**shown).replace(" ± nan", "")
        if column not in NAMES:
            text = DASH if n == 0 else "" if "nan" in text else text
        cells[column] = text
    return cells
