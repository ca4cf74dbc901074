"""How far a matrix is, read from run folders, receipts and locks."""

import json
from pathlib import Path

import pytest

from labkit.batch.receipts import JobFiles
from labkit.batch.status import files_of, receipt_of, study_of
from labkit.batch.view import View
from labkit.records.files import file_hash, read_json, write_json, write_text
from tests import matrices
from tests.matrices import TITLES, jobs, look, open_titles, run_folder
from tests.processes import locked_elsewhere

TABLES = "tables and figures"


def states_of(path):
    inspection = look(path)
    return {job.title: inspection.state(job) for job in inspection.plan.jobs}


def files(path, title) -> JobFiles:
    return files_of(look(path).matrix, jobs(path)[title].key)


def synced(path):
    """Titles with a receipt after receipts were synchronised."""
    look(path).sync_receipts()
    return [title for title in TITLES if files(path, title).receipt.is_file()]


def test_at_first_everything_waits_and_looking_writes_nothing(fresh, tmp_path):
    assert open_titles(fresh) == TITLES
    assert set(states_of(fresh).values()) == {"waiting"}
    assert look(fresh).made_from() == ""
    assert synced(fresh) == []
    assert [file.name for file in tmp_path.iterdir()] == ["small.yaml"]


def test_complete_runs_are_done_and_get_receipts_that_name_their_weights(complete_matrix):
    assert open_titles(complete_matrix) == []
    assert set(states_of(complete_matrix).values()) == {"done"}
    assert synced(complete_matrix) == TITLES
    student = run_folder(complete_matrix, "of assisted s0")
    teacher = run_folder(complete_matrix, "teacher assisted s0")
    assert read_json(files(complete_matrix, "of assisted s0").receipt) == {
        "run_id": student.name,
        "checkpoint": file_hash(student / "model.safetensors"),
        "teacher": file_hash(teacher / "model.safetensors"),
    }


def test_a_true_receipt_is_left_and_a_broken_one_written_anew(complete_matrix):
    synced(complete_matrix)
    whole, broken = (files(complete_matrix, t).receipt for t in ("alone s0", "of plain s0"))
    before = whole.stat().st_mtime_ns
    broken.write_text("{", encoding="utf-8")
    synced(complete_matrix)
    assert whole.stat().st_mtime_ns == before
    done = look(complete_matrix)
    assert read_json(broken) == receipt_of(done.done(jobs(complete_matrix)["of plain s0"]))


def test_lost_weights_open_the_teacher_and_its_students_alone(complete_matrix):
    touched = ["teacher assisted s0", "of assisted s0"]
    synced(complete_matrix)
    matrices.make_tables(complete_matrix)
    (run_folder(complete_matrix, touched[0]) / "model.safetensors").unlink()
    assert open_titles(complete_matrix) == touched
    outdated = {title for title, state in states_of(complete_matrix).items() if state == "outdated"}
    assert outdated == set(touched)
    assert synced(complete_matrix) == [title for title in TITLES if title not in touched]
    assert not look(complete_matrix).last_jobs()[TABLES].receipt.is_file()
    matrices.make_run(complete_matrix, jobs(complete_matrix)[touched[0]])
    assert open_titles(complete_matrix) == []  # the same weights, by which its student was taught


@pytest.mark.parametrize("name", ["metrics.json", "config.json", "log.jsonl", "frames.npz"])
def test_an_altered_output_opens_its_run_alone(complete_matrix, name):
    path = run_folder(complete_matrix, "alone s0") / name
    path.write_bytes(path.read_bytes() + b" ")
    assert open_titles(complete_matrix) == ["alone s0"]
    path.unlink()
    assert open_titles(complete_matrix) == ["alone s0"]


