"""Rows, pairs and tables of a study, from run folders and counts made by hand."""

import numpy as np
import pandas as pd
import pytest

from labkit import studies
from labkit.files import write_json, write_text
from labkit.records import RecordError
from labkit.studies import LABELS, RegionConfusions, Row, Study
from labkit.studies.gains import frames_together
from tests.test_records import finished, planned

DRAWS = 40
SCORES = {"alone": (60.0, 62.0, 64.0), "of plain": (61.0, 62.5, None), "of assisted": (63.0, None, 66.5)}
PROTOCOL = "2 frames of val, whole, 64 x 128, single scale, void excluded"


def scored(run, evaluations=(10.0,), protocol=PROTOCOL, **readings):
    """A complete run with these scores; `evaluations` came before the last one."""
    finished(run)
    values = {reading: {"miou": miou, "absent": ["person"]} for reading, miou in readings.items()}
    rows = [{"step": step, "miou": {reading: miou for reading in readings}} for step, miou in enumerate(evaluations)]
    write_text(run.folder / "log.jsonl", "".join(f"{row}\n".replace("'", '"') for row in rows))
    write_json(run.folder / "metrics.json", {"readings": values, "split": "val", "steps": 1, "protocol": protocol})
    run.complete(seconds=100.0 + 10 * run.seed, images_seen=800, device="cpu")
    return run


def labels(**given):
    return dict.fromkeys(LABELS, "") | {"dataset": "streets"} | given


@pytest.fixture
def study(tmp_path):
    """Two teachers, and student alone, of plain (two of three seeds) and of assisted (two others)."""
    plain = [scored(planned(tmp_path, method="none", seed=seed), image=60.0) for seed in range(3)]
    assisted = [
        scored(planned(tmp_path, seed=seed), evaluations=(80.0,), true_label=70.0 + seed, foreign_label=50.0, zero_label=55.0)
        for seed in range(3)
    ]
    rows = []
    for method, taught_by in {"alone": [None] * 3, "of plain": plain, "of assisted": assisted}.items():
        kind = {} if taught_by[0] else {"student": True}
        runs = {
            seed: scored(planned(tmp_path, teacher=teacher, seed=seed, **kind), image=miou) if miou else None
            for seed, (teacher, miou) in enumerate(zip(taught_by, SCORES[method], strict=True))
        }
        rows.append(Row(labels(student_network="unet", method=method), runs, baseline=method == "alone"))
    waiting = Row(labels(student_network="unet", method="waiting"), dict.fromkeys(range(3)))
    teachers = [
        Row(labels(teacher_network="unet", method="plain"), dict(enumerate(plain))),
        Row(labels(teacher_network="unet", method="assisted", noise="class_std=1"), dict(enumerate(assisted))),
    ]
    return Study("small", teachers, [*rows, waiting], [("of assisted", "of plain")])


@pytest.fixture
def measured(study):
    """Two frames of streets per student: road and car, 10 pixels each and region; `hits` of them right near boundaries."""
    found = {}
    for row, shift in zip(study.students, (0, 1, 2, 0), strict=True):
        for run in (run for run in row.runs.values() if run):
            near, inside = np.zeros((2, 2, 8, 8), int)
            for part, hits in ((near, 5 + shift), (inside, 8)):
                part[:, 0, 0] = part[:, 6, 6] = hits
                part[:, 0, 6] = part[:, 6, 0] = 10 - hits
            found[run.run_id] = RegionConfusions(near, inside)
    return found


