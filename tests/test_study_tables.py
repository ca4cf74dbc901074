"""Rows, pairs and tables of a study, from run folders made by hand."""

import json

import pandas as pd
import pytest

from labkit.errors import RecordError, SettingsError
from labkit.study.build import study_tables, write_tables
from labkit.study.counts import frames_per_block
from labkit.study.gains import (
    Resampler,
    area_gains_table,
    class_gains_table,
    gains_table,
    teacher_gains_table,
)
from labkit.study.rows import Row, Study, student_pairs, teacher_pairs
from labkit.study.scores import (
    evaluations,
    learning_curves,
    noise_diagrams,
    students_table,
    teachers_table,
)
from tests.fake_runs import PROTOCOL, scored
from tests.small_study import DRAWS, labels, small_study


@pytest.fixture
def study(tmp_path):
    return small_study(tmp_path)


def names_of(pairs):
    return [(pair.row.method, pair.over.method) for pair in pairs]


def test_students_have_mean_deviation_and_compute_of_complete_runs_alone(study):
    table = students_table(study).set_index("method")
    assert list(table.n) == [3, 2, 2, 0]
    assert list(table.planned) == [3, 3, 3, 3]
    assert list(table.taught_by) == ["nobody", "plain", "assisted", ""]
    assert (table.last_mean["alone"], table.last_std["alone"]) == (62, 2)
    assert table.last_std["of plain"] == pytest.approx(1.5 / 2**0.5)
    assert table.best_mean["alone"] == 62
    assert table.seconds["of assisted"] == 110  # seeds 0 and 2
    assert table.total_seconds["of assisted"] == 220
    assert table.total_seconds["alone"] == 110
    assert (table.teacher_mean["of plain"], table.teacher_mean["of assisted"]) == (60, 71)
    assert table.teacher_reliance_mean["of assisted"] == 21
    assert table.teacher_reliance_std["of assisted"] == pytest.approx(2**0.5)
    assert pd.isna(table.teacher_mean["alone"])
    assert pd.isna(table.teacher_reliance_mean["of plain"])
    assert table.teacher_label_gain_mean["of assisted"] == 16
    assert table.images["alone"] == 800
    assert table.device["waiting"] == ""
    blank = table.loc["waiting", ["last_mean", "best_mean", "seconds", "images"]]
    assert pd.isna(blank.astype(float)).all()


def test_teachers_have_the_effect_of_the_label_and_the_best_of_all_evaluations(study):
    table = teachers_table(study).set_index("method")
    assert list(table.reads) == ["image", "true_label"]
    assisted = table.loc["assisted"]
    assert (assisted.last_mean, assisted.best_mean) == (71, 80)
    assert (assisted.reliance_mean, assisted.reliance_std, assisted.label_gain_mean) == (21, 1, 16)
    assert pd.isna(table.reliance_mean["plain"])


def test_pairs_are_over_baselines_and_as_asked(study):
    asked = ("of assisted", "of plain")
    baselines = [(name, "alone") for name in ("of plain", "of assisted", "waiting")]
    assert names_of(student_pairs(study)) == [*baselines, asked]
    second = Row(labels(student_network="unet/a", method="matched"), {0: None}, baseline=True)
    other = Row(labels(student_network="fpn/a", method="of plain"), {0: None})
    more = student_pairs(study._replace(students=[*study.students, second, other], compare=[]))
    over_second = [pair.row.method for pair in more if pair.over is second]
    assert over_second == ["of plain", "of assisted", "waiting"]
    assert [pair.over.method for pair in more if pair.row is second] == ["alone"]
    assert not [pair for pair in more if pair.row is other]
    with pytest.raises(SettingsError, match="'of nobody'"):
        student_pairs(study._replace(compare=[("of nobody", "alone")]))


def test_asked_pairs_agree_in_every_label_both_have(study):
    def taught(method, noise):
        return Row(labels(student_network="unet/a", method=method, noise=noise), {0: None})

    rows = [taught("fixed", "low"), taught("random", "low"), taught("random", "high")]
    rows.append(taught("plain", ""))
    asked = study._replace(students=rows, compare=[("fixed", "random"), ("fixed", "plain")])
    pairs = [(pair.row.method, pair.over.labels["noise"]) for pair in student_pairs(asked)]
    assert pairs == [("fixed", "low"), ("fixed", "")]


