"""The method on one frame: what a teacher predicts with and without its label, and its student."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from labkit.attribution.captions import teacher_caption
from labkit.attribution.frames import LEAST_SHARE, run_frames
from labkit.attribution.request import noise_label, scoring_batch
from labkit.attribution.subject import Report
from labkit.errors import RecordError
from labkit.records import Run
from labkit.training.experiment import load_experiment


def hero_report(student: Run, *, category: str, **changes: Any) -> Report:
    """Image, noised label, and predictions of an assisted teacher and its student on one frame.

    Args:
        student: a complete run taught by an assisted teacher.
        category: name of the class that the frame holds; "": see `DatasetInfo.category`.
        changes: device, threads and data_root; empty ones are left as they are.

    Returns:
        A report whose figure is `plots.hero_figure`.

    Raises:
        RecordError: the student has no assisted teacher.
        DataError: no frame holds enough of the class.
    """
    if student.teacher is None or student.teacher.kind != "assisted":
        raise RecordError(
            f"hero_report: run {student.run_id} has no assisted teacher; expected its student."
        )
    changes = {name: value for name, value in changes.items() if value}
    teacher, pupil = (load_experiment(run, **changes) for run in (student.teacher, student))
    category = teacher.info.category(category)
    (frame,) = run_frames(teacher, category=teacher.info.class_id(category), count=1)
    batch = scoring_batch(teacher, teacher.val_split, [frame])
    own_batch = scoring_batch(pupil, teacher.val_split, [frame])
    seed = teacher.settings.seed
    predictions = {
        "teacher, with label": teacher.logits("true_label", batch),
        "teacher, empty label": teacher.logits("zero_label", batch),
        "its student": pupil.logits("image", own_batch),
    }
    name = teacher.val_split.frame_name(frame)
    return Report(
        "hero",
        run=student,
        parameters={"category": category},
        caption=f"Frame {name}, the middle one of those in which {category} fills at least "
        f"{LEAST_SHARE:.0%} of the labelled pixels: predictions with their mIoU on this frame. "
        f"Student: run {student.run_id}. {teacher_caption(teacher)}",
        alt="Image, noised label and label; predictions of teacher with label, teacher without, "
        "and student.",
        figure={
            "image": teacher.val_split[frame].image,
            "target": batch.target[0].cpu(),
            "label_channel": noise_label(teacher, batch.label, batch, seed=seed)[0, 0].cpu(),
            "predictions": {key: logits.argmax(1)[0] for key, logits in predictions.items()},
            "info": teacher.info,
        },
    )


def save_hero(
    runs: Mapping[str, Run],
    folder: Path,
    draw: Callable[..., Figure],
    *,
    parameters: Mapping[str, Any],
    **options: Any,
) -> str:
    """Draw the first student of an assisted teacher and its teacher, and save it as hero.png.

    Args:
        runs: complete runs by the name to show.
        draw: `plots.hero_figure`.
        parameters: of the notebook.
        options: of `hero_report`.

    Returns:
        The file's name, or why there is none.
    """
    students = [run for run in runs.values() if run.kind == "of-assisted" and run.teacher]
    if not students:
        return "hero: not drawn; no student of an assisted teacher is complete."
    report = replace(hero_report(students[0], **options), parameters=dict(parameters))
    return report.save(folder, draw).name
