"""How far a matrix is, read from run folders, receipts and locks: what is made counts, whoever made it, and what does not hold is open."""

import json

import pytest

from labkit.files import file_hash, read_json, write_json, write_text
from labkit.matrix import (
    bring_up_to_date,
    done,
    files_of,
    open_jobs,
    plan,
    progress_of,
    read_matrix,
    states,
    still_running,
    study,
    study_files,
    study_is_done,
    study_of,
    study_state,
)
from labkit.records import receipt_of
from tests import matrices
from tests.matrices import TITLES, held_elsewhere, jobs, open_titles, run_folder


def states_of(path, *, checked=True):
    matrix = read_matrix(path)
    found = states(matrix, plan(matrix), checked=checked)
    return {title: found[job.key] for title, job in jobs(path).items()}


def files(path, title):
    return files_of(read_matrix(path), jobs(path)[title])


def up_to_date(path):
    """Titles with a receipt after they were brought up to date."""
    matrix = read_matrix(path)
    bring_up_to_date(matrix, plan(matrix))
    return [title for title in TITLES if files(path, title).receipt.is_file()]


def study_done(path):
    matrix = read_matrix(path)
    return study_is_done(matrix, plan(matrix))


def test_nothing_is_made_at_first(tmp_path):
    path = matrices.write(tmp_path / "small.yaml", runs=tmp_path / "runs")
    matrix = read_matrix(path)
    assert open_titles(path) == TITLES
    assert set(states_of(path).values()) == {"waiting"}
    assert study_of(matrix, plan(matrix)) == ""
    assert study_state(matrix, plan(matrix)) == "waiting"
    assert up_to_date(path) == []
    assert [file.name for file in tmp_path.iterdir()] == ["small.yaml"]


def test_runs_made_without_a_scheduler_are_done_and_get_their_receipts(complete_matrix):
    assert open_titles(complete_matrix) == []
    assert set(states_of(complete_matrix).values()) == {"done"}
    assert set(states_of(complete_matrix, checked=False).values()) == {"waiting"}
    assert up_to_date(complete_matrix) == TITLES
    assert set(states_of(complete_matrix, checked=False).values()) == {"done"}


def test_a_receipt_names_the_run_its_weights_and_its_teacher_s(complete_matrix):
    up_to_date(complete_matrix)
    teacher, student, alone = (done(jobs(complete_matrix)[title]) for title in ("teacher assisted s0", "of assisted s0", "alone s0"))
    weights = {run.run_id: file_hash(run.folder / "model.safetensors") for run in (teacher, student, alone)}
    assert read_json(files(complete_matrix, "teacher assisted s0").receipt) == {
        "run_id": teacher.run_id, "checkpoint": weights[teacher.run_id], "teacher": "",
    }  # fmt: skip
    assert read_json(files(complete_matrix, "of assisted s0").receipt) == {
        "run_id": student.run_id, "checkpoint": weights[student.run_id], "teacher": weights[teacher.run_id],
    }  # fmt: skip
    assert read_json(files(complete_matrix, "alone s0").receipt)["teacher"] == ""


def test_a_receipt_that_is_true_is_left_as_it_is_and_a_broken_one_written_anew(complete_matrix):
    up_to_date(complete_matrix)
    whole, broken = files(complete_matrix, "alone s0").receipt, files(complete_matrix, "of plain s0").receipt
    before = whole.stat().st_mtime_ns
    broken.write_text("{")
    up_to_date(complete_matrix)
    assert whole.stat().st_mtime_ns == before
    assert read_json(broken) == receipt_of(done(jobs(complete_matrix)["of plain s0"]))