def test_students_of_other_amounts_of_data_are_not_compared(tmp_path):
    few, all_ = (
        Row(
            labels(student_network="unet/a", method=f"alone, {size}"),
            {0: scored(tmp_path, "student", miou={"image": 50.0}, train_size=size)},
            baseline=True,
        )
        for size in (50, 0)
    )
    assert student_pairs(Study("", [], [few, all_])) == []


def test_gains_are_over_the_same_seeds_and_regions_add_up(study):
    table = gains_table(study, Resampler(DRAWS)).set_index(["method", "over"])
    assert list(table.n) == [2, 2, 0, 1]
    # hits of 20 per class and frame, of two frames: 13, 14, 15; of 10 near boundaries: 5, 6, 7
    line = table.loc[("of plain", "alone")]
    assert line.gain == pytest.approx(100 * (14 / 26 - 13 / 27))
    assert line.boundary_gain == pytest.approx(100 * (6 / 14 - 5 / 15))
    assert (line.interior_gain, line.interior_low, line.interior_high) == (0, 0, 0)
    assert line.by_seed == "0: +5.70, 1: +5.70"
    assert line.ci_low == pytest.approx(line.gain)
    assert pd.isna(line.train_frames)  # all of a set of any size
    assert pd.isna(table.p_t[("of assisted", "of plain")])
    assert pd.isna(table.gain[("waiting", "alone")])


def test_an_assisted_teacher_is_compared_with_the_plain_one_and_with_itself(study):
    pairs = teacher_pairs(study)
    assert [pair.over_reading for pair in pairs] == ["image", "foreign_label", "zero_label"]
    table = teacher_gains_table(study, Resampler(DRAWS))
    assert list(table.over) == ["plain", "assisted", "assisted"]
    assert table.gain[0] == pytest.approx(100 * (15 / 25 - 13 / 27))  # near: 7 of 10 against 5
    assert table.n.tolist() == [3, 3, 3]


def test_class_gains_name_every_class_and_leave_absent_ones_blank(study):
    table = class_gains_table(study, Resampler(DRAWS))
    assert set(table.method) == {"of plain", "of assisted"}
    one = table[table.method == "of plain"].set_index("class")
    assert one.gain["road"] == one.gain["car"] == pytest.approx(100 * (14 / 26 - 13 / 27))
    assert pd.isna(one.gain["sky"])
    assert one.pixels.sum() == pytest.approx(100)
    assert pd.isna(one.boundary["sky"])
    assert one.boundary["road"] == one.boundary["car"] == 50
    empty = study._replace(students=[], compare=[])
    assert class_gains_table(empty, Resampler(DRAWS)).empty


def test_gains_by_area_are_over_the_first_baseline_and_blank_where_no_class_has_it(study):
    table = area_gains_table(study, Resampler(DRAWS))
    assert set(table.method) == {"of plain", "of assisted"}
    assert set(table.over) == {"alone"}
    of_plain = table[table.method == "of plain"].set_index("area")
    assert of_plain.gain["16 and more"] == pytest.approx(100 * (14 / 26 - 13 / 27))  # road and car
    assert of_plain.pixels.tolist() == [0, 0, 0, 0, 100]
    assert of_plain.gain[:4].isna().all()
    empty = study._replace(students=[], compare=[])
    assert area_gains_table(empty, Resampler(DRAWS)).empty


@pytest.mark.parametrize(
    ("other", "fault"),
    [
        ({"protocol": "9 frames"}, r"scored on 9 frames.*same dataset"),
        ({"labelled": 12}, "labels"),
        ({"boundary_width": 3}, r"boundary_width 3.*boundary_width 2"),
    ],
)
def test_runs_scored_otherwise_are_refused_by_name(study, tmp_path, other, fault):
    first = scored(tmp_path / "other", "student", miou={"image": 60.0}, train_steps=7, **other)
    row = study.students[1]._replace(runs={0: first})
    with pytest.raises(RecordError, match=fault) as refused:
        gains_table(study._replace(students=[study.students[0], row], compare=[]), Resampler(DRAWS))
    assert first.run_id in str(refused.value)
    assert study.students[0].runs[0].run_id in str(refused.value)


def test_markdown_has_dashes_blanks_and_constants_once(study):
    lines = study_tables(study, draws=DRAWS).markdown("students").splitlines()
    title = "| taught by | method | n | last | best | teacher | its reliance | seconds |"
    assert lines[0].startswith(title)
    assert lines[3].startswith("| plain | of plain | 2 of 3 | 61.75 ± 1.06 | 61.75 ± 1.06 | 60.00")
    assert lines[5] == "|  | waiting | 0 of 3 | – | – | – | – | – | – |"
    text = "\n".join(lines)
    assert "Every row: dataset streets, student network unet/a, images 800." in text
    assert f"streets: {PROTOCOL}, absent classes: sky." in text
    assert "by revision" in text


