"""`labkit matrix`: what it prints before, during and after; a matrix through Snakemake."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time

import pytest
from typer.testing import CliRunner

from labkit.batch import schedule, scheduler
from labkit.batch.receipts import JobFiles
from labkit.batch.status import files_of
from labkit.batch.workflow import Workflow
from labkit.cli import app
from labkit.errors import FileError, NotebookError, SettingsError
from labkit.records.files import read_json, write_text
from labkit.records.locks import lock
from labkit.settings.paths import project_root
from tests import matrices
from tests.matrices import SETTINGS, jobs, look, open_titles
from tests.processes import locked_elsewhere, wait_for

CLOSING = "step 1\n\nlabkit: it broke\n  | cell\nGo on with: labkit train\n"
TABLES = "tables and figures"


@pytest.fixture
def ended(monkeypatch):
    """(code, what) stands in for Snakemake's end; the arguments it was called with."""
    called = []

    def stand_in(code=0, *, what=lambda: None):
        def scheduled(inspection, to_do, arguments):
            called.append(arguments)
            what()
            return code, 60.0

        monkeypatch.setattr(schedule, "_schedule", scheduled)
        return called

    return stand_in


def call(*arguments):
    return CliRunner().invoke(app, ["matrix", *map(str, arguments)])


def files(path, title) -> JobFiles:
    return files_of(look(path).matrix, jobs(path)[title].key)


# before anything is started


def test_a_dry_run_lists_what_is_open_as_plain_commands_and_writes_nothing(fresh, tmp_path):
    path = matrices.write(fresh, runs=tmp_path / "my runs", seeds=[1, 0])
    lines = list(schedule.dry_run(str(path)))
    assert lines[0] == f"small: 10 runs, 0 done, 10 to do, then {TABLES}"
    assert [line.strip() for line in lines[1:11]] == open_titles(path)
    assert f"tables and figures: {tmp_path / 'my runs' / 'figures' / 'small'}" in lines
    *runs, last = [shlex.split(line) for line in lines if line.startswith("labkit ")]
    assert last == ["labkit", "run", "results", "--set", f"matrix={path}"]
    for command, job in zip(runs, look(path).plan.jobs, strict=True):
        assert command[:3] == ["labkit", "train", job.role]
        assert any(word.startswith("teacher=streets-teacher-") for word in command) == bool(
            job.teacher
        )
    assert list(tmp_path.iterdir()) == [path]


def test_a_dry_run_of_what_is_made_offers_the_tables_and_then_nothing(complete_matrix):
    lines = list(schedule.dry_run(str(complete_matrix)))
    assert [line for line in lines if line.startswith("labkit ")] == [
        f"labkit run results --set matrix={complete_matrix}"
    ]
    matrices.make_tables(complete_matrix)
    figures = look(complete_matrix).matrix.figures_folder
    assert list(schedule.dry_run(str(complete_matrix), profile="slurm")) == [
        "small: 5 runs, 5 done, 0 to do",
        f"tables and figures: {figures}",
    ]


def test_a_dry_run_for_a_cluster_is_snakemake_s_own(complete_matrix, tmp_path):
    run = look(complete_matrix).done(jobs(complete_matrix)["of assisted s0"])
    (run.folder / "metrics.json").unlink()
    before = sorted(tmp_path.rglob("*"))
    text = "\n".join(schedule.dry_run(str(complete_matrix), profile="slurm"))
    assert sorted(tmp_path.rglob("*")) == before
    student, tables = text.index("rule student:"), text.index("rule tables:")
    assert text.count("rule student:") == 1
    assert "rule teacher:" not in text
    assert "runtime=480" in text[student : student + 1500]
    assert "gpu=1" in text[student : student + 1500]
    assert "runtime=120" in text[tables : tables + 1500]


@pytest.mark.parametrize("profile", ["slum", "/nowhere", "a\0b"])
def test_an_unknown_profile_is_named(fresh, profile):
    with pytest.raises(SettingsError, match="no such profile; expected local, slurm, or a folder"):
        schedule.run_matrix(str(fresh), profile=profile)


def test_data_and_figures_are_checked_before_anything_is_started(fresh, tmp_path, ended):
    called = ended()
    settings = SETTINGS | {"data_root": str(tmp_path / "nowhere")}
    path = matrices.write(fresh, runs=tmp_path / "runs", datasets=["camvid"], settings=settings)
    done = call(path)
    assert done.exit_code == 2
    assert "camvid" in done.stderr
    matrices.write(fresh, runs=tmp_path / "runs")
    write_text(look(fresh).matrix.figures_folder / "MANIFEST.json", '{"name": "app"}')
    done = call(path)
    assert done.exit_code == 2
    assert "MANIFEST.json" in done.stderr
    assert called == []
    assert not (tmp_path / "runs" / ".matrix").exists()