def test_students_have_mean_deviation_and_compute_of_complete_runs_alone(study):
    table = studies.students_table(study).set_index("method")
    assert list(table.n) == [3, 2, 2, 0]
    assert list(table.planned) == [3, 3, 3, 3]
    assert table.last_mean["alone"] == 62
    assert table.last_std["alone"] == 2
    assert table.last_std["of plain"] == pytest.approx(1.5 / 2**0.5)
    assert table.best_mean["alone"] == 62
    assert table.seconds["of assisted"] == 110  # seeds 0 and 2
    assert table.total_seconds["of assisted"] == 220
    assert (table.teacher_mean["of plain"], table.teacher_mean["of assisted"]) == (60, 71)
    assert (table.teacher_reliance_mean["of assisted"], table.teacher_reliance_std["of assisted"]) == (21, pytest.approx(2**0.5))
    assert pd.isna(table.teacher_mean["alone"])
    assert pd.isna(table.teacher_reliance_mean["of plain"])
    assert table.total_seconds["alone"] == 110
    assert table.images["alone"] == 800
    assert table.device["waiting"] == ""
    assert pd.isna(table.loc["waiting", ["last_mean", "best_mean", "seconds", "images"]].astype(float)).all()


def test_teachers_tell_what_the_label_does_and_best_is_over_all_evaluations(study):
    table = studies.teachers_table(study).set_index("method")
    assert list(table.reads) == ["image", "true_label"]
    assisted = table.loc["assisted"]
    assert (assisted.last_mean, assisted.best_mean) == (71, 80)
    assert (assisted.reliance_mean, assisted.reliance_std, assisted.label_gain_mean) == (21, 1, 16)
    assert pd.isna(table.reliance_mean["plain"])


def test_pairs_are_over_baselines_and_as_asked(study):
    found = [(pair.row.labels["method"], pair.over.labels["method"]) for pair in studies.pairs(study)]
    assert found == [("of plain", "alone"), ("of assisted", "alone"), ("waiting", "alone"), ("of assisted", "of plain")]
    second = Row(labels(student_network="unet", method="compute-matched"), {0: None}, baseline=True)
    other = Row(labels(student_network="fpn", method="of plain"), {0: None})
    more = studies.pairs(study._replace(students=[*study.students, second, other], compare=[]))
    assert [pair.row.labels["method"] for pair in more if pair.over is second] == ["of plain", "of assisted", "waiting"]
    assert [pair.over.labels["method"] for pair in more if pair.row is second] == ["alone"]
    assert not [pair for pair in more if pair.row is other]
    with pytest.raises(ValueError, match=r"'of nobody'; expected one of alone, of plain"):
        studies.pairs(study._replace(compare=[("of nobody", "alone")]))


def test_asked_pairs_agree_in_every_label_both_have(study):
    def taught(method, noise):
        return Row(labels(student_network="unet", method=method, noise=noise), {0: None})

    rows = [taught("fixed", "low"), taught("random", "low"), taught("random", "high"), taught("plain", "")]
    asked = study._replace(students=rows, compare=[("fixed", "random"), ("fixed", "plain")])
    found = [(pair.row.labels["method"], pair.over.labels["noise"]) for pair in studies.pairs(asked)]
    assert found == [("fixed", "low"), ("fixed", "")]


def test_gains_are_over_the_same_seeds_and_regions_add_up(study, measured):
    table = studies.gains_table(study, measured, draws=DRAWS).set_index(["method", "over"])
    assert list(table.n) == [2, 2, 0, 1]
    assert list(table.seeds) == ["0 1", "0 2", "", "0"]
    # hits of 20 per class and frame, of two frames: 13, 14, 15; of 10 near boundaries: 5, 6, 7
    line = table.loc[("of plain", "alone")]
    assert line.gain == pytest.approx(100 * (14 / 26 - 13 / 27))
    assert line.boundary_gain == pytest.approx(100 * (6 / 14 - 5 / 15))
    assert (line.interior_gain, line.interior_low, line.interior_high) == (0, 0, 0)
    assert line.by_seed == "+5.7 +5.7"
    assert line.ci_low == pytest.approx(line.gain)
    assert pd.isna(table.p_t[("of assisted", "of plain")])
    assert pd.isna(table.gain[("waiting", "alone")])


