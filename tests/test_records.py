import json

import pytest

from labkit.config import Recipe, StudentSettings, TeacherSettings
from labkit.datasets import dataset_recipe
from labkit.files import read_json, write_json, write_text
from labkit.recipes import resolve
from labkit.records import (
    OUTPUTS,
    RecordError,
    complete_runs,
    describe_run,
    figures_folder,
    find_run,
    load_run,
    project_root,
    start_run,
)


def planned(tmp_path, teacher=None, **settings):
    kind = StudentSettings if teacher or settings.pop("student", False) else TeacherSettings
    return describe_run(resolve(kind(runs=str(tmp_path), **settings), dataset_recipe("streets", "default")), teacher)


def finished(run):
    """A run with every output, as the engine leaves it."""
    start_run(run)
    write_text(run.folder / "log.jsonl", '{"step": 1}\n')
    write_text(run.folder / "model.safetensors", f"weights of {run.run_id}")
    write_json(run.folder / "metrics.json", {"readings": {"image": {"miou": 1.0}}, "split": "val", "steps": 1})
    run.complete()
    return run


def test_the_root_holds_pyproject_whatever_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert (project_root() / "pyproject.toml").is_file()
    assert figures_folder("", "runs/x", "streets") == project_root() / "runs/x/figures/streets"


def test_a_run_id_names_its_parts_and_hashes_what_is_computed(tmp_path):
    run = planned(tmp_path, seed=3)
    assert run.run_id.startswith("streets-teacher-lad-unet-tu-mobilenetv3_small_100-s3-")
    assert planned(tmp_path, seed=3, device="cpu", workers=2, threads=1).run_id == run.run_id
    assert planned(tmp_path, seed=3, learning_rate=1e-3).run_id != run.run_id
    assert planned(tmp_path, seed=3, train_steps=1200).run_id == run.run_id  # the recipe's own value, written out


def test_the_recipe_hash_leaves_the_seed_out(tmp_path):
    assert planned(tmp_path, seed=0).recipe_hash == planned(tmp_path, seed=1).recipe_hash
    assert planned(tmp_path, seed=0).recipe_hash != planned(tmp_path, label_scale=1).recipe_hash


def test_a_student_is_named_by_its_teacher_and_hashed_with_its_weights(tmp_path):
    assisted, plain = finished(planned(tmp_path)), finished(planned(tmp_path, method="none"))
    of_assisted, of_plain = planned(tmp_path, teacher=assisted), planned(tmp_path, teacher=plain)
    alone = planned(tmp_path, student=True)
    assert [run.method for run in (of_assisted, of_plain, alone)] == ["lad", "kd", "none"]
    assert len({run.run_id[-8:] for run in (of_assisted, of_plain, alone)}) == 3


@pytest.mark.parametrize(("method", "ending", "recipe_hash"), [("lad", "3c76ae8e", "a6539dd8"), ("none", "92d614ed", "a5fa8d73")])
def test_later_settings_rename_no_run_on_record(tmp_path, method, ending, recipe_hash):
    run = planned(tmp_path, method=method)
    assert run.run_id == f"streets-teacher-{method}-unet-tu-mobilenetv3_small_100-s0-{ending}"
    assert run.recipe_hash == recipe_hash


def test_a_teacher_of_the_fixed_ramp_is_another_run(tmp_path):
    drawn, fixed = planned(tmp_path), planned(tmp_path, weights="fixed")
    assert fixed.run_id != drawn.run_id
    assert fixed.recipe_hash != drawn.recipe_hash


@pytest.mark.parametrize("dataset", ["streets", "camvid"])
def test_committed_records_are_read_and_still_named_by_their_settings(tmp_path, dataset):
    records = [read_json(path) for path in sorted((project_root() / "figures" / dataset / "records").glob("*.json"))]
    for record in records:
        write_json(tmp_path / record["run_id"] / "manifest.json", record)
        write_json(tmp_path / record["run_id"] / "config.json", record["settings"])
    assert records
    for record in records:
        run = load_run(tmp_path / record["run_id"])
        assert describe_run(run.settings, run.teacher).run_id == record["run_id"]


def test_only_complete_runs_count(tmp_path):
    run = planned(tmp_path)
    assert run.state == "absent"
    start_run(run)
    assert run.state == "running"
    assert complete_runs(tmp_path) == []
    with pytest.raises(RecordError, match=r"its state is running; expected complete"):
        find_run(run.run_id, str(tmp_path))
    finished(run)
    assert [found.run_id for found in complete_runs(tmp_path)] == [run.run_id]
    assert complete_runs(tmp_path, "camvid") == []


def test_complete_lists_the_hash_of_every_output(tmp_path):
    manifest = finished(planned(tmp_path)).manifest()
    assert manifest["state"] == "complete"
    assert set(manifest["outputs"]) == set(OUTPUTS)


def test_a_changed_output_is_refused(tmp_path):
    run = finished(planned(tmp_path))
    write_json(run.folder / "metrics.json", {"readings": {"image": {"miou": 99.0}}})
    with pytest.raises(RecordError, match=r"metrics\.json is not what its manifest recorded"):
        complete_runs(tmp_path)


def test_a_run_is_read_back_with_its_teacher(tmp_path):
    teacher = finished(planned(tmp_path))
    student = finished(planned(tmp_path, teacher=teacher))
    found = load_run(student.folder)
    assert found.teacher.run_id == teacher.run_id
    assert found.settings == student.settings


def test_a_student_whose_teacher_is_gone_says_so(tmp_path):
    teacher = finished(planned(tmp_path))
    student = finished(planned(tmp_path, teacher=teacher))
    (teacher.folder / "manifest.json").unlink()
    with pytest.raises(RecordError, match=f"its teacher {teacher.run_id} is gone"):
        load_run(student.folder)


def test_an_unknown_run_is_answered_with_those_that_exist(tmp_path):
    run = finished(planned(tmp_path))
    with pytest.raises(RecordError, match=run.run_id):
        find_run("nothing", str(tmp_path))


def test_a_manifest_names_no_folder_of_this_machine(tmp_path):
    run = finished(planned(tmp_path, data_root=str(tmp_path)))
    assert str(tmp_path) not in json.dumps(run.manifest())


def test_writing_leaves_no_half_file(tmp_path):
    with pytest.raises(TypeError):
        write_json(tmp_path / "value.json", {"bad": object()})
    assert list(tmp_path.iterdir()) == []


def test_a_torn_last_log_line_is_left_out(tmp_path):
    run = planned(tmp_path)
    start_run(run)
    (run.folder / "log.jsonl").write_text('{"step": 1}\n{"ste')
    assert run.log_rows() == [{"step": 1}]


def test_every_recipe_resolves():
    assert isinstance(dataset_recipe("camvid", "paper"), Recipe)
