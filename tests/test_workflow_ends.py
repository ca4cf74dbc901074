"""How far a matrix is, told while it runs and when it ended; what stood in its way is told in its own words."""

import signal
import sys
import time
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from labkit import workflow
from labkit.files import FileError, write_text
from labkit.headless import HeadlessError
from labkit.matrix import files_of, plan, read_matrix, states, study_files
from labkit.workflow import _schedule, _view
from tests import matrices
from tests.matrices import TITLES, held_elsewhere, jobs, run_folder
from tests.test_workflow import CLOSING, call


def words_of(path, title):
    return files_of(read_matrix(path), jobs(path)[title])


# how far it is


def test_status_tells_every_job_and_the_tables(complete_matrix):
    run_folder(complete_matrix, "of plain s0").joinpath("metrics.json").unlink()
    run_folder(complete_matrix, "alone s0").joinpath("metrics.json").unlink()
    run_folder(complete_matrix, "of assisted s0").joinpath("metrics.json").unlink()
    write_text(words_of(complete_matrix, "of plain s0").failure, "01: it broke\nEvidence: there\n")
    write_text(words_of(complete_matrix, "of plain s0").log, CLOSING)
    write_text(words_of(complete_matrix, "alone s0").log, "one\n10 %\r20 %\n")
    lines = call("status", complete_matrix).stdout.splitlines()
    seconds = [f"{files_seconds:.0f} s" for files_seconds in map(seconds_of(complete_matrix), TITLES[:2])]
    assert lines == [
        f"    done  teacher assisted s0  {seconds[0]}", f"    done  teacher plain s0  {seconds[1]}", " stopped  alone s0  20 %",
        " waiting  of assisted s0", "  failed  of plain s0  01: it broke", " waiting  tables and figures",
        "2 done, 0 running, 1 failed, 1 stopped, 1 waiting of 5 runs",
    ]  # fmt: skip


def seconds_of(path):
    return lambda title: jobs(path)[title].run().manifest()["seconds"]


def test_status_names_the_tables_folder_or_what_broke(complete_matrix):
    matrix = read_matrix(complete_matrix)
    write_text(study_files(matrix).failure, "04_study: it broke\nEvidence\n")
    assert list(workflow.status(str(complete_matrix)))[-2] == "  failed  tables and figures  04_study: it broke"
    study_files(matrix).forget()
    matrices.make_tables(complete_matrix)
    assert list(workflow.status(str(complete_matrix)))[-2] == f"    done  tables and figures  {matrix.figures_folder}"


