"""Figures of a study: each saved with its record by one call, none where there is nothing."""

import json
from dataclasses import replace

import matplotlib.pyplot as plt
import pandas as pd
import pytest

from labkit.plots import study as plots
from labkit.plots import study_lines, study_maps
from labkit.records.artifacts import figures_manifest, record_artifact, write_csv, write_records
from labkit.study import figures
from labkit.study.build import study_tables, write_tables
from labkit.study.figures import DRAWINGS, one_of_each_kind, save_study_figure
from labkit.study.rows import Row, Study, complete_runs
from labkit.study.scores import noise_diagrams, teachers_table
from tests.fake_runs import scored

DRAW = {
    "teacher_gains": plots.gains_figure,
    "gains": plots.gains_figure,
    "label_use": plots.label_use_figure,
    "class_gains": study_maps.class_gains_figure,
    "region_gains": plots.region_gains_figure,
    "area_gains": study_lines.area_gains_figure,
    "size_gains": study_lines.size_gains_figure,
    "learning_curves": study_lines.learning_curves_figure,
    "overview": study_maps.overview_figure,
    "noise_diagram": study_maps.noise_diagram_figure,
}


@pytest.fixture(autouse=True)
def no_figure_left():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Plain and assisted teachers of two noises, and students alone and taught, of two sizes."""
    runs = tmp_path_factory.mktemp("runs")
    noise, sizes = ((0.3, 0.0), (0.3, 0.1), (1.0, 0.0), (1.0, 0.1)), (50, 100)
    plain = scored(runs, miou={"image": 60.0}, assisted=False)
    readings = {"true_label": 70.0, "zero_label": 55.0}
    assisted = [
        scored(
            runs, miou={**readings, "foreign_label": 50.0 + code + pixel},
            class_std=code, pixel_std=pixel, near=7,
        )
        for code, pixel in noise
    ]  # fmt: skip
    teachers = [Row({"dataset": "streets", "method": "plain"}, {0: plain})]
    for (code, pixel), run in zip(noise, assisted, strict=True):
        text = f"class_std={code}, pixel_std={pixel}"
        labels = {"dataset": "streets", "method": "assisted", "noise": text}
        teachers.append(Row(labels, {0: run}))
    students = []
    for size in sizes:
        labels = {"dataset": "streets", "train_size": str(size)}
        options = {"role": "student", "miou": {"image": 50.0}, "train_size": size}
        alone, taught = scored(runs, **options), scored(runs, teacher=plain, near=6, **options)
        students.append(Row(labels | {"method": "alone"}, {0: alone}, baseline=True))
        students.append(Row(labels | {"method": "of plain"}, {0: taught}))
    for number, teacher in enumerate(assisted):
        taught = scored(runs, teacher=teacher, near=6, **options)
        students.append(Row(labels | {"method": f"of assisted {number}"}, {0: taught}))
    return Study("small", teachers, students)


@pytest.mark.parametrize("name", DRAWINGS)
def test_every_figure_is_saved_with_its_caption_and_runs(study, tmp_path, name):
    tables = study_tables(study, draws=20)
    files = save_study_figure(tables, name, tmp_path, DRAW[name], parameters={"draws": 20})
    manifest = json.loads((tmp_path / "MANIFEST.json").read_text(encoding="utf-8"))["files"]
    for file in files.split(", "):
        entry = manifest[file]
        assert "2 frames of val" in entry["caption"]
        assert entry["alt"]
        assert len(entry["runs"]) == 13
        assert (tmp_path / file).with_suffix(".pdf").is_file()


def test_curves_and_areas_have_a_figure_for_each_training_set_size(study):
    tables = study_tables(study, draws=20)
    curves, areas = DRAWINGS["learning_curves"](tables), DRAWINGS["area_gains"](tables)
    assert [drawing.suffix for drawing in curves] == ["_50", "_100"]
    assert [drawing.suffix for drawing in areas] == ["_streets_50", "_streets_100"]
    for drawing in (*curves, *areas):
        size = drawing.suffix.split("_")[-1]
        assert drawing.caption.startswith(f"{size} training images. ")
        (lines,) = drawing.arguments
        assert set(lines.train_size) - {""} == {size}
    roles = curves[0].arguments[0].role
    assert set(roles) == {"teacher", "student"}  # teachers of no size are in both


def test_a_study_without_complete_runs_saves_nothing(tmp_path):
    rows = [Row({"dataset": "streets", "method": "alone"}, {0: None}, baseline=True)]
    tables = study_tables(Study("empty", [], rows), draws=20)
    for name, draw in DRAW.items():
        text = save_study_figure(tables, name, tmp_path, draw, parameters={})
        assert text.startswith(f"{name}: not drawn; it needs")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["region_gains", "size_gains", "label_use"])
def test_nothing_is_drawn_while_no_row_has_its_first_baseline(study, tmp_path, name):
    tables = study_tables(study, draws=20)
    gains = tables.gains.assign(over="another student")
    waiting = tables.gains.assign(gain=None, boundary_gain=None, interior_gain=None)
    changed = replace(tables, gains=pd.concat([waiting, gains]))
    text = save_study_figure(changed, name, tmp_path, DRAW[name], parameters={})
    assert text.startswith(f"{name}: not drawn; it needs")


@pytest.mark.parametrize(("name", "most"), [("learning_curves", "CURVES"), ("gains", "GAINS")])
def test_more_rows_than_can_be_told_apart_are_not_drawn(study, tmp_path, monkeypatch, name, most):
    monkeypatch.setattr(figures, f"MOST_{most}", 4)
    tables = study_tables(study, draws=20)
    text = save_study_figure(tables, name, tmp_path, DRAW[name], parameters={})
    assert text.startswith(f"{name}: not drawn; it needs")


def test_one_run_of_each_kind_is_shown(study):
    runs = one_of_each_kind(study)
    names = ["plain teacher", "assisted teacher", "student alone", "student of plain"]
    names.append("student of assisted")
    assert list(runs) == names
    assert runs["student alone"].settings.train_size == 50


def test_noise_diagrams_of_several_training_sizes_are_apart(study):
    noises = [f"class_std={c}, pixel_std={p}" for c in (0.3, 1) for p in (0, 0.1)]
    line = teachers_table(study).iloc[1:2]
    table = pd.concat(
        line.assign(noise=noise, train_size=size) for size in ("50", "100") for noise in noises
    )
    diagrams = noise_diagrams(table)
    assert [kind.split(", ")[-1] for kind in diagrams] == [
        "50 training images",
        "100 training images",
    ]
    for cells in diagrams.values():
        study_maps.noise_diagram_figure(cells)


def test_files_that_a_matrix_no_longer_yields_are_removed(study, tmp_path):
    folder, given = tmp_path / "figures", {"parameters": {"matrix": "a.yaml"}}
    runs = complete_runs(study)
    gone = scored(tmp_path / "runs", miou={"image": 61.0}, assisted=False, seed=9)
    before = {"earlier.csv": [*runs, gone], "picture.csv": runs[:2]}  # of a run that left; of two
    for name, of in before.items():
        path = write_csv(folder / name, ["a"], [[1]])
        record_artifact(path, caption="", runs=of, **given)
    other = write_csv(folder / "other.csv", ["a"], [[1]])
    record_artifact(other, caption="", runs=[gone], parameters={"matrix": "b.yaml"})
    files = write_tables(study_tables(study, draws=20), folder, **given)
    write_records(runs, folder)
    made = {path.name for path in files} | {"picture.csv", "other.csv"}
    assert figures_manifest(folder)["files"].keys() == made
    assert {path.name for path in folder.glob("*.csv")} == {n for n in made if n.endswith(".csv")}