def test_each_file_is_hashed_at_most_once_per_call(complete_matrix, monkeypatch):
    hashed = []

    def counted(path):
        hashed.append(path)
        return file_hash(path)

    monkeypatch.setattr("labkit.records.run.file_hash", counted)
    inspection = look(complete_matrix)
    for _ in range(2):
        inspection.open_jobs()
        inspection.open_last()
        [inspection.state(job) for job in inspection.plan.jobs]
        inspection.study()
    assert len(hashed) == len(set(hashed)) == 5 * len(TITLES)


# the tables


def test_tables_hold_for_the_file_and_the_weights_they_were_made_from(complete_matrix, tmp_path):
    assert look(complete_matrix).open_last() == [TABLES]
    matrices.make_tables(complete_matrix)
    assert look(complete_matrix).open_last() == []
    for changes in ({"title": "other"}, {"compare": [["of assisted", "of plain"]]}):
        matrices.write(complete_matrix, runs=tmp_path / "runs", **changes)
        assert look(complete_matrix).open_last() == [TABLES]
    matrices.write(complete_matrix, runs=tmp_path / "runs")
    assert look(complete_matrix).open_last() == []
    (look(complete_matrix).matrix.figures_folder / "MANIFEST.json").unlink()
    assert look(complete_matrix).open_last() == [TABLES]


@pytest.mark.parametrize("change", [Path.unlink, lambda table: table.write_text("| edited |\n")])
def test_a_table_that_is_gone_or_altered_is_made_again(complete_matrix, change):
    matrices.make_tables(complete_matrix)
    change(look(complete_matrix).matrix.figures_folder / "students.md")
    assert look(complete_matrix).open_last() == [TABLES]


def test_two_files_of_one_name_have_their_own_receipts_and_see_overwritten_tables(
    complete_matrix, tmp_path
):
    (tmp_path / "other").mkdir()
    runs = tmp_path / "runs"
    other = matrices.write(tmp_path / "other" / "small.yaml", runs=runs, title="other")
    matrices.make_tables(complete_matrix)
    first = look(complete_matrix).last_jobs()[TABLES]
    assert first.receipt != look(other).last_jobs()[TABLES].receipt
    assert look(other).open_last() == [TABLES]
    look(other).sync_receipts()
    assert look(complete_matrix).open_last() == []
    table = look(other).matrix.figures_folder / "students.md"
    write_text(table, "| other |\n")
    matrices.record_artifact(table, caption="", runs=[], parameters={})
    assert look(complete_matrix).open_last() == [TABLES]


def test_tables_hold_when_the_attribution_overwrites_its_own_figures(complete_matrix, tmp_path):
    matrices.write(complete_matrix, runs=tmp_path / "runs", attribution=True)
    figures = look(complete_matrix).matrix.figures_folder

    def attribute(text):
        write_text(figures / "label_share.csv", text)
        given = {"parameters": {"teacher": ""}, "caption": "", "runs": []}
        matrices.record_artifact(figures / "label_share.csv", **given)

    attribute("earlier\n")
    matrices.make_tables(complete_matrix)
    attribute("later\n")
    last = look(complete_matrix).last_jobs()["attribution"]
    write_json(last.receipt, look(complete_matrix).last_receipt("attribution"))
    assert look(complete_matrix).open_last() == []
    assert list(read_json(last.receipt)["figures"]) == ["label_share.csv"]
    (figures / "label_share.csv").unlink()
    assert look(complete_matrix).open_last() == ["attribution"]


def test_rows_hold_the_complete_runs_and_none_for_the_others(complete_matrix, tmp_path):
    matrices.write(complete_matrix, runs=tmp_path / "runs", seeds=[0, 5], tried=3)
    (run_folder(complete_matrix, "of plain s0") / "metrics.json").write_text("{}", encoding="utf-8")
    study = study_of(look(complete_matrix).matrix)
    made = {row.labels["method"]: row.runs for row in (*study.teachers, *study.students)}
    assert all(list(runs) == [0, 5] for runs in made.values())
    assert {name for name, runs in made.items() if runs[0] is None} == {"of plain"}
    assert all(runs[5] is None for runs in made.values())
    assert made["of assisted"][0].teacher.run_id == made["assisted"][0].run_id
    assert [row.baseline for row in study.students] == [True, False, False]
    assert {row.tried for row in (*study.teachers, *study.students)} == {3}