def test_the_view_tells_what_changed_and_every_half_minute_the_whole(complete_matrix, tmp_path, monkeypatch, capsys):
    path = matrices.write(complete_matrix, runs=tmp_path / "runs", settings=matrices.SETTINGS | {"train_steps": 8})
    clock = [0.0]
    monkeypatch.setattr(_view, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    matrix, planned = read_matrix(path), plan(read_matrix(path))
    teacher, _, alone, *_ = planned.jobs
    found = states(matrix, planned)
    view = _view.View(planned)

    def told(seconds, **changes):
        clock[0] = seconds
        view.tell(found | {jobs(path)[title.replace("_", " ") + " s0"].key: state for title, state in changes.items()})
        return capsys.readouterr().out.splitlines()

    assert told(1) == []
    assert told(2, teacher_assisted="running") == ["teacher assisted s0: started"]
    assert told(3, teacher_assisted="running") == []
    write_text(teacher.run().folder / "log.jsonl", '{"step": 4}\n')
    # weighed steps: 16 of the assisted teacher, 8 of each other; 8 of 48 in 30 s
    (line,) = told(30, teacher_assisted="running")
    assert line == "0 done, 1 running, 0 failed, 4 waiting of 5 runs; teacher assisted s0 50 %; about 2 min left"
    lines = told(32, teacher_assisted="done", alone="running", teacher_plain="failed")
    assert lines == ["teacher assisted s0: done after 30 s", "teacher plain s0: FAILED", "alone s0: started"]
    assert alone.title == "alone s0"


# how it ends


def test_what_is_made_is_not_started(complete_matrix, ended, capsys):
    called = ended()
    matrices.make_tables(complete_matrix)
    assert workflow.run_matrix(str(complete_matrix)) == []
    assert called == []
    assert f"nothing to start; tables and figures: {read_matrix(complete_matrix).figures_folder}" in capsys.readouterr().out


def test_failures_are_told_with_their_last_lines_and_followers_without(fresh, ended, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["labkit", "matrix", str(fresh)])

    def broke():
        matrices.make_run(jobs(fresh)["alone s0"])
        write_text(words_of(fresh, "teacher plain s0").log, CLOSING)
        write_text(words_of(fresh, "teacher plain s0").failure, "it broke\n")
        write_text(words_of(fresh, "teacher assisted s0").log, "step 1\n")

    ended(1, what=broke)
    done = call(fresh)
    assert done.exit_code == 1
    log = words_of(fresh, "teacher plain s0").log
    assert f"teacher plain s0: FAILED, log in {log}\n    01_teacher_training: it broke\n      | cell\n    Go on with" in done.stdout
    assert f"teacher assisted s0: STOPPED, log in {words_of(fresh, 'teacher assisted s0').log}\n    step 1" in done.stdout
    assert "of plain s0: not started, because of another's failure" in done.stdout
    assert "1 of 5 runs made in 1.0 minutes" in done.stdout
    assert f"tables with dashes for what is missing: labkit run study --set matrix={fresh}" in done.stdout
    assert "not made: teacher assisted s0, teacher plain s0, of assisted s0, of plain s0." in done.stderr
    assert f"Go on with: labkit matrix {fresh}" in done.stderr
    assert "alone s0:" not in done.stdout


def test_tables_that_fail_are_told_and_are_not_made(complete_matrix, ended, capsys):
    tables = study_files(read_matrix(complete_matrix))
    ended(1, what=lambda: write_text(tables.log, CLOSING))
    assert workflow.run_matrix(str(complete_matrix)) == ["tables and figures"]
    assert f"tables and figures: FAILED, log in {tables.log}\n    01_teacher_training: it broke" in capsys.readouterr().out


def test_where_snakemake_itself_breaks_its_own_words_are_shown(fresh, complete_matrix, ended, capsys):
    log = read_matrix(fresh).book / "logs" / "snakemake.log"
    ended(1, what=lambda: write_text(log, "SyntaxError in line 3\n"))
    with pytest.raises(HeadlessError) as caught:
        workflow.run_matrix(str(fresh))
    assert str(caught.value) == f"Snakemake ended with code 1, and no job failed; its log: {log}\n    SyntaxError in line 3"
    assert "not started" not in capsys.readouterr().out


def test_a_code_that_is_not_0_is_no_success_though_everything_is_there(complete_matrix, ended):
    ended(1, what=lambda: matrices.make_tables(complete_matrix))
    with pytest.raises(HeadlessError, match="Snakemake ended with code 1, and no job failed"):
        workflow.run_matrix(str(complete_matrix))


def test_what_an_earlier_try_said_is_not_taken_for_this_one_s(complete_matrix, monkeypatch, capsys):
    """A job that failed last time and is not started now is told as such."""
    files = words_of(complete_matrix, "alone s0")
    for title in ("alone s0", "of plain s0"):
        run_folder(complete_matrix, title).joinpath("metrics.json").unlink()
    for said in (files, study_files(read_matrix(complete_matrix))):
        write_text(said.log, CLOSING)
        write_text(said.failure, "it broke\n")

    @contextmanager
    def snakemake(matrix, arguments):
        write_text(words_of(complete_matrix, "of plain s0").log, CLOSING)
        yield SimpleNamespace(poll=lambda: 1, returncode=1)

    monkeypatch.setattr(_schedule, "_snakemake", snakemake)
    assert workflow.run_matrix(str(complete_matrix)) == ["alone s0", "of plain s0"]
    assert "alone s0: not started, because of another's failure" in capsys.readouterr().out
    assert not files.log.exists()
    assert not study_files(read_matrix(complete_matrix)).failure.exists()


def test_orphans_are_waited_for_before_anything_is_started(fresh, ended, capsys):
    called = ended(1, what=lambda: write_text(words_of(fresh, "alone s0").log, CLOSING))
    began = time.monotonic()
    with held_elsewhere(words_of(fresh, "of plain s0").lock, seconds=1.5):
        workflow.run_matrix(str(fresh))
        assert time.monotonic() - began > 1
    assert len(called) == 1
    told = capsys.readouterr().out
    assert told.startswith("of plain s0: still running, and its scheduler is gone; waiting for it to end\nsmall: 5 runs, 0 done, 5 to do")


def test_one_scheduler_at_a_time(fresh, ended, monkeypatch):
    called = ended()
    held = _schedule.held
    monkeypatch.setattr(_schedule, "held", lambda path: held(path, patience=0.3))
    with held_elsewhere(read_matrix(fresh).book / ".lock") as process:
        with pytest.raises(FileError, match=rf"\.matrix: in use by another process \(pid {process.pid}\)"):
            workflow.run_matrix(str(fresh))
        assert call(fresh).exit_code == 1
    assert called == []


def test_ctrl_c_is_passed_on_and_the_same_command_goes_on(fresh, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["labkit", "matrix", str(fresh)])
    monkeypatch.setattr(_schedule, "sys", SimpleNamespace(executable=str(fresh.parent / "snakemake")))
    (fresh.parent / "snakemake").write_text("#!/bin/sh\ntrap 'echo ended; exit 1' INT\necho begun\nwhile true; do sleep 0.1; done\n")
    (fresh.parent / "snakemake").chmod(0o755)
    log = read_matrix(fresh).book / "logs" / "snakemake.log"
    monkeypatch.setattr(_view.View, "tell", lambda self, found: log.read_text() and signal.raise_signal(signal.SIGINT))
    monkeypatch.setattr(_schedule, "LOOK_SECONDS", 0.1)
    done = call(fresh)
    assert done.exit_code == 130
    assert f"interrupted (Ctrl-C).\nGo on with: labkit matrix {fresh}" in done.stderr
    assert log.read_text() == "begun\nended\n"
