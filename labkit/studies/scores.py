"""Scores and compute of every row, mean and deviation over the seeds that are complete."""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from labkit.records import Run
from labkit.studies.rows import LABELS, Row, Study

NOISE = ("class_std", "pixel_std")


def students_table(study: Study) -> pd.DataFrame:
    """A line per student row.

    Returns:
        The labels; n complete of planned seeds; last_mean, last_std (mIoU in percent at the last step, ddof 1, NaN for one run);
        best_mean, best_std (over each run's evaluations: it looks at the frames it is judged by); teacher_mean, teacher_std (the last
        mIoU of those who taught) and teacher_reliance_mean, teacher_reliance_std; seconds (mean), total_seconds
        (with the teacher's), images (seen in training, mean), device; run_ids. NaN and "" where no run is complete.
    """
    shown = {"last": last, "best": best, "teacher": _of_teacher(last), "teacher_reliance": _of_teacher(WITH_LABEL["reliance"])}
    rows = []
    for row in study.students:
        scores = [_spread(name, row, value) for name, value in shown.items()]
        rows.append(_counted(row) | {name: value for spread in scores for name, value in spread.items()} | _compute(row))
    return pd.DataFrame(rows)


def teachers_table(study: Study) -> pd.DataFrame:
    """A line per teacher row: as `students_table`, and what the label does.

    Returns:
        Also reads ("true_label" for an assisted teacher, else "image": what last and best were scored with) and, for assisted ones,
        means and deviations of foreign_label, zero_label, reliance (true minus foreign) and label_gain (true minus zero).
    """
    rows = []
    for row in study.teachers:
        found = [run for run in row.runs.values() if run]
        scores = _spread("last", row, last) | _spread("best", row, best)
        for name, value in WITH_LABEL.items():
            scores |= _spread(name, row, value)
        rows.append(_counted(row) | {"reads": _reading(found[0]) if found else ""} | scores | _compute(row))
    return pd.DataFrame(rows)


def noise_diagrams(teachers: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Class-weight std against pixel-noise std, per kind of teacher whose rows vary both.

    Args:
        teachers: of `teachers_table`; noise labels like "class_std=0.3, pixel_std=0.1".

    Returns:
        By the other labels in words: columns class_std, pixel_std, miou (true label), reliance; NaN where no run is complete.
    """
    if teachers.empty:
        return {}
    rows = []
    for line in teachers.itertuples():
        noise = dict(part.strip().split("=", 1) for part in line.noise.split(",") if "=" in part)
        if all(name in noise for name in NOISE):
            others = [f"{name} {value}" for name, value in noise.items() if name not in NOISE]
            kind = ", ".join(filter(None, [line.dataset, line.teacher_network, line.method, *others]))
            values = {name: float(noise[name]) for name in NOISE}
            rows.append({"kind": kind, **values, "miou": line.last_mean, "reliance": line.reliance_mean})
    if not rows:
        return {}
    grouped = pd.DataFrame(rows).groupby("kind", sort=False)
    return {kind: cells.drop(columns="kind") for kind, cells in grouped if all(cells[name].nunique() > 1 for name in NOISE)}


def last(run: Run) -> float:
    """mIoU at the last step: with the true label where the run reads one."""
    return run.metrics()["readings"][_reading(run)]["miou"]


def best(run: Run) -> float:
    """The highest of the run's evaluations, the last one among them."""
    evaluations = [row["miou"][_reading(run)] for row in run.log_rows() if "miou" in row]
    return max([last(run), *(round(value, 3) for value in evaluations)])


def _reading(run: Run) -> str:
    return "true_label" if "true_label" in run.metrics()["readings"] else "image"


def _of(reading: str) -> Callable[[Run], float]:
    return lambda run: run.metrics()["readings"].get(reading, {}).get("miou", np.nan)


def _over(reading: str) -> Callable[[Run], float]:
    """True label minus another reading; NaN for a run that reads no label."""
    return lambda run: _of("true_label")(run) - _of(reading)(run)


def _of_teacher(value: Callable[[Run], float]) -> Callable[[Run], float]:
    """The same of the run that taught; NaN for a student alone."""
    return lambda run: value(run.teacher) if run.teacher else np.nan


WITH_LABEL = {
    "foreign_label": _of("foreign_label"), "zero_label": _of("zero_label"),
    "reliance": _over("foreign_label"), "label_gain": _over("zero_label"),
}  # fmt: skip


def _counted(row: Row) -> dict:
    runs = list(row.runs.values())
    return {name: row.labels[name] for name in LABELS} | {"n": len(runs) - runs.count(None), "planned": len(runs)}


def _spread(name: str, row: Row, value: Callable[[Run], float]) -> dict[str, float]:
    found = pd.Series([value(run) for run in row.runs.values() if run], dtype=float)
    return {f"{name}_mean": found.mean(), f"{name}_std": found.std()}


def _compute(row: Row) -> dict:
    found = [run for run in row.runs.values() if run]
    manifests = [run.manifest() for run in found]
    own = [manifest["seconds"] for manifest in manifests]
    taught = [run.teacher.manifest()["seconds"] if run.teacher else 0 for run in found]
    return {
        "seconds": _mean(own), "total_seconds": _mean([sum(pair) for pair in zip(own, taught, strict=True)]),
        "images": _mean([manifest["images_seen"] for manifest in manifests]),
        "device": "+".join(sorted({manifest["device"] for manifest in manifests})), "run_ids": ";".join(run.run_id for run in found),
    }  # fmt: skip


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else np.nan