# jobs


def test_a_job_s_process_and_its_files_make_its_state(complete_matrix):
    path = complete_matrix
    synced(path)
    for title in ("alone s0", "of plain s0", "of assisted s0"):
        run_folder(path, title).joinpath("metrics.json").unlink()
    assert {states_of(path)[title] for title in TITLES[2:]} == {"outdated"}
    assert synced(path) == TITLES[:2]
    write_text(files(path, "alone s0").log, "step 1\n")
    write_text(files(path, "of plain s0").log, "step 1\n")
    write_text(files(path, "of plain s0").failure, "it broke\n")
    expected = ["done", "done", "stopped", "waiting", "failed"]
    assert states_of(path) == dict(zip(TITLES, expected, strict=True))
    with locked_elsewhere(files(path, "of plain s0").lock):
        assert states_of(path)["of plain s0"] == "running"
        assert [job.title for job in look(path).still_running()] == ["of plain s0"]
    assert states_of(path)["of plain s0"] == "failed"


def test_the_view_prints_changes_and_where_running_jobs_are(complete_matrix, tmp_path, capsys):
    steps = matrices.SETTINGS | {"train_steps": 8}
    path = matrices.write(complete_matrix, runs=tmp_path / "runs", settings=steps)
    inspection = look(path)
    view = View(inspection)
    job = jobs(path)["alone s0"]
    states = {j.key: "waiting" for j in inspection.plan.jobs}
    last = {TABLES: "waiting"}
    view.update(states, last)
    view.update(states | {job.key: "running"}, last)
    assert capsys.readouterr().out == "alone s0: started\n"
    rows = [
        {"step": 2, "seconds": 3.0, "loss": 2.5},
        {"step": 4, "seconds": 6.0, "miou": {"image": 41.25}},
    ]
    folder = inspection.run(job).folder
    write_text(folder / "log.jsonl", "".join(json.dumps(row) + "\n" for row in rows) + '{"step"')
    first, line = view.lines(states | {job.key: "running"}, last)
    assert line == "  alone s0: step 4 of 8, loss 2.500, mIoU 41.2, 6 s left"
    assert first.startswith("0 done, 1 running, 0 failed, 4 waiting of 5 runs; ")
    done = {j.key: "done" for j in inspection.plan.jobs}
    assert view.lines(done, {TABLES: "running"}) == [
        "5 done, 0 running, 0 failed of 5 runs; making the tables and figures"
    ]


def test_a_matrix_over_the_same_runs_shares_what_is_made(complete_matrix, tmp_path):
    methods = {"renamed": {"teacher": "t"}, "new": {"teacher": "t", "learning_rate": 0.5}}
    other = matrices.write(
        tmp_path / "other.yaml", runs=tmp_path / "runs", teachers={"t": {}}, methods=methods
    )
    assert open_titles(other) == ["new s0"]
    assert files(other, "renamed s0") == files(complete_matrix, "of assisted s0")


def test_a_notebook_of_every_run_is_a_job_of_its_own_where_it_is_asked_for(
    complete_matrix, tmp_path
):
    matrices.write(complete_matrix, runs=tmp_path / "runs", report=True, attribution=True)
    names = [f"notebook of {title}" for title in TITLES]
    assert look(complete_matrix).open_last() == [TABLES, "attribution", *names]
    last = look(complete_matrix).last_jobs()
    weights = look(complete_matrix).done(jobs(complete_matrix)["alone s0"]).checkpoint_hash()
    write_json(last["notebook of alone s0"].receipt, {"checkpoint": weights})
    write_json(last["notebook of of plain s0"].receipt, {"checkpoint": weights})
    assert "notebook of alone s0" not in look(complete_matrix).open_last()
    assert "notebook of of plain s0" in look(complete_matrix).open_last()
