"""What a scheduler and a job tell each other by: a receipt is written last and only for what is there."""

import functools
import os
import sys
from pathlib import Path

import nbformat
import pytest
from typer.testing import CliRunner

from labkit import headless, receipts
from labkit.cli import app
from labkit.experiments import prepare
from labkit.files import FileError, file_hash, held, read_json, write_json, write_text
from labkit.headless import HeadlessError, Stopped, _runs
from labkit.matrix import plan, read_matrix, study_files, study_of
from labkit.receipts import JobFiles, reported
from labkit.records import RecordError
from tests import matrices
from tests.matrices import held_elsewhere, jobs, run_folder


@pytest.fixture
def files(tmp_path):
    return JobFiles(tmp_path / "book" / "a-key.json")


@pytest.fixture(autouse=True)
def _command_line(monkeypatch):
    """What a scheduler would have typed; messages repeat it."""
    monkeypatch.setattr(sys, "argv", ["labkit", "run", "teacher"])


def call(*arguments):
    return CliRunner().invoke(app, ["run", *map(str, arguments)])


def options(values):
    return [part for name, value in values.items() for part in ("--set", f"{name}={value}")]


def notebook_executed(source, executed: Path, parameters, **_):
    """Stands in for a kernel: an executed notebook lies beside the run, nothing is trained."""
    executed.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(nbformat.v4.new_notebook(), executed)


# files


def test_a_job_s_files_lie_beside_its_receipt_under_its_key(files):
    book = files.receipt.parent
    assert files.log == book / "logs" / "a-key.log"
    assert files.notebook == book / "logs" / "a-key.ipynb"
    assert files.failure == book / "logs" / "a-key.failed"
    assert files.lock == book / "logs" / "a-key.lock"


def test_a_job_runs_while_its_process_holds_the_lock(files):
    assert not files.running
    assert not files.receipt.parent.exists()
    with held_elsewhere(files.lock):
        assert files.running
    assert not files.running


def test_what_failed_keeps_its_reason_and_a_new_try_forgets_it(files):
    with pytest.raises(HeadlessError), reported(files):
        raise HeadlessError("it broke\nEvidence: there", exit_code=124)
    assert files.failure.read_text() == "it broke\nEvidence: there\n"
    assert files.reason == "it broke"
    with reported(files):
        assert not files.failure.exists()
        assert files.reason == ""
    assert not files.failure.exists()
    assert files.lock.is_file()


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), Stopped(15), HeadlessError("stopped", exit_code=143), HeadlessError("stopped", exit_code=130)]
)
def test_being_told_to_stop_is_no_failure(files, error):
    with pytest.raises(type(error)), reported(files):
        raise error
    assert not files.failure.exists()


def test_a_job_two_processes_want_is_one_s(files, monkeypatch):
    monkeypatch.setattr(receipts, "held", functools.partial(held, patience=0.3))
    write_text(files.failure, "of the other\n")
    with held_elsewhere(files.lock) as process, pytest.raises(FileError, match=f"pid {process.pid}"), reported(files):
        pytest.fail("done by two")
    assert files.reason == "of the other"


def test_forgetting_takes_words_alone(files):
    for path in (files.log, files.failure, files.notebook, files.receipt):
        write_text(path, "x")
    files.forget()
    files.forget()
    assert [path.is_file() for path in (files.log, files.failure, files.notebook, files.receipt)] == [False, False, True, True]


# jobs


def test_a_training_job_writes_what_it_made(complete_matrix, files):
    for title in ("teacher assisted s0", "of assisted s0"):
        job, run = jobs(complete_matrix)[title], run_folder(complete_matrix, title)
        settings = headless.check_settings(job.role, job.settings)
        assert headless.run_job(job.role, settings, files) == run
        assert read_json(files.receipt)["checkpoint"] == file_hash(run / "model.safetensors")
        assert read_json(files.receipt)["run_id"] == run.name


@pytest.mark.parametrize("title", ["teacher assisted s0", "alone s0"])
def test_an_executed_notebook_is_kept_and_there_is_no_receipt_where_the_run_is_not_complete(complete_matrix, files, monkeypatch, title):
    monkeypatch.setattr(_runs, "execute", notebook_executed)
    job, run = jobs(complete_matrix)[title], run_folder(complete_matrix, title)
    (run / "model.safetensors").unlink()
    with pytest.raises(HeadlessError, match="ended with the run lost; expected complete"):
        headless.run_job(job.role, headless.check_settings(job.role, job.settings), files)
    assert files.notebook.is_file()
    assert not files.receipt.exists()


def test_the_tables_job_writes_what_they_were_made_from(complete_matrix, files, monkeypatch, tmp_path):
    matrix = read_matrix(complete_matrix)

    def tables(source, executed, parameters, **options):
        notebook_executed(source, executed, parameters)
        assert executed == study_files(matrix).receipt.with_suffix("") / "04_study.ipynb"
        assert parameters["matrix"] == str(complete_matrix)
        write_json((tmp_path / "there" if "figures" in parameters else matrix.figures_folder) / "MANIFEST.json", {})

    monkeypatch.setattr(_runs, "execute", tables)
    for more in ({}, {"figures": str(tmp_path / "there")}):
        headless.run_job("study", headless.check_settings("study", {"matrix": str(complete_matrix)} | more), files)
        assert read_json(files.receipt) == {"made_from": study_of(matrix, plan(matrix))}
    assert files.notebook.is_file()


