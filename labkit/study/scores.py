"""Scores and compute of every row: mean and deviation over the seeds that are complete."""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from labkit.records.run import Run
from labkit.study.counts import main_reading, train_frames
from labkit.study.rows import Row, Study, label_names

NOISE = ("class_std", "pixel_std")


def students_table(study: Study) -> pd.DataFrame:
    """A line per student row.

    Returns:
        The labels; n complete of planned seeds; tried (settings tried, 0 = not counted); last_mean,
        last_std (mIoU in percent at the last step, ddof 1, NaN for one run); best_mean, best_std
        (maximum over each run's evaluations: chosen on the frames it is judged by); teacher_mean,
        teacher_std (last mIoU of the teachers), the same of teacher_reliance and
        teacher_label_gain (true minus foreign, true minus zero label; NaN for plain teachers);
        seconds (mean), total_seconds (with the teacher's), images (seen in training, mean),
        train_frames, device, revision, run_ids. NaN and "" where no run is complete.
    """
    scores = {
        "last": last,
        "best": best,
        "teacher": _of_teacher(last),
        "teacher_reliance": _of_teacher(WITH_LABEL["reliance"]),
        "teacher_label_gain": _of_teacher(WITH_LABEL["label_gain"]),
    }
    return _table(study.students, scores)


def teachers_table(study: Study) -> pd.DataFrame:
    """A line per teacher row: as `students_table`, and the effect of the label.

    Returns:
        Also reads ("true_label" for an assisted teacher, else "image": what last and best were
        scored with) and, for assisted ones, means and deviations of foreign_label, zero_label,
        reliance (true minus foreign) and label_gain (true minus zero).
    """
    table = _table(study.teachers, {"last": last, "best": best, **WITH_LABEL})
    reads = [main_reading(row.complete[0]) if row.complete else "" for row in study.teachers]
    if len(table):
        table.insert(table.columns.get_loc("last_mean"), "reads", reads)
    return table


