"""`labkit matrix` as a user calls it, through the real Snakemake: what is open is made once, whatever stands or falls in between."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import psutil
import pytest

from labkit.files import read_json
from labkit.matrix import files_of, plan, read_matrix, study_files
from labkit.records import project_root, receipt_of
from tests import matrices
from tests.matrices import SETTINGS, jobs, open_titles, run_folder
from tests.test_headless_stops import processes_naming, wait_for

SMALLEST = {"teachers": {"assisted": {}}, "methods": {"taught": {"teacher": "assisted"}}}
TWO_BY_THREE = {"seeds": [0, 1, 2], "teachers": {"assisted": {}}, "methods": {"alone": {}, "of assisted": {"teacher": "assisted"}}}
STEPS = 120
LONG = {
    "teachers": {"plain": {"method": "none"}},
    "methods": {"taught": {"teacher": "plain"}},
    "settings": SETTINGS | {"train_steps": STEPS, "checkpoint_every_steps": 5, "log_every_steps": 1},
}


def start(path: Path, *options: str, cwd: Path | None = None) -> subprocess.Popen:
    """`labkit matrix` with one thread a job, whatever the machine has."""
    command = [sys.executable, "-m", "labkit", "matrix", str(path), "--jobs", str(os.cpu_count()), *options]
    environment = os.environ | {"PYTHONPATH": str(project_root()), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, cwd=cwd or project_root(), env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def call(path: Path, *options: str, code: int = 0, cwd: Path | None = None) -> list[str]:
    """The same to its end: the lines it printed."""
    process = start(path, *options, cwd=cwd)
    said, _ = process.communicate()
    assert process.returncode == code, said
    return said.splitlines()


def listed(path: Path) -> list[str]:
    """Titles that a dry run says would be started."""
    lines = call(path, "--dry-run")
    return [line.strip() for line in lines if line.startswith("  ")]


def logs(path: Path) -> dict[str, int]:
    """Title of every job with a log -> when that was written last."""
    matrix = read_matrix(path)
    found = {title: files_of(matrix, job).log for title, job in jobs(path).items()} | {"tables and figures": study_files(matrix).log}
    return {title: log.stat().st_mtime_ns for title, log in found.items() if log.is_file()}


def rewritten(before: dict[str, int], path: Path) -> set[str]:
    return {title for title, when in logs(path).items() if before.get(title) != when}


def everything(folder: Path) -> dict[Path, tuple[int, int]]:
    """Every file but the lock: time and size."""
    return {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in folder.rglob("*") if path.is_file() and path.name != ".lock"}


def ended(family: list[psutil.Process], runs: Path) -> None:
    """Every process of a killed command is gone within seconds."""
    alive = psutil.wait_procs(family, timeout=60)[1]
    assert alive == []
    wait_for(lambda: not processes_naming(str(runs)))


def family_of(process: subprocess.Popen) -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


def training(path: Path, title: str) -> bool:
    """Whether a job has written a checkpoint."""
    run = jobs(path)[title].run()
    return run is not None and (run.folder / "last.safetensors").is_file()


def made_once(path: Path, weights: dict[str, str]) -> None:
    """Every run is complete, step by step, with the weights of an uninterrupted run."""
    assert open_titles(path) == []
    for title, job in jobs(path).items():
        run = job.run()
        assert [row["step"] for row in run.log_rows() if "loss" in row] == list(range(1, STEPS + 1))
        assert run.checkpoint_hash() == weights[title]
        assert run.manifest()["started"] <= run.manifest()["finished"]
        assert "error" not in run.manifest()
    assert len(list(read_matrix(path).runs_folder.glob("streets-*"))) == len(weights)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """Title -> SHA-256 of the weights that LONG makes where nothing stops it."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    path = matrices.write(folder / "long.yaml", runs=folder / "runs", **LONG)
    matrices.make(path)
    return {title: job.run().checkpoint_hash() for title, job in jobs(path).items()}


@pytest.fixture
def long(tmp_path):
    path = matrices.write(tmp_path / "long.yaml", runs=tmp_path / "runs", **LONG)
    yield path
    assert processes_naming(str(tmp_path)) == []