def test_class_gains_name_every_class_and_leave_absent_ones_blank(study, measured):
    table = studies.class_gains_table(study, measured, draws=DRAWS)
    assert set(table.method) == {"of plain", "of assisted"}
    one = table[table.method == "of plain"].set_index("class")
    assert one.gain["road"] == one.gain["car"] == pytest.approx(100 * (14 / 26 - 13 / 27))
    assert pd.isna(one.gain["sky"])
    assert studies.class_gains_table(study._replace(students=[], compare=[]), {}, draws=DRAWS).empty


def test_runs_scored_by_other_protocols_are_not_compared(study, measured):
    run = study.students[1].runs[0]
    write_json(run.folder / "metrics.json", run.metrics() | {"protocol": "9 frames"})
    with pytest.raises(RecordError, match=r"scored on 9 frames.*same val_size"):
        studies.gains_table(study, measured, draws=DRAWS)


def test_markdown_has_dashes_blanks_and_says_constants_once(study, tmp_path):
    notes = [studies.protocol_line(study.students)]
    csv, page = studies.write_table("students", studies.students_table(study), tmp_path, notes=notes)
    lines = page.read_text().splitlines()
    assert lines[0] == "| method | n | last | best | teacher | its reliance | seconds | with teacher |"
    assert lines[3] == "| of plain | 2 of 3 | 61.75 ± 1.06 | 61.75 ± 1.06 | 60.00 ± 0.00 |  | 105 | 210 |"
    assert lines[5] == "| waiting | 0 of 3 | – | – | – | – | – | – |"
    assert "Every row: dataset streets, student network unet, images 800, device cpu." in lines[7]
    assert lines[8].endswith(f"streets: {PROTOCOL}, absent classes: person.")
    assert csv.read_text().startswith("dataset,teacher_network,student_network,noise,method,n,planned,last_mean")
    teachers = studies.write_table("teachers", studies.teachers_table(study), tmp_path, notes=notes)[1].read_text()
    assert "|  | plain | 3 | image | 60.00 ± 0.00 | 60.00 ± 0.00 |  |  |  |  | 110 |" in teachers


def test_one_seed_has_no_deviation_and_no_row_is_said_in_words(study, tmp_path):
    alone = study.students[0]
    single = study._replace(students=[alone._replace(runs={0: alone.runs[0]})], compare=[])
    page = studies.write_table("students", studies.students_table(single), tmp_path, notes=[])[1]
    assert "| alone | 1 | 60.00 | 60.00 |" in page.read_text()
    empty = studies.write_table("gains", studies.gains_table(single, {}, draws=DRAWS), tmp_path, notes=["note"])[1]
    assert empty.read_text() == "The matrix has no such row.\n\n* note\n"


def test_tables_are_byte_identical_when_rebuilt(study, measured, tmp_path):
    notes = [studies.interval_line(study, measured, draws=DRAWS, boundary_width=2)]
    files = [
        [path.read_bytes() for path in studies.write_table("gains", studies.gains_table(study, measured, draws=DRAWS), folder, notes=notes)]
        for folder in (tmp_path / "a", tmp_path / "b")
    ]
    assert files[0] == files[1]
    assert b"40 bootstrap draws over seeds and frames, crossed (streets: 2 frames, singly)" in files[0][1]


def test_frames_of_video_are_drawn_in_blocks():
    assert frames_together("streets", 300) == 1
    assert frames_together("camvid", 101) == 5


def test_a_noise_diagram_needs_both_kinds_of_noise(study):
    table = studies.teachers_table(study)
    assert studies.noise_diagrams(table) == {}
    assert studies.noise_diagrams(table.iloc[:0]) == {}
    noises = ["class_std=0.3, pixel_std=0", "class_std=1, pixel_std=0.1"]
    found = studies.noise_diagrams(table.assign(noise=noises, method="assisted"))
    assert list(found) == ["streets, unet, assisted"]
    cells = found["streets, unet, assisted"]
    assert cells.class_std.tolist() == [0.3, 1]
    assert cells.pixel_std.tolist() == [0, 0.1]
    assert cells.miou.tolist() == [60, 71]
    assert cells.reliance[1] == 21
