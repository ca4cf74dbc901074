"""A run's id names what it computes; its folder, settings and outputs are one."""

import json

import pytest

from labkit.errors import FileError, RecordError, SettingsError
from labkit.records import OUTPUTS, describe_run, load_run, start_run
from tests.runs import IDENTITY, finish, made, planned, settings_for


def test_a_run_id_names_its_parts(tmp_path):
    run = planned(tmp_path, seed=3, encoder="hf/some:encoder")
    assert run.run_id.startswith("streets-teacher-assisted-unet-hf_some_encoder-s3-")
    assert run.folder == tmp_path / run.run_id


@pytest.mark.parametrize(
    "values",
    [
        {"device": "cpu"},
        {"workers": 2, "threads": 1, "scoring_batch": 3},
        {"data_root": "/data", "log_every_steps": 1},
        {"evaluate_every_steps": 5, "checkpoint_every_steps": 7, "checkpoint_every_minutes": 1},
    ],
)
def test_where_and_how_fast_a_run_happens_changes_no_id(tmp_path, values):
    assert planned(tmp_path, **values).run_id == planned(tmp_path).run_id


@pytest.mark.parametrize(
    "values",
    [
        {"seed": 1},
        {"learning_rate": 1e-3},
        {"precision": "bf16"},
        {"resize": "short:64"},
        {"score_size": "32x64", "crop_height": 32},
        {"label_scale": 0},
        {"boundary_width": 3},
        {"assisted": False},
        {"encoder_weights": "imagenet"},
    ],
)
def test_what_a_run_computes_changes_its_id(tmp_path, values):
    assert planned(tmp_path, **values).run_id != planned(tmp_path).run_id


@pytest.mark.parametrize("changed", [{"data": "e" * 64}, {"weights": "imagenet"}])
def test_data_and_weights_are_part_of_the_id(tmp_path, changed):
    settings = settings_for(runs=str(tmp_path))
    assert (
        describe_run(settings, IDENTITY | changed).run_id != describe_run(settings, IDENTITY).run_id
    )


def test_a_precision_by_name_and_a_resolved_one_are_one_run(tmp_path):
    with pytest.raises(SettingsError, match="precision"):
        _ = describe_run(settings_for(precision="auto"), IDENTITY).run_id
    resolved = settings_for(precision="auto", runs=str(tmp_path)).replace(precision="fp32")
    assert describe_run(resolved, IDENTITY).run_id == planned(tmp_path).run_id


def test_a_student_s_id_holds_its_teacher_s_weights(tmp_path):
    teacher = made(tmp_path)
    before = planned(tmp_path, "student", teacher=teacher)
    assert before.kind == "of-assisted"
    (teacher.folder / "model.safetensors").write_bytes(b"other weights")
    teacher.complete()
    assert planned(tmp_path, "student", teacher=teacher).run_id != before.run_id


def test_the_recipe_hash_leaves_out_the_seeds_of_student_and_teacher(tmp_path):
    teachers = [made(tmp_path, seed=seed) for seed in (0, 1)]
    assert teachers[0].recipe_hash == teachers[1].recipe_hash
    students = [
        planned(tmp_path, "student", teacher=teacher, seed=seed)
        for seed, teacher in enumerate(teachers)
    ]
    assert students[0].recipe_hash == students[1].recipe_hash
    other = made(tmp_path, label_scale=1)
    assert planned(tmp_path, "student", teacher=other).recipe_hash != students[0].recipe_hash


def test_states_from_absent_to_complete_and_lost(tmp_path):
    run = planned(tmp_path)
    assert (run.state, run.manifest(), run.log_rows()) == ("absent", {}, [])
    with pytest.raises(RecordError, match="its state is absent; expected complete"):
        run.checkpoint_hash()
    start_run(run)
    assert run.state == "running"
    run.mark("failed", error="out of memory")
    assert (run.state, run.facts()) == ("failed", {"error": "out of memory"})
    finish(run)
    assert (run.state, run.facts()["steps"]) == ("complete", 2)
    assert run.manifest()["outputs"].keys() == set(OUTPUTS)
    (run.folder / "model.safetensors").unlink()
    assert run.state == "lost"