def test_names_from_a_matrix_file_act_neither_in_markdown_nor_in_csv(study, tmp_path):
    row = study.students[1]
    hostile = row._replace(labels=row.labels | {"method": "=a|b<script>`x`"})
    tables = study_tables(Study("t", [], [study.students[0], hostile]), draws=DRAWS)
    assert r"=a\|b&lt;script&gt;\`x\`" in tables.markdown("gains")
    files = write_tables(tables, tmp_path / "figures", parameters={})
    csv = next(path for path in files if path.name == "gains.csv").read_text(encoding="utf-8")
    assert "'=a|b" in csv


def test_a_row_may_be_called_by_any_name(study):
    alone = study.students[0]
    dominant = alone._replace(labels=alone.labels | {"method": "dominant"})
    tables = study_tables(Study("", [], [dominant, study.students[1]]), draws=DRAWS)
    assert "| of plain | dominant | 2 |" in tables.markdown("gains")


def test_a_study_without_complete_runs_has_dashes_and_no_gain(study):
    row = Row(labels(student_network="unet/a", method="alone"), {0: None}, baseline=True)
    tables = study_tables(Study("", [], [row]), draws=DRAWS)
    assert "| alone | 0 of 1 | – |" in tables.markdown("students")
    assert tables.markdown("gains").startswith("There is no such row.")
    assert "No two complete rows" in tables.margins()


def test_settings_tried_are_given_where_they_are_counted(study):
    def markdown(*tried):
        rows = zip(study.students, tried, strict=True)
        students = [row._replace(tried=number) for row, number in rows]
        tables = study_tables(study._replace(students=students), draws=DRAWS)
        return tables.markdown("students")

    assert "tried" not in markdown(0, 0, 0, 0)
    assert "| tried |" in markdown(1, 4, 4, 4)
    assert "tried 4." in markdown(4, 4, 4, 4)


def test_tables_are_byte_identical_when_made_again(study, tmp_path):
    written = []
    for folder in (tmp_path / "a", tmp_path / "b"):
        files = write_tables(study_tables(study, draws=DRAWS), folder, parameters={"draws": DRAWS})
        written.append({path.name: path.read_bytes() for path in files})
        written[-1]["MANIFEST.json"] = (folder / "MANIFEST.json").read_bytes()
    assert written[0] == written[1]
    assert {"teachers.md", "teacher_gains.csv", "gains.md", "class_gains.csv"} <= set(written[0])
    assert b"40 bootstrap draws over seeds and frames, crossed" in written[0]["gains.md"]


def test_frames_of_video_are_drawn_in_blocks(tmp_path, study):
    camvid = scored(tmp_path, "student", miou={"image": 30.0}, dataset="camvid")
    assert frames_per_block(study.students[0].runs[0], 300) == 1
    assert frames_per_block(camvid, 101) == 5


def test_learning_curves_are_means_over_seeds_with_their_range(study):
    curves = learning_curves(study)
    alone = curves[(curves.method == "alone") & (curves.role == "student")]
    assert alone.step.tolist() == [100, 1200]
    assert alone.miou.tolist() == [10, 62]
    assert (alone.low.iloc[1], alone.high.iloc[1]) == (60, 64)


@pytest.mark.parametrize("miou", [None, 50.0, "image", {"image": "x"}, {"image": None}])
def test_a_log_row_without_a_score_is_no_evaluation(study, miou):
    run = study.students[0].runs[0]
    with (run.folder / "log.jsonl").open("a", encoding="utf-8") as log:
        log.write(json.dumps({"step": 500, "miou": miou}) + "\n")
    assert evaluations(run) == {100: 10, 1200: 60}


def test_a_noise_diagram_needs_both_kinds_of_noise(study):
    table = teachers_table(study)
    assert noise_diagrams(table) == {}
    assert noise_diagrams(table.iloc[:0]) == {}
    noises = ["class_std=0.3, pixel_std=0", "class_std=1, pixel_std=0.1"]
    diagrams = noise_diagrams(table.assign(noise=noises, method="assisted"))
    (cells,) = diagrams.values()
    assert list(diagrams) == ["streets, unet/a, assisted"]
    assert cells.class_std.tolist() == [0.3, 1]
    assert cells.pixel_std.tolist() == [0, 0.1]
    assert cells.miou.tolist() == [60, 71]
    assert cells.reliance[1] == 21
