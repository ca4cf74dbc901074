"""Tables from complete runs, and from nothing else."""

from pathlib import Path

import pandas as pd

from labkit.files import write_text
from labkit.recipes import NOT_IN_THE_RECIPE
from labkit.records import Run

COLUMNS = [
    "role", "method", "reads", "architecture", "encoder", "teacher", "distance", "distill_weights", "split", "steps",
    "miou_mean", "miou_std", "n_seeds", "run_ids",
]  # fmt: skip
METHOD_ORDER = {"none": 0, "kd": 1, "lad": 2}
READING_ORDER = {"image": 0, "true_label": 1, "foreign_label": 2, "zero_label": 3}


def results_table(runs: list[Run]) -> pd.DataFrame:
    """One row per role, method, reading and recipe; mean and deviation over seeds.

    Args:
        runs: complete runs of one data set.

    Returns:
        Columns as in `COLUMNS`. miou in percent; miou_std with ddof 1, blank for one run; run_ids joined by ";".
        teacher = "<method> <architecture> <encoder>" of the teacher; blank fields do not apply.
    """
    rows = [row for run in sorted(runs, key=lambda run: (run.seed, run.run_id)) for row in _rows(run)]
    if not rows:
        return pd.DataFrame(columns=COLUMNS)
    keys = [*COLUMNS[:10], "recipe_hash"]
    once = pd.DataFrame(rows).drop_duplicates([*keys, "seed"])  # the same computation under another id is one run
    grouped = once.groupby(keys, sort=False, dropna=False)
    table = grouped.agg(
        miou_mean=("miou", "mean"), miou_std=("miou", "std"), n_seeds=("seed", "nunique"), run_ids=("run_id", ";".join)
    ).reset_index()
    order = table.assign(
        role=table.role.map({"teacher": 0, "student": 1}), method=table.method.map(METHOD_ORDER), reads=table.reads.map(READING_ORDER)
    )
    return table.loc[order.sort_values(["role", "method", "reads", *keys[3:]]).index, COLUMNS].reset_index(drop=True)


def trials_table(runs: list[Run]) -> pd.DataFrame:
    """One row per run: role, method, the settings in which the runs differ, mIoU of every reading, run id.

    `results_table` cannot tell recipes apart; this can. Settings that do not reach the result (device, folders) are left out.
    """
    rows = []
    for run in sorted(runs, key=lambda run: run.run_id):
        left_out = NOT_IN_THE_RECIPE | run.idle_settings
        settings = {name: value for name, value in run.settings.model_dump().items() if name not in left_out}
        settings |= {"method": run.method, "teacher": run.teacher.run_id if run.teacher else ""}
        scores = {reading: values["miou"] for reading, values in run.metrics()["readings"].items()}
        rows.append({"role": run.role, **settings, **scores, "run_id": run.run_id})
    table = pd.DataFrame(rows)
    always = {"role", "method", "run_id", *READING_ORDER}
    same = [name for name in table if name not in always and table[name].nunique(dropna=True) <= 1]
    last = [name for name in [*READING_ORDER, "run_id"] if name in table]
    return table[[name for name in table if name not in {*same, *last}] + last]


def margins_table(table: pd.DataFrame) -> pd.DataFrame:
    """Differences of means people ask for: columns comparison, miou; blank where several recipes share one of the rows."""
    teachers, students = (table[table.role == role].set_index(["method", "reads"]).miou_mean for role in ("teacher", "student"))
    wanted = [
        ("assisted teacher over plain teacher", teachers, ("lad", "true_label"), ("none", "image")),
        ("reliance: assisted teacher, true minus foreign label", teachers, ("lad", "true_label"), ("lad", "foreign_label")),
        ("label gain: assisted teacher, true minus zero label", teachers, ("lad", "true_label"), ("lad", "zero_label")),
        ("student of the plain teacher over student alone", students, ("kd", "image"), ("none", "image")),
        ("student of the assisted teacher over student alone", students, ("lad", "image"), ("none", "image")),
        ("student of the assisted over student of the plain teacher", students, ("lad", "image"), ("kd", "image")),
    ]
    rows = [
        {"comparison": text, "miou": _only(values, one) - _only(values, other)}
        for text, values, one, other in wanted
        if one in values.index and other in values.index
    ]
    return pd.DataFrame(rows, columns=["comparison", "miou"])


def write_tables(table: pd.DataFrame, folder: Path, *, protocol: str) -> list[Path]:
    """table.csv, and table.md for reading; byte-identical when rebuilt from the same runs."""
    csv, page = folder / "table.csv", folder / "table.md"
    write_csv(table, csv)
    shown = table.drop(columns=["run_ids", *(name for name in ("architecture", "encoder") if table[name].nunique() <= 1)])
    note = f"mIoU in percent, mean and deviation (ddof 1) over seeds; {protocol}."
    write_text(page, f"{markdown(shown)}\n{note}\n\n{markdown(margins_table(table))}")
    return [csv, page]


def _only(values: pd.Series, row: tuple[str, str]) -> float:
    """The mean of a row, NaN where several recipes have it."""
    found = values.loc[[row]]
    return found.iloc[0] if len(found) == 1 else float("nan")


def write_csv(table: pd.DataFrame, path: Path) -> Path:
    """Percent with three decimals, blanks for what does not apply; gives the path back."""
    write_text(path, table.to_csv(index=False, float_format="%.3f"))
    return path


def _rows(run: Run) -> list[dict]:
    settings, metrics = run.settings, run.metrics()
    taught = run.teacher
    common = {
        "role": run.role, "method": run.method, "architecture": settings.architecture, "encoder": settings.encoder,
        "teacher": f"{taught.method} {taught.settings.architecture} {taught.settings.encoder}" if taught else "",
        "distance": settings.distance if taught else "",
        "distill_weights": settings.distill_weights if taught and taught.method == "lad" else "",
        "split": metrics["split"], "steps": metrics["steps"], "recipe_hash": run.recipe_hash, "seed": run.seed, "run_id": run.run_id,
    }  # fmt: skip
    return [common | {"reads": reading, "miou": values["miou"]} for reading, values in metrics["readings"].items()]


def markdown(table: pd.DataFrame) -> str:
    """A table as Markdown: floats with two decimals, blanks for NaN."""
    lines = ["| " + " | ".join(table.columns) + " |", "|" + "---|" * len(table.columns)]
    for row in table.itertuples(index=False):
        lines.append("| " + " | ".join("" if pd.isna(v) else f"{v:.2f}" if isinstance(v, float) else str(v) for v in row) + " |")
    return "\n".join(lines) + "\n"


def summary(table: pd.DataFrame) -> str:
    """The margins in words, as Markdown, each with its sign and the seeds behind it."""
    margins = margins_table(table)
    if margins.empty:
        return "No two rows to compare yet: run the other methods."
    seeds = int(table.n_seeds.min())
    lines = [
        f"* {row.comparison}: " + ("several recipes, see the trials" if pd.isna(row.miou) else f"**{row.miou:+.1f}** mIoU")
        for row in margins.itertuples()
    ]
    caution = "One seed: differences of students below about 2 mean nothing alone." if seeds == 1 else f"Means over {seeds} seeds or more."
    return "\n".join([*lines, "", caution])
