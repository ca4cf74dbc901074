"""Damaged runs are named, all at once, and left out; sound ones beside them stay usable."""

import json
import shutil

import pytest

from labkit.errors import RecordError
from labkit.records import find_run, load_run, scan, scan_runs, start_run, write_json
from tests.runs import finish, made, planned


@pytest.fixture
def runs(tmp_path):
    """Three complete teachers of one recipe."""
    return [made(tmp_path, seed=seed) for seed in range(3)]


def edit(name, change):
    """A function that changes a JSON file of a run folder."""

    def apply(folder):
        values = json.loads((folder / name).read_text())
        change(values)
        write_json(folder / name, values)

    return apply


def write(name, text):
    return lambda folder: (folder / name).write_text(text, encoding="utf-8")


DAMAGE = {
    "no JSON": write("manifest.json", "{"),
    "a list": write("manifest.json", "[]"),
    "nested": write("manifest.json", '{"a":' * 100_000),
    "a web app's": write("manifest.json", '{"name": "app", "icons": []}'),
    "empty": write("manifest.json", ""),
    "missing key": edit("manifest.json", lambda values: values.pop("seed")),
    "wrong type": edit("manifest.json", lambda values: values.update(seed="0")),
    "unknown key": edit("manifest.json", lambda values: values.update(html="<script>")),
    "path as id": edit("manifest.json", lambda values: values.update(run_id="../../../x")),
    "another id": edit("manifest.json", lambda values: values.update(run_id="streets-x")),
    "unknown state": edit("manifest.json", lambda values: values.update(state="great")),
    "no outputs": edit("manifest.json", lambda values: values.update(outputs={})),
    "config changed": edit("config.json", lambda values: values["settings"].update(seed=9)),
    "unknown setting": edit("config.json", lambda values: values["settings"].update(x=1)),
    "missing setting": edit("config.json", lambda values: values["settings"].pop("seed")),
    "no precision": edit("config.json", lambda values: values["settings"].pop("precision")),
    "no teacher": edit("config.json", lambda values: values["identity"].pop("teacher")),
    "bad setting": edit("config.json", lambda values: values["settings"].update(seed=-1)),
    "role": edit("config.json", lambda values: values.update(role="student")),
    "kind": edit("config.json", lambda values: values.update(kind="of-plain")),
    "teacher's path": edit(
        "config.json",
        lambda values: values["identity"].update(
            teacher={"run_id": "../x", "checkpoint": "0" * 64, "recipe_hash": "0" * 8}
        ),
    ),
    "no config": lambda folder: (folder / "config.json").unlink(),
    "metrics": edit("metrics.json", lambda values: values.update(steps=3)),
    "log": write("log.jsonl", '{"step": 1}\n'),
    "frames": write("frames.npz", "PK"),
    "no frames": lambda folder: (folder / "frames.npz").unlink(),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_one_damaged_run_of_three_is_named_and_left_out(tmp_path, runs, damage):
    first, second, third = runs
    damage(second.folder)
    found = scan_runs(tmp_path)
    assert [run.run_id for run in found.runs] == sorted([first.run_id, third.run_id])
    assert len(found.faults) == 1
    assert f"run {second.run_id}: " in str(found.faults[0])
    assert found.unfinished == []
    with pytest.raises(RecordError, match=second.run_id):
        find_run(second.run_id, tmp_path)
    assert find_run(third.run_id, tmp_path).run_id == third.run_id


def test_copies_and_swapped_folders_are_seen(tmp_path, runs):
    first, second, third = (run.folder for run in runs)
    shutil.copytree(third, tmp_path / "copy")
    first.rename(tmp_path / "aside")
    second.rename(first)
    (tmp_path / "aside").rename(second)
    found = scan_runs(tmp_path)
    assert [run.folder.name for run in found.runs] == [third.name]
    assert len(found.faults) == 3


def test_a_self_consistent_change_of_the_metrics_schema_is_seen(tmp_path, runs):
    folder = runs[0].folder
    edit("metrics.json", lambda values: values["readings"].update(x={"miou": "high"}))(folder)
    runs[0].complete()
    with pytest.raises(RecordError, match=r"metrics\.json at readings\.x"):
        load_run(folder)


def test_unfinished_runs_are_listed_apart(tmp_path, runs):
    running = planned(tmp_path, seed=7)
    start_run(running)
    (runs[0].folder / "model.safetensors").unlink()
    found = scan_runs(tmp_path)
    assert {run.run_id for run in found.unfinished} == {running.run_id, runs[0].run_id}
    with pytest.raises(RecordError, match="its state is running; expected complete"):
        find_run(running.run_id, tmp_path)


def test_runs_of_other_data_sets_are_not_opened(tmp_path, runs, monkeypatch):
    other = made(tmp_path, dataset="camvid")
    longer = made(tmp_path, dataset="streets_large")
    opened = []
    monkeypatch.setattr(scan, "_load", lambda folder, loaded: opened.append(folder) or runs[0])
    scan_runs(tmp_path, dataset="streets")
    assert set(opened) == {run.folder for run in runs}
    monkeypatch.undo()
    (other.folder / "manifest.json").write_text("{")
    assert scan_runs(tmp_path, dataset="streets_large").faults == []
    assert scan_runs(tmp_path, dataset="streets_large").runs[0].run_id == longer.run_id


def test_folders_that_are_no_runs_are_passed_over(tmp_path, runs):
    (tmp_path / "figures" / "streets").mkdir(parents=True)
    (tmp_path / "notes.txt").touch()
    assert len(scan_runs(tmp_path).runs) == 3
    assert scan_runs(tmp_path / "none") == ([], [], [])
    assert scan_runs(tmp_path / "notes.txt") == ([], [], [])


# Teachers


def test_a_student_without_its_teacher_s_folder_is_sound(tmp_path):
    teacher = made(tmp_path)
    student = made(tmp_path, "student", teacher=teacher)
    shutil.rmtree(teacher.folder)
    found = scan_runs(tmp_path)
    assert [run.run_id for run in found.runs] == [student.run_id]
    assert found.runs[0].teacher is None
    assert found.runs[0].identity["teacher"]["run_id"] == teacher.run_id
    assert found.runs[0].recipe_hash == student.recipe_hash


def test_a_student_of_a_damaged_or_other_teacher_is_left_out(tmp_path):
    teacher = made(tmp_path)
    student = made(tmp_path, "student", teacher=teacher)
    alone = made(tmp_path, "student")
    (teacher.folder / "model.safetensors").write_text("other weights")
    teacher.complete()
    found = scan_runs(tmp_path)
    assert {run.run_id for run in found.runs} == {teacher.run_id, alone.run_id}
    assert "has other weights now" in str(found.faults[0])
    (teacher.folder / "metrics.json").unlink()
    found = scan_runs(tmp_path)
    assert [run.run_id for run in found.runs] == [alone.run_id]
    assert {student.run_id in str(fault) for fault in found.faults} == {True, False}


# Names


def test_a_run_is_found_by_id_unique_beginning_and_folder(tmp_path, runs):
    run = runs[1]
    for name in (run.run_id, run.run_id[:-4], str(run.folder)):
        assert find_run(name, tmp_path).run_id == run.run_id
    with pytest.raises(RecordError, match="several begin so: streets-teacher"):
        find_run("streets-teacher", tmp_path)
    with pytest.raises(RecordError, match=r"no such run in .*; did you mean " + run.run_id):
        find_run(run.run_id[:-1] + "z", tmp_path)


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../x", "a\0b", "x" * 5000, "\x1b[2J", "~nobody/x", "*"]
)
def test_names_no_run_has(tmp_path, name):
    with pytest.raises(RecordError) as caught:
        find_run(name, tmp_path)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1000


def test_a_finished_run_keeps_its_id_when_trained_again(tmp_path, runs):
    again = finish(planned(tmp_path, seed=0), miou=60.0)
    assert load_run(again.folder).metrics()["readings"]["true_label"]["miou"] == 60.0