@pytest.mark.parametrize("which", ["assisted", "plain"])
def test_weights_that_are_gone_open_that_teacher_and_its_students(complete_matrix, which):
    touched = [f"teacher {which} s0", f"of {which} s0"]
    up_to_date(complete_matrix)
    matrices.make_tables(complete_matrix)
    (run_folder(complete_matrix, touched[0]) / "model.safetensors").unlink()
    assert open_titles(complete_matrix) == touched
    assert {title for title, state in states_of(complete_matrix).items() if state == "outdated"} == set(touched)
    assert up_to_date(complete_matrix) == [title for title in TITLES if title not in touched]
    assert not study_files(read_matrix(complete_matrix)).receipt.is_file()
    matrices.make_run(jobs(complete_matrix)[touched[0]])
    assert open_titles(complete_matrix) == []  # the same weights again, which its student was taught by


def test_a_teacher_of_other_weights_opens_its_students(complete_matrix):
    up_to_date(complete_matrix)
    job = jobs(complete_matrix)["teacher assisted s0"]
    before = receipt_of(job.run())
    other = run_folder(complete_matrix, "teacher plain s0") / "model.safetensors"
    (job.run().folder / "model.safetensors").write_bytes(other.read_bytes())
    assert open_titles(complete_matrix) == ["teacher assisted s0", "of assisted s0"]
    job.run().complete(seconds=1.0)
    assert open_titles(complete_matrix) == ["of assisted s0"]
    assert up_to_date(complete_matrix) == [title for title in TITLES if title != "of assisted s0"]
    assert read_json(files(complete_matrix, "teacher assisted s0").receipt) == before | {"checkpoint": file_hash(other)}


@pytest.mark.parametrize("name", ["metrics.json", "config.json", "log.jsonl"])
def test_an_altered_or_deleted_output_opens_its_run_alone(complete_matrix, name):
    path = run_folder(complete_matrix, "alone s0") / name
    path.write_text(path.read_text() + " ")
    assert open_titles(complete_matrix) == ["alone s0"]
    path.unlink()
    assert open_titles(complete_matrix) == ["alone s0"]
    assert "alone s0" not in up_to_date(complete_matrix)


def test_what_a_run_s_manifest_says_is_believed(complete_matrix):
    run = done(jobs(complete_matrix)["alone s0"])
    run.mark("running")
    assert open_titles(complete_matrix) == ["alone s0"]
    run.mark("failed")
    assert open_titles(complete_matrix) == ["alone s0"]


# the tables


def test_tables_hold_for_the_file_and_the_weights_they_were_made_from(complete_matrix, tmp_path):
    assert not study_done(complete_matrix)
    matrices.make_tables(complete_matrix)
    assert study_done(complete_matrix)
    for changes in ({"title": "other"}, {"compare": [["of assisted", "of plain"]]}, {"settings": matrices.SETTINGS | {"workers": 1}}):
        matrices.write(complete_matrix, runs=tmp_path / "runs", **changes)
        assert not study_done(complete_matrix)
    matrices.write(complete_matrix, runs=tmp_path / "runs")
    assert study_done(complete_matrix)
    run = done(jobs(complete_matrix)["alone s0"])
    write_text(run.folder / "model.safetensors", "other")
    run.complete(seconds=1.0)
    assert open_titles(complete_matrix) == []
    assert not study_done(complete_matrix)
    bring_up_to_date(read_matrix(complete_matrix), plan(read_matrix(complete_matrix)))
    assert not study_files(read_matrix(complete_matrix)).receipt.is_file()


def test_tables_that_are_gone_or_were_made_without_a_run_are_not_done(complete_matrix):
    matrices.make_tables(complete_matrix)
    (read_matrix(complete_matrix).figures_folder / "MANIFEST.json").unlink()
    assert not study_done(complete_matrix)
    (run_folder(complete_matrix, "alone s0") / "model.safetensors").unlink()
    matrices.make_tables(complete_matrix)
    assert read_json(study_files(read_matrix(complete_matrix)).receipt) == {"made_from": ""}
    assert not study_done(complete_matrix)