@pytest.mark.timeout(900)
def test_a_matrix_is_made_once_and_the_second_call_starts_nothing(tmp_path):
    """From a folder of its own, whose name has a space, with a data root given from there."""
    folder = tmp_path / "my matrix"
    folder.mkdir()
    path = matrices.write(folder / "small.yaml", runs=folder / "runs", settings=SETTINGS | {"data_root": "data"}, **SMALLEST)
    said = call(Path(path.name), cwd=folder)
    matrix = read_matrix(path)
    assert said[0] == "small: 2 runs, 0 done, 2 to do, then the tables"
    assert said.index("teacher assisted s0: started") < said.index("taught s0: started")
    assert said[-1] == f"tables and figures: {matrix.figures_folder}"
    for title, job in jobs(path).items():
        files, run = files_of(matrix, job), job.run()
        assert read_json(files.receipt) == receipt_of(run), title
        assert files.log.read_text().splitlines()[-1] == str(run.folder)
        executed = nbformat.read(files.notebook, as_version=4)
        assert all(cell.execution_count for cell in executed.cells if cell.cell_type == "code")
        assert f'data_root = "{folder / "data"}"' in "\n".join(cell.source for cell in executed.cells)
        assert not files.failure.exists()
    assert nbformat.read(study_files(matrix).notebook, as_version=4).cells
    assert "| taught | 1 |" in (matrix.figures_folder / "students.md").read_text()
    before = everything(folder)
    assert call(path)[-1] == f"nothing to start; tables and figures: {matrix.figures_folder}"
    assert everything(folder) == before


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_what_is_lost_or_added_is_made_and_nothing_else(tmp_path):
    path = matrices.write(tmp_path / "small.yaml", runs=tmp_path / "runs", **TWO_BY_THREE)
    call(path)
    assert listed(path) == []
    before, weights = logs(path), {title: receipt_of(job.run()) for title, job in jobs(path).items()}
    assert len(before) == 10
    (run_folder(path, "teacher assisted s1") / "model.safetensors").unlink()
    expected = ["teacher assisted s1", "of assisted s1", "tables and figures"]
    assert listed(path) == expected
    call(path)
    assert rewritten(before, path) == set(expected)
    assert {title: receipt_of(job.run()) for title, job in jobs(path).items()} == weights
    before = logs(path)
    matrices.write(path, runs=tmp_path / "runs", **TWO_BY_THREE | {"seeds": [2, 0, 5]})
    expected = ["teacher assisted s5", "alone s5", "of assisted s5", "tables and figures"]
    assert listed(path) == expected
    call(path)
    assert rewritten(before, path) == set(expected)
    assert "| of assisted | 3 |" in (read_matrix(path).figures_folder / "students.md").read_text()


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_job_that_fails_leaves_the_others_alone_and_the_next_call_goes_on(tmp_path):
    methods = {"alone": {}, "faster": {"learning_rate": 0.01}}
    path = matrices.write(tmp_path / "small.yaml", runs=tmp_path / "runs", teachers={}, methods=methods)
    obstacle = jobs(path)["alone s0"].run().folder
    obstacle.parent.mkdir()
    obstacle.touch()
    said = call(path, "--keep-going", code=1)
    text = "\n".join(said)
    assert "faster s0: done after " in text
    assert "alone s0: FAILED, log in " in text
    assert f"    {obstacle}/.notebook.lock: cannot be written" in text
    assert "1 of 2 runs made in " in text
    assert "labkit: not made: alone s0." in said
    assert said[-1].startswith("Go on with: labkit matrix ")
    assert open_titles(path) == ["alone s0"]
    study = [sys.executable, "-m", "labkit", "run", "study", "--set", f"matrix={path}"]
    subprocess.run(study, cwd=project_root(), check=True, capture_output=True)
    table = (read_matrix(path).figures_folder / "students.md").read_text()
    assert "| alone | 0 of 1 | – |" in table
    assert "| faster | 1 | " in table
    obstacle.unlink()
    before = logs(path)
    assert listed(path) == ["alone s0", "tables and figures"]
    call(path)
    assert rewritten(before, path) == {"alone s0", "tables and figures"}
    assert "–" not in (read_matrix(path).figures_folder / "students.md").read_text()


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("victim", ["labkit matrix", "snakemake"])
def test_a_killed_scheduler_leaves_no_orphan_and_the_next_call_loses_nothing(long, uninterrupted, victim):
    started = {}
    for title in ("teacher plain s0", "taught s0"):
        process = start(long)
        wait_for(lambda: training(long, title), seconds=300)  # noqa: B023 (called within the loop)
        family = family_of(process)
        (snakemake,) = [child for child in family if "labkit.workflow" in child.cmdline() and child.ppid() == process.pid]
        os.kill(process.pid if victim == "labkit matrix" else snakemake.pid, signal.SIGKILL)
        began = time.monotonic()
        said, _ = process.communicate()
        ended(family, long.parent)
        print(f"{victim} killed while {title} trained: {len(family)} processes gone after {time.monotonic() - began:.1f} s\n{said}")
        assert process.returncode != 0
        assert title in open_titles(long)
        assert not files_of(read_matrix(long), jobs(long)[title]).failure.exists()
        started[title] = read_json(jobs(long)[title].run().folder / "manifest.json")["started"]
    call(long)
    made_once(long, uninterrupted)
    assert {title: job.run().manifest()["started"] for title, job in jobs(long).items()} == started


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_call_right_after_a_kill_waits_for_the_orphans(long, uninterrupted):
    process = start(long)
    wait_for(lambda: training(long, "teacher plain s0"), seconds=300)
    family = family_of(process)
    process.kill()
    process.communicate()
    call(long)
    ended(family, long.parent)
    made_once(long, uninterrupted)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_ctrl_c_ends_everything_and_the_same_command_goes_on(long, uninterrupted):
    process = start(long)
    wait_for(lambda: training(long, "teacher plain s0"), seconds=300)
    family = family_of(process)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate()
    assert process.returncode == 130, said
    assert "labkit: interrupted (Ctrl-C).\nGo on with: " in said
    assert "Traceback" not in said
    ended(family, long.parent)
    matrix = read_matrix(long)
    (teacher, _) = plan(matrix).jobs
    assert "interrupted (Ctrl-C)" in json.dumps(teacher.run().manifest().get("error", "")) + files_of(matrix, teacher).log.read_text()
    call(long)
    made_once(long, uninterrupted)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_two_calls_at_once_make_nothing_twice(long, uninterrupted):
    first = start(long)
    wait_for(lambda: training(long, "teacher plain s0"), seconds=300)
    second = start(long)
    said, _ = second.communicate()
    assert f".matrix: in use by another process (pid {first.pid})" in said or "nothing to start" in said
    assert second.returncode == (1 if "in use" in said else 0)
    said, _ = first.communicate()
    assert first.returncode == 0, said
    assert said.count(": started") == 2
    made_once(long, uninterrupted)