def noise_diagrams(teachers: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Class-code std against pixel-noise std, for every kind of teacher whose rows vary both.

    Args:
        teachers: of `teachers_table`; noise labels like "class_std=0.3, pixel_std=0.1".

    Returns:
        By the other labels in words: columns class_std, pixel_std, miou (true label), reliance;
        NaN where no run is complete.
    """
    rows = []
    for line in teachers.to_dict("records"):
        parts = [part.partition("=") for part in line["noise"].split(",")]
        noise = {name.strip(): value.strip() for name, _, value in parts}
        if not all(name in noise for name in NOISE):
            continue
        others = [f"{name} {value}" for name, value in noise.items() if name not in NOISE]
        size = f"{line['train_size']} training images" if line.get("train_size") else ""
        kind = [line["dataset"], line["teacher_network"], line["method"], size, *others]
        cell = {name: float(noise[name]) for name in NOISE}
        cell |= {"miou": line["last_mean"], "reliance": line["reliance_mean"]}
        rows.append({"kind": ", ".join(filter(None, kind))} | cell)
    if not rows:
        return {}
    grouped = pd.DataFrame(rows).groupby("kind", sort=False)
    return {
        kind: cells.drop(columns="kind").reset_index(drop=True)
        for kind, cells in grouped
        if all(cells[name].nunique() > 1 for name in NOISE)
    }


def learning_curves(study: Study) -> pd.DataFrame:
    """mIoU along training, mean over the seeds that have an evaluation at the step.

    Returns:
        A line per row and step: the labels, role, reads, step, n, miou, low, high (over the seeds).
    """
    lines = []
    names = label_names([*study.teachers, *study.students])
    for role, rows in (("teacher", study.teachers), ("student", study.students)):
        for row in rows:
            labels = labels_of(row, names) | {"role": role}
            labels["reads"] = main_reading(row.complete[0]) if row.complete else ""
            by_step: dict[int, list[float]] = {}
            for run in row.complete:
                for step, miou in evaluations(run).items():
                    by_step.setdefault(step, []).append(miou)
            for step, values in sorted(by_step.items()):
                spread = {"miou": np.mean(values), "low": min(values), "high": max(values)}
                lines.append(labels | {"step": step, "n": len(values)} | spread)
    columns = [*names, "role", "reads", "step", "n", "miou", "low", "high"]
    return pd.DataFrame(lines, columns=columns)


def labels_of(row: Row, names: Sequence[str]) -> dict[str, str]:
    """The row's labels by column; "" where it has none."""
    return {name: row.labels.get(name, "") for name in names} | {"taught_by": row.taught_by}


def evaluations(run: Run) -> dict[int, float]:
    """mIoU by step, of the run's evaluations along training and at its end."""
    reading = main_reading(run)
    rows = [row for row in run.log_rows() if isinstance(row.get("miou"), dict)]
    rows = [row for row in rows if _is_number(row["miou"].get(reading))]
    by_step = {row["step"]: row["miou"][reading] for row in rows}
    return by_step | {run.metrics()["steps"]: last(run)}


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def last(run: Run) -> float:
    """mIoU at the last step: with the true label where the run reads one."""
    return _of(main_reading(run))(run)


def best(run: Run) -> float:
    """The highest of the run's evaluations."""
    return max(round(miou, 3) for miou in evaluations(run).values())


def _of(reading: str) -> Callable[[Run], float]:
    def miou(run: Run) -> float:
        value = run.metrics()["readings"].get(reading, {}).get("miou")
        return np.nan if value is None else value

    return miou


def _true_minus(reading: str) -> Callable[[Run], float]:
    """NaN for a run that reads no label."""
    return lambda run: _of("true_label")(run) - _of(reading)(run)


def _of_teacher(value: Callable[[Run], float]) -> Callable[[Run], float]:
    """The value of the run's teacher; NaN for a student alone."""
    return lambda run: value(run.teacher) if run.teacher else np.nan


WITH_LABEL = {
    "foreign_label": _of("foreign_label"),
    "zero_label": _of("zero_label"),
    "reliance": _true_minus("foreign_label"),
    "label_gain": _true_minus("zero_label"),
}


def _table(rows: Sequence[Row], scores: dict[str, Callable[[Run], float]]) -> pd.DataFrame:
    names = label_names(rows)
    lines = []
    for row in rows:
        line = labels_of(row, names)
        line |= {"n": len(row.complete), "planned": len(row.runs), "tried": row.tried}
        for name, value in scores.items():
            values = pd.Series([value(run) for run in row.complete], dtype=float)
            line |= {f"{name}_mean": values.mean(), f"{name}_std": values.std()}
        lines.append(line | _compute(row.complete))
    return pd.DataFrame(lines)


def _compute(runs: Sequence[Run]) -> dict:
    """What the runs cost and where they were made; means over runs."""
    own = [fact(run, "seconds") for run in runs]
    taught = [fact(run.teacher, "seconds") if run.identity["teacher"] else 0 for run in runs]
    return {
        "seconds": _mean(own),
        "total_seconds": _mean([sum(pair) for pair in zip(own, taught, strict=True)]),
        "images": _mean([fact(run, "images_seen") for run in runs]),
        "train_frames": _mean([train_frames(run) for run in runs]),
        "device": "+".join(sorted({device_of(run) for run in runs})),
        "revision": "+".join(sorted({revision_of(run) for run in runs})),
        "run_ids": ";".join(run.run_id for run in runs),
    }


def fact(run: Run | None, name: str) -> float:
    """A number the run's manifest records; NaN where there is none."""
    value = run.manifest().get("facts", {}).get(name) if run else None
    return float(value) if isinstance(value, int | float) else np.nan


def device_of(run: Run) -> str:
    """Name of the device the run was trained on."""
    origin = run.manifest().get("provenance", {})
    return str(origin.get("device_name") or origin.get("device", ""))


def revision_of(run: Run) -> str:
    """Short source revision the run was made by, with + where files differed from it."""
    origin = run.manifest().get("provenance", {})
    revision = str(origin.get("revision", ""))
    short = revision if revision.startswith("package-") else revision[:10]
    return short + ("+" if origin.get("dirty") else "")


def _mean(values: Sequence[float]) -> float:
    return float(sum(values) / len(values)) if values else np.nan