def test_a_started_run_keeps_its_first_start_and_nothing_of_a_failed_try(tmp_path):
    run = planned(tmp_path)
    start_run(run)
    run.mark("failed", error="x")
    manifest = run.manifest()
    manifest["started"] = "2020-01-01T00:00:00Z"
    (run.folder / "manifest.json").write_text(json.dumps(manifest))
    (run.folder / ".log.jsonl.7-0123abcd.part").touch()
    start_run(run)
    assert run.manifest()["started"] == "2020-01-01T00:00:00Z"
    assert run.facts() == {}
    assert {path.name for path in run.folder.iterdir()} == {"config.json", "manifest.json"}
    (run.folder / "manifest.json").write_text("garbage")
    start_run(run)
    assert run.state == "running"


def test_a_run_is_read_back(tmp_path):
    teacher = made(tmp_path, device="cpu")
    student = made(tmp_path, "student", teacher=teacher, distillation="kd:1")
    loaded = load_run(student.folder)
    assert loaded.run_id == student.run_id
    assert loaded.recipe_hash == student.recipe_hash
    assert loaded.settings == student.settings
    assert loaded.teacher.run_id == teacher.run_id
    assert load_run(teacher.folder).settings == teacher.settings.replace(device="auto")
    assert loaded.metrics()["readings"]["image"]["miou"] == 50.0
    assert loaded.frame_counts()["image.whole.hits"].shape == (4, 3)
    assert [row["step"] for row in loaded.log_rows()] == [1, 2]
    assert describe_run(loaded.settings, loaded.identity, loaded.teacher).run_id == student.run_id


def test_no_file_of_a_run_holds_a_path_of_this_machine(tmp_path):
    weights = tmp_path / "weights.safetensors"
    run = made(tmp_path, data_root=str(tmp_path), encoder_weights=str(weights))
    for name in ("config.json", "manifest.json"):
        assert str(tmp_path) not in (run.folder / name).read_text()
    assert load_run(run.folder).settings.encoder_weights == "file"


def test_weights_are_checked_against_the_manifest(tmp_path):
    run = made(tmp_path)
    run.check_weights()
    (run.folder / "model.safetensors").write_bytes(b"other")
    with pytest.raises(RecordError, match=f"run {run.run_id}: model.safetensors is not what"):
        run.check_weights()


def test_a_damaged_log_keeps_its_sound_rows_and_sets_the_rest_aside(tmp_path):
    run = planned(tmp_path)
    start_run(run)
    unsound = ['{"ste', "[1]", '{"loss": 1}', "\udcff", "[" * 50_000, '{"step": true}']
    lines = ['{"step": 1}', *unsound, '{"step": 2}', '{"step": 3']
    log = run.folder / "log.jsonl"
    log.write_bytes("\n".join(lines).encode(errors="surrogateescape"))
    assert [row["step"] for row in run.log_rows()] == [1, 2]
    message = start_run(run)
    assert run.run_id in message
    assert "2 rows are kept, 7 lines are set aside" in message
    assert log.read_text() == '{"step": 1}\n{"step": 2}\n'
    assert len((run.folder / "log.jsonl.damaged").read_bytes().splitlines()) == 7
    assert run.mend_log() == ""


def test_a_run_is_trained_in_no_symbolic_link(tmp_path):
    run = planned(tmp_path / "runs")
    (tmp_path / "precious").mkdir()
    run.folder.parent.mkdir()
    run.folder.symlink_to(tmp_path / "precious")
    for use in (lambda: start_run(run), lambda: run.lock().__enter__()):
        with pytest.raises(RecordError, match="symbolic link"):
            use()
    assert list((tmp_path / "precious").iterdir()) == []


def test_one_process_trains_a_run(tmp_path):
    run = planned(tmp_path)
    with run.lock(), pytest.raises(FileError, match="in use by another"), run.lock(patience=0):
        pytest.fail("held twice")


def test_a_record_says_where_it_comes_from(tmp_path):
    origin = made(tmp_path).manifest()["provenance"]
    assert {"revision", "dirty", "labkit", "python", "torch", "device", "device_name", "cpu",
            "threads", "peak_memory_bytes"} <= origin.keys()  # fmt: skip
    assert origin["device"] in ("cpu", "cuda")
    assert len(origin["revision"]) >= 40 or origin["revision"].startswith("package-")