def test_rows_have_the_complete_runs_and_none_for_the_others(complete_matrix, tmp_path):
    matrices.write(complete_matrix, runs=tmp_path / "runs", seeds=[0, 5])
    (run_folder(complete_matrix, "of plain s0") / "metrics.json").write_text("{}")
    found = study(read_matrix(complete_matrix))
    made = {row.labels["method"]: row.runs for row in (*found.teachers, *found.students)}
    assert all(list(runs) == [0, 5] for runs in made.values())
    assert {name for name, runs in made.items() if runs[0] is None} == {"of plain"}
    assert all(runs[5] is None for runs in made.values())
    assert made["of assisted"][0].teacher.run_id == made["assisted"][0].run_id
    assert [row.baseline for row in found.students] == [True, False, False]
    assert (found.title, found.compare) == ("small", [])


# jobs


def test_a_job_s_process_and_words_make_its_state(complete_matrix):
    path = complete_matrix
    assert up_to_date(path) == TITLES
    for title in ("alone s0", "of plain s0", "of assisted s0"):
        run_folder(path, title).joinpath("metrics.json").unlink()
    assert {states_of(path)[title] for title in TITLES[2:]} == {"outdated"}
    write_text(files(path, "alone s0").log, "step 1\n")
    assert states_of(path)["alone s0"] == "outdated"  # the log is from when its receipt was true
    assert up_to_date(path) == TITLES[:2]
    write_text(files(path, "of plain s0").log, "step 1\n")
    write_text(files(path, "of plain s0").failure, "it broke\n")
    assert states_of(path) == dict(zip(TITLES, ["done", "done", "stopped", "waiting", "failed"], strict=True))
    matrix = read_matrix(path)
    with held_elsewhere(files(path, "of plain s0").lock), held_elsewhere(files(path, "teacher plain s0").lock):
        for checked in (True, False):
            found = states_of(path, checked=checked)
            assert found == dict(zip(TITLES, ["done", "running", "stopped", "waiting", "running"], strict=True))
        assert [job.title for job in still_running(matrix, plan(matrix))] == ["teacher plain s0", "of plain s0"]
    assert states_of(path)["of plain s0"] == "failed"
    assert still_running(matrix, plan(matrix)) == []


def test_the_tables_job_has_a_state_too(complete_matrix):
    matrix = read_matrix(complete_matrix)
    write_text(study_files(matrix).failure, "it broke\n")
    assert study_state(matrix, plan(matrix)) == "failed"
    with held_elsewhere(study_files(matrix).lock):
        assert study_state(matrix, plan(matrix)) == "running"
    matrices.make_tables(complete_matrix)
    assert study_state(matrix, plan(matrix)) == "done"


def test_progress_is_the_part_of_the_steps_that_is_logged(complete_matrix, tmp_path):
    job = jobs(complete_matrix)["alone s0"]
    assert progress_of(job) == 1
    matrices.write(complete_matrix, runs=tmp_path / "runs", settings=matrices.SETTINGS | {"train_steps": 8})
    job, student = (jobs(complete_matrix)[title] for title in ("alone s0", "of plain s0"))
    assert (progress_of(job), progress_of(student)) == (0, 0)
    write_text(job.run().folder / "log.jsonl", "".join(json.dumps({"step": step}) + "\n" for step in (2, 4, 6)) + '{"step": 8')
    assert progress_of(job) == 0.75


def test_a_matrix_over_the_same_runs_shares_what_is_made(complete_matrix, tmp_path):
    up_to_date(complete_matrix)
    methods = {"renamed": {"teacher": "t"}, "new": {"teacher": "t", "learning_rate": 0.5}}
    other = matrices.write(tmp_path / "other.yaml", runs=tmp_path / "runs", teachers={"t": {}}, methods=methods)
    matrix = read_matrix(other)
    assert [job.title for job in open_jobs(plan(matrix))] == ["new s0"]
    assert files_of(matrix, jobs(other)["renamed s0"]) == files(complete_matrix, "of assisted s0")
    assert study_files(matrix) != study_files(read_matrix(complete_matrix))
    write_json(study_files(matrix).receipt, {"made_from": "x"})
    bring_up_to_date(matrix, plan(matrix))
    assert not study_files(matrix).receipt.is_file()