def test_tables_that_were_not_written_are_no_success(complete_matrix, files, monkeypatch):
    matrices.make_tables(complete_matrix)
    tables = read_matrix(complete_matrix).figures_folder / "MANIFEST.json"
    monkeypatch.setattr(_runs.time, "time", lambda: tables.stat().st_mtime + 60)
    monkeypatch.setattr(_runs, "execute", notebook_executed)
    with pytest.raises(HeadlessError, match=r"ended without writing .*MANIFEST\.json"):
        headless.run_job("study", headless.check_settings("study", {"matrix": str(complete_matrix)}), files)
    assert not files.receipt.exists()


# runs that are complete and yet not whole


def test_a_run_whose_weights_are_gone_is_lost_and_trained_again(complete_matrix, monkeypatch):
    started = []
    job = jobs(complete_matrix)["teacher assisted s0"]
    run, settings = job.run(), headless.check_settings("teacher", job.settings)
    before = run.checkpoint_hash()
    (run.folder / "model.safetensors").unlink()
    assert run.state == "lost"
    assert run.manifest()["state"] == "complete"
    with pytest.raises(RecordError, match=r"its state is lost; expected complete\. Run the same command again to finish it"):
        prepare(type(jobs(complete_matrix)["of assisted s0"].resolved)(**jobs(complete_matrix)["of assisted s0"].settings))

    def trained(source, executed, parameters, **options):
        started.append(executed)
        matrices.make_run(job)

    monkeypatch.setattr(_runs, "execute", trained)
    headless.run_notebook("teacher", settings)
    assert len(started) == 1
    assert (run.state, run.checkpoint_hash()) == ("complete", before)
    assert [row["step"] for row in run.log_rows() if "loss" in row] == [1]


@pytest.mark.parametrize("name", ["metrics.json", "log.jsonl", "model.safetensors"])
def test_a_complete_run_that_was_altered_is_refused_in_words(complete_matrix, files, monkeypatch, name):
    monkeypatch.setattr(_runs, "execute", lambda *args, **options: pytest.fail("a kernel started"))
    job = jobs(complete_matrix)["alone s0"]
    write_text(job.run().folder / name, "other")
    done = call("student", *options(job.settings), "--receipt", files.receipt)
    assert done.exit_code == 2
    assert f"{name} is not what its manifest recorded. Delete the run folder and run it again." in done.stderr
    assert files.reason in done.stderr
    assert not files.receipt.exists()


# the command line


def test_a_receipt_makes_a_run_a_scheduler_s_job(tmp_path, monkeypatch):
    seen = []

    def run_job(name, settings, files, *, timeout):
        seen.append((name, settings.seed, files.receipt, timeout))
        return tmp_path / "run"

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(headless, "run_job", run_job)
    done = call("teacher", "--set", "seed=3", "--receipt", "book/key.json", "--timeout", "5")
    assert done.exit_code == 0, done.output
    assert done.stdout == f"{tmp_path / 'run'}\n"
    assert seen == [("teacher", 3, tmp_path / "book" / "key.json", 5)]
    assert (tmp_path / "book" / "logs" / "key.lock").is_file()


def test_without_a_receipt_nothing_is_kept_for_a_scheduler(tmp_path, monkeypatch):
    monkeypatch.setattr(headless, "run_notebook", lambda name, settings, *, timeout: tmp_path / "run")
    monkeypatch.setattr(headless, "run_job", lambda *args, **options: pytest.fail("a job"))
    monkeypatch.chdir(tmp_path)
    assert call("teacher").stdout == f"{tmp_path / 'run'}\n"
    assert list(tmp_path.iterdir()) == []


def test_bad_settings_of_a_job_are_its_failure(files):
    done = call("teacher", "--set", "seed=-1", "--receipt", files.receipt)
    assert done.exit_code == 2
    assert files.reason.startswith("setting seed: got '-1'")
    assert headless.report(files.failure).strip() in done.stderr


@pytest.mark.parametrize("target", ["noising", "analysis", "all"])
def test_a_receipt_is_refused_where_none_would_be_written(target, files, monkeypatch):
    for name in ("run_notebook", "run_job", "run_all"):
        monkeypatch.setattr(headless, name, lambda *args, **options: pytest.fail("started"))
    done = call(target, "--receipt", files.receipt)
    assert done.exit_code == 2
    assert f"--receipt: labkit run {target} makes nothing to write one of; expected teacher, student or study." in done.stderr
    assert not files.receipt.parent.exists()


def test_a_job_knows_its_scheduler_and_its_kernel_does_not(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setenv(headless.PARENT, "77")
    monkeypatch.setattr(headless, "end_with", seen.append)
    monkeypatch.setattr(headless, "run_job", lambda *args, **options: seen.append(headless.PARENT in os.environ))
    call("teacher", "--receipt", tmp_path / "key.json")
    assert seen == [77, False]
