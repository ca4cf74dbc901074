"""A small study, from run folders made by hand."""

from pathlib import Path

from labkit.study.rows import Row, Study
from tests.fake_runs import scored

DRAWS = 40
SCORES = {"alone": (60.0, 62.0, 64.0), "plain": (61.0, 62.5, None), "assisted": (63.0, None, 66.5)}
ASSISTED = {"true_label": 70.0, "foreign_label": 50.0, "zero_label": 55.0}


def labels(**given):
    return {"dataset": "streets", "teacher_network": "", "noise": ""} | given


def small_study(folder: Path) -> Study:
    """Two teachers, and students alone, of plain (two of three seeds), of assisted (two others)."""
    teachers = {"alone": [None] * 3}
    teachers["plain"] = [
        scored(folder, miou={"image": 60.0}, assisted=False, seed=seed) for seed in range(3)
    ]
    teachers["assisted"] = [
        scored(
            folder,
            miou=ASSISTED | {"true_label": 70.0 + seed},
            evaluations=(80.0,),
            near=7,
            seed=seed,
        )
        for seed in range(3)
    ]
    rows = []
    for shift, (method, scores) in enumerate(SCORES.items()):
        runs = {
            seed: scored(
                folder,
                "student",
                miou={"image": miou},
                teacher=teacher,
                near=5 + shift,
                seed=seed,
            )
            if miou
            else None
            for seed, (teacher, miou) in enumerate(zip(teachers[method], scores, strict=True))
        }
        name = method if method == "alone" else f"of {method}"
        row = labels(student_network="unet/a", method=name)
        rows.append(Row(row, runs, baseline=method == "alone"))
    waiting = Row(labels(student_network="unet/a", method="waiting"), dict.fromkeys(range(3)))
    taught = [
        Row(labels(teacher_network="unet/a", method="plain"), dict(enumerate(teachers["plain"]))),
        Row(
            labels(teacher_network="unet/a", method="assisted", noise="class_std=1"),
            dict(enumerate(teachers["assisted"])),
        ),
    ]
    return Study("small", taught, [*rows, waiting], [("of assisted", "of plain")])
