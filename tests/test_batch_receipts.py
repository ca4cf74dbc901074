"""What a scheduler and its job leave for each other: a receipt comes last."""

import os

import pytest
from typer.testing import CliRunner

from labkit.batch import commands, receipts
from labkit.batch.receipts import JobFiles, last_lines, reported
from labkit.batch.signals import PARENT
from labkit.batch.workflow import teacher_id
from labkit.cli import app
from labkit.errors import FileError, NotebookError, Stopped
from labkit.records.files import file_hash, read_json, write_text
from labkit.records.locks import lock
from tests.matrices import jobs, look, run_folder
from tests.processes import locked_elsewhere


@pytest.fixture
def files(tmp_path):
    return JobFiles(tmp_path / "state" / "a-key.json")


def call(*arguments):
    return CliRunner().invoke(app, [str(part) for part in arguments])


def options_of(path, title):
    job = jobs(path)[title]
    pairs = job.settings(teacher_id(look(path), job)).items()
    return [part for name, value in pairs for part in ("--set", f"{name}={value}")]


def test_a_job_runs_while_its_process_holds_the_lock(files):
    assert not files.running
    assert not files.receipt.parent.exists()
    with locked_elsewhere(files.lock):
        assert files.running
    assert not files.running


def test_a_failure_keeps_its_reason_until_the_next_try(files):
    with pytest.raises(NotebookError), reported(files):
        raise NotebookError("it broke\nEvidence: there", exit_code=124)
    assert files.reason == "it broke"
    with reported(files):
        assert files.reason == ""


@pytest.mark.parametrize("number", [1, 2, 3, 15])
def test_a_signal_is_no_failure(files, number):
    with pytest.raises(Stopped), reported(files):
        raise Stopped(number)
    stopped = NotebookError("stopped", exit_code=Stopped(number).exit_code)
    with pytest.raises(NotebookError), reported(files):
        raise stopped
    assert not files.failure.exists()


def test_a_job_that_two_processes_want_is_done_by_one(files, monkeypatch):
    monkeypatch.setattr(receipts, "lock", lambda path: lock(path, patience=0.2))
    write_text(files.failure, "of the other\n")
    with (
        locked_elsewhere(files.lock) as process,
        pytest.raises(FileError, match=f"pid {process.pid}"),
        reported(files),
    ):
        pytest.fail("done by two")
    assert files.reason == "of the other"


def test_a_failed_job_s_own_message_is_shown_without_control_characters(tmp_path):
    log = tmp_path / "log"
    log.write_text("step 1\r step 2\n\nlabkit: 01: it broke\n  | \x1b[31mcell\n", encoding="utf-8")
    assert last_lines(log).splitlines() == ["    01: it broke", "      | \\x1b[31mcell"]
    log.write_text("one\n" * 30 + "10 %\r20 %\n", encoding="utf-8")
    assert last_lines(log).splitlines() == ["    one"] * 19 + ["    20 %"]
    assert last_lines(log, 1) == "    20 %"
    assert last_lines(tmp_path / "nothing") == ""


def test_a_complete_run_is_verified_and_its_receipt_names_it(complete_matrix, files):
    run = run_folder(complete_matrix, "of assisted s0")
    options = options_of(complete_matrix, "of assisted s0")
    done = call("train", "student", *options, "--receipt", files.receipt)
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines()[-1] == str(run)
    receipt = read_json(files.receipt)
    assert receipt["run_id"] == run.name
    assert receipt["checkpoint"] == file_hash(run / "model.safetensors")
    files.receipt.unlink()
    write_text(run / "log.jsonl", "other")
    done = call("train", "student", *options, "--receipt", files.receipt)
    assert done.exit_code == 2
    assert "log.jsonl is not what its manifest recorded" in done.stderr
    assert files.reason in done.stderr
    assert not files.receipt.exists()


def test_bad_settings_of_a_job_are_its_failure(files):
    done = call("train", "teacher", "--set", "seed=-1", "--receipt", files.receipt)
    assert done.exit_code == 2
    assert files.reason.startswith("setting seed: got '-1'")


def test_a_job_with_a_wrong_parent_says_so(files, monkeypatch):
    monkeypatch.setenv(PARENT, "77")
    done = call("train", "teacher", "--receipt", files.receipt)
    assert done.exit_code == 2
    assert f"environment variable {PARENT}: got '77'" in done.stderr
    assert not files.receipt.parent.exists()


def test_a_job_s_own_children_do_not_take_its_scheduler_for_theirs(files, monkeypatch):
    seen = []
    monkeypatch.setenv(PARENT, str(os.getppid()))
    monkeypatch.setattr(commands, "train", lambda *args, **options: seen.append(os.environ))
    call("train", "teacher", "--receipt", files.receipt)
    assert PARENT not in seen[0]