def test_a_configuration_survives_shells_and_yaml():
    values = {"matrix": "a {b} #c: [d]\n'\"$x", "folder": "/ü", "threads": 3}
    word = Workflow.to_config(**values)
    assert word.isascii()
    assert word.isalnum()

    assert json.loads(bytes.fromhex(word[1:])) == values


def test_cores_are_shared_by_the_runs_side_by_side(fresh, monkeypatch):
    monkeypatch.setattr(scheduler.os, "cpu_count", lambda: 64)
    monkeypatch.setattr(scheduler.os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    matrix = look(fresh).matrix
    words = scheduler.snakemake_arguments(matrix, 4, True, "local")
    assert words[words.index("--cores") + 1] == "8"
    assert "--keep-going" in words
    words = scheduler.snakemake_arguments(matrix, 3, False, "slurm")
    assert words[words.index("--jobs") + 1] == "3"
    assert "--cores" not in words


# how it ends


def test_complete_runs_and_tables_are_not_started(complete_matrix, ended, capsys):
    called = ended()
    matrices.make_tables(complete_matrix)
    assert schedule.run_matrix(str(complete_matrix)) == []
    assert called == []
    figures = look(complete_matrix).matrix.figures_folder
    assert f"nothing to start; tables and figures: {figures}" in capsys.readouterr().out


def test_failures_are_shown_with_their_last_lines_and_followers_without(fresh, ended):
    def broke():
        matrices.make_run(fresh, jobs(fresh)["alone s0"])
        write_text(files(fresh, "teacher plain s0").log, CLOSING)
        write_text(files(fresh, "teacher plain s0").failure, "it broke\n")
        write_text(files(fresh, "teacher assisted s0").log, "step 1\n")

    ended(1, what=broke)
    done = call(fresh)
    assert done.exit_code == 1
    log = files(fresh, "teacher plain s0").log
    assert f"teacher plain s0: FAILED, log in {log}\n    it broke\n      | cell" in done.stdout
    assert "teacher assisted s0: STOPPED" in done.stdout
    assert "not started, because of another's failure: of assisted s0, of plain s0" in done.stdout
    assert "1 of 5 runs made in 1.0 minutes" in done.stdout
    assert f"labkit run results --set matrix={fresh}" in done.stdout
    missing = ["teacher assisted s0", "teacher plain s0", "of assisted s0", "of plain s0"]
    assert f"not made: {', '.join(missing)}." in done.stderr


def test_tables_that_fail_are_named(complete_matrix, ended, capsys):
    tables = look(complete_matrix).last_jobs()[TABLES]

    def broke():
        write_text(tables.log, CLOSING)
        write_text(tables.failure, "it broke\n")

    ended(1, what=broke)
    assert schedule.run_matrix(str(complete_matrix)) == [TABLES]
    assert f"{TABLES}: FAILED, log in {tables.log}\n    it broke" in capsys.readouterr().out


def test_where_snakemake_itself_breaks_its_log_is_shown(fresh, ended):
    log = look(fresh).matrix.state_folder / "logs" / "snakemake.log"
    ended(1, what=lambda: write_text(log, "SyntaxError in line 3\n"))
    with pytest.raises(NotebookError, match="Snakemake ended with code 1, and no job failed"):
        schedule.run_matrix(str(fresh))


def test_a_code_that_is_not_0_is_no_success_though_everything_is_there(complete_matrix, ended):
    ended(1, what=lambda: matrices.make_tables(complete_matrix))
    with pytest.raises(NotebookError, match="Snakemake ended with code 1"):
        schedule.run_matrix(str(complete_matrix))


def test_orphans_are_waited_for_before_anything_is_started(fresh, ended, capsys):
    ended(1, what=lambda: write_text(files(fresh, "alone s0").log, CLOSING))
    began = time.monotonic()
    with locked_elsewhere(files(fresh, "of plain s0").lock, seconds=1.5):
        schedule.run_matrix(str(fresh))
    assert time.monotonic() - began > 1
    assert capsys.readouterr().out.startswith("of plain s0: still running, and its scheduler is")


def test_one_scheduler_at_a_time(fresh, ended, monkeypatch):
    called = ended()
    monkeypatch.setattr(schedule, "lock", lambda path: lock(path, patience=0.2))
    path = look(fresh).matrix.state_folder / ".lock"
    with locked_elsewhere(path) as process, pytest.raises(FileError, match=f"pid {process.pid}"):
        schedule.run_matrix(str(fresh))
    assert called == []


# the real Snakemake


def start(path, *options, cwd=None):
    """`labkit matrix` with one thread a job."""
    count = str(os.cpu_count())
    command = [sys.executable, "-m", "labkit", "matrix", str(path), "--jobs", count, *options]
    environment = os.environ | {"PYTHONPATH": str(project_root()), "OMP_NUM_THREADS": "1"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(command, cwd=cwd or project_root(), env=environment, **pipes)


def test_a_matrix_is_made_once_by_snakemake_in_a_folder_with_an_odd_name(tmp_path):
    folder = tmp_path / "my {matrix} [x] #1"
    folder.mkdir()
    path = matrices.write(
        folder / "sm{all}.yaml", runs=folder / "runs", teachers={"t": {}}, methods={}
    )
    process = start(path.name, cwd=folder)
    text, _ = process.communicate()
    assert process.returncode == 0, text
    assert "teacher t s0: started" in text
    assert text.splitlines()[-1] == f"tables and figures: {look(path).matrix.figures_folder}"
    job = jobs(path)["teacher t s0"]
    run = look(path).done(job)
    assert read_json(files(path, "teacher t s0").receipt)["run_id"] == run.run_id
    assert files(path, "teacher t s0").log.read_text().splitlines()[-1] == str(run.folder)
    before = {p: p.stat().st_mtime_ns for p in folder.rglob("*.json")}
    lines = list(schedule.dry_run(str(path)))
    assert lines[0].endswith("1 runs, 1 done, 0 to do")
    assert {p: p.stat().st_mtime_ns for p in folder.rglob("*.json")} == before


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("victim", ["labkit matrix", "snakemake", "SIGINT", "SIGHUP"])
def test_a_stopped_matrix_leaves_no_process_and_the_next_call_loses_nothing(tmp_path, victim):
    psutil = pytest.importorskip("psutil")
    long = SETTINGS | {"train_steps": 150, "checkpoint_every_steps": 5, "log_every_steps": 1}
    changes = {"teachers": {"t": {}}, "methods": {"s": {"teacher": "t"}}, "settings": long}
    whole = matrices.write(tmp_path / "whole.yaml", runs=tmp_path / "whole", **changes)
    matrices.make(whole)
    path = matrices.write(tmp_path / "long.yaml", runs=tmp_path / "runs", **changes)
    process = start(path)
    wait_for(lambda: list((tmp_path / "runs").glob("*/last.safetensors")), 300)
    family = psutil.Process(process.pid).children(recursive=True)
    if victim == "snakemake":
        (child,) = [c for c in family if "labkit.batch" in c.cmdline()]
        os.kill(child.pid, signal.SIGKILL)
    else:
        process.send_signal(signal.SIGKILL if victim == "labkit matrix" else signal.Signals[victim])
    text, _ = process.communicate()
    assert process.returncode != 0
    assert "Traceback" not in text
    assert psutil.wait_procs(family, timeout=60)[1] == []
    process = start(path)
    text, _ = process.communicate()
    assert process.returncode == 0, text
    weights = {t: look(whole).done(j).checkpoint_hash() for t, j in jobs(whole).items()}
    assert {t: look(path).done(j).checkpoint_hash() for t, j in jobs(path).items()} == weights


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_job_that_fails_leaves_the_others_alone_and_the_next_call_goes_on(tmp_path):
    methods = {"alone": {}, "faster": {"learning_rate": 0.01}}
    path = matrices.write(tmp_path / "m.yaml", runs=tmp_path / "runs", teachers={}, methods=methods)
    obstacle = look(path).run(jobs(path)["alone s0"]).folder
    obstacle.parent.mkdir(parents=True)
    obstacle.touch()
    process = start(path, "--keep-going")
    text, _ = process.communicate()
    assert process.returncode == 1
    assert "alone s0: FAILED, log in " in text
    assert "1 of 2 runs made in " in text
    assert open_titles(path) == ["alone s0"]
    obstacle.unlink()
    process = start(path)
    text, _ = process.communicate()
    assert process.returncode == 0, text
