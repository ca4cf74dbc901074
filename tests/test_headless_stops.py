"""Whatever stops a notebook: the exit code says so, the run does not count, the evidence is there, and the same command goes on."""

import functools
import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import nbformat
import pytest
from typer.testing import CliRunner

from labkit import headless
from labkit.cli import app
from labkit.files import held
from labkit.headless import _notebook, _runs
from labkit.records import complete_runs, load_run, project_root

TINY = {
    "train_size": 8, "val_size": 4, "height": 32, "width": 64, "crop_height": 32, "crop_width": 64, "batch_size": 2,
    "train_steps": 4, "log_every_steps": 1, "checkpoint_every_steps": 1, "threads": 1, "precision": "fp32",
}  # fmt: skip
PLANTED = """import os, time, labkit.engine
from pathlib import Path
keep = labkit.engine.save_checkpoint
def saved(*args, **options):
    keep(*args, **options)
    {what}
labkit.engine.save_checkpoint = saved"""
HOLDER = """import sys, time
from pathlib import Path
from labkit.files import held
with held(Path(sys.argv[1])):
    print('held', flush=True)
    time.sleep(60)"""
STOPS = {
    "a kernel that is killed": "os.kill(os.getpid(), 9)",
    "a cell that exits": "raise SystemExit(0)",
    "a cell that fails": "raise RuntimeError('planted')",
    "a cell that takes for ever": "(Path(experiment.run.folder) / 'begun').touch(); time.sleep(300)",
}


@pytest.fixture(autouse=True)
def _command_line(monkeypatch):
    """What a user would have typed; messages repeat it."""
    monkeypatch.setattr(sys, "argv", ["labkit", "run", "teacher", "--set", "batch_size=2"])


@pytest.fixture
def notebooks(tmp_path, monkeypatch):
    """what -> the notebooks' folder holds a teacher notebook in which that happens after the first checkpoint."""

    def plant(what: str) -> None:
        folder = tmp_path / "project" / "notebooks"
        folder.mkdir(parents=True, exist_ok=True)
        notebook = nbformat.read(project_root() / "notebooks" / "01_teacher_training.ipynb", as_version=4)
        fit = next(number for number, cell in enumerate(notebook.cells) if "experiments.fit(experiment)" in cell.source)
        notebook.cells.insert(fit, nbformat.v4.new_code_cell(PLANTED.format(what=what)))
        nbformat.write(notebook, folder / "01_teacher_training.ipynb")
        monkeypatch.setattr(_runs, "project_root", lambda: tmp_path / "project")

    return plant


def run_teacher(runs: Path, *options: str):
    values = [part for name, value in (TINY | {"runs": runs}).items() for part in ("--set", f"{name}={value}")]
    return CliRunner().invoke(app, ["run", "teacher", *values, *options])


def checked(runs: Path, done, *, code: int, says: str) -> None:
    """Exit code and message are truthful, the run is not complete, and notebook and log tell what happened."""
    assert done.exit_code == code, done.output
    assert says in done.stderr
    assert "Traceback" not in done.output
    assert "Go on with: labkit run teacher --set batch_size=2" in done.stderr
    assert "  | metrics = experiments.fit(experiment)" in done.stderr
    assert "printed last:" in done.stderr
    (path,) = runs.glob("*/01_teacher_training.ipynb")
    assert str(path) in done.stderr
    executed = nbformat.read(path, as_version=4)
    assert executed.metadata.labkit.stopped in done.stderr
    assert executed.metadata.papermill.exception
    status = [cell.metadata.papermill.status for cell in executed.cells if cell.cell_type == "code"]
    assert status[status.index("failed") :] == ["failed", *["pending"] * (len(status) - status.index("failed") - 1)]
    assert "step/s" in path.with_suffix(".log").read_text()
    assert load_run(path.parent).state == "failed"
    assert complete_runs(runs) == []


@pytest.mark.parametrize(
    ("what", "code", "says", "options"),
    [
        ("a kernel that is killed", 1, "its kernel died (killed, or out of memory", ()),
        ("a cell that exits", 1, "the cell ended the notebook (sys.exit); ", ()),
        ("a cell that fails", 1, "RuntimeError: planted", ()),
        ("a cell that takes for ever", 124, "stopped at its time limit of 15 s", ("--timeout", "15")),
    ],
)
def test_a_stop_is_told_and_the_same_command_goes_on(tmp_path, monkeypatch, notebooks, what, code, says, options):
    runs = tmp_path / "runs"
    notebooks(STOPS[what])
    checked(runs, run_teacher(runs, *options), code=code, says=says)
    if what == "a kernel that is killed":
        monkeypatch.setattr(_runs, "project_root", project_root)
        done = run_teacher(runs)
        assert done.exit_code == 0, done.output
        (run,) = complete_runs(runs)
        assert [row["step"] for row in run.log_rows() if "loss" in row] == [1, 2, 3, 4]
        assert "error" not in run.manifest()


@pytest.mark.parametrize(
    ("number", "code", "says"), [(signal.SIGINT, 130, "interrupted (Ctrl-C)"), (signal.SIGTERM, 143, "told to stop (SIGTERM)")]
)
def test_a_signal_is_told_and_ends_the_kernel(tmp_path, notebooks, number, code, says):
    runs = tmp_path / "runs"
    notebooks(STOPS["a cell that takes for ever"])

    def send() -> None:
        while not list(runs.glob("*/begun")):
            time.sleep(0.1)
        os.kill(os.getpid(), number)

    threading.Thread(target=send, daemon=True).start()
    checked(runs, run_teacher(runs), code=code, says=says)


def test_a_full_disk_is_told_and_nothing_half_written_counts(tmp_path):
    """Stand-in for the full disk: no file may pass 3 MB, and a checkpoint is larger."""
    runs = tmp_path / "runs"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3_000_000, hard))
    try:
        done = run_teacher(runs)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    checked(runs, done, code=1, says="last.safetensors: cannot be written, the file is larger than allowed. Free some space")
    assert list(runs.rglob("*.part")) == []
    assert list(runs.rglob("*.safetensors")) == []


def test_a_run_in_use_is_left_alone(tmp_path, monkeypatch):
    settings = headless.check_settings("teacher", TINY | {"runs": str(tmp_path)})
    folder = _runs.planned_run(settings).folder
    folder.mkdir(parents=True)
    with subprocess.Popen([sys.executable, "-c", HOLDER, folder / ".notebook.lock"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        monkeypatch.setattr(_notebook, "held", functools.partial(held, patience=0.3))
        done = run_teacher(tmp_path)
        process.kill()
    assert done.exit_code == 1
    assert f"in use by another process (pid {process.pid})" in done.stderr


def test_a_job_ends_when_the_command_that_started_it_is_killed(tmp_path):
    """kill -9 of `labkit run all`: its children notice, end in order and leave no kernel."""
    values = TINY | {"runs": tmp_path, "train_steps": 100_000}
    command = [sys.executable, "-m", "labkit", "run", "all", "--jobs", "1"]
    command += [part for name, value in values.items() for part in ("--set", f"{name}={value}")]
    process = subprocess.Popen(command, cwd=project_root(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for(lambda: list(tmp_path.glob("*/last.safetensors")))
    process.kill()
    process.wait()
    wait_for(lambda: not processes_naming(str(tmp_path)))
    (run,) = [load_run(path.parent) for path in tmp_path.glob("*/manifest.json")]
    assert run.state == "failed"
    assert "told to stop (SIGTERM)" in run.manifest()["error"]


def test_eight_notebooks_side_by_side_leave_nothing_behind(tmp_path):
    temporary = tmp_path / "t"
    temporary.mkdir()
    environment = os.environ | {"TMPDIR": str(temporary), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "labkit", "run", "noising", "--set"]
    started = [
        subprocess.Popen(
            [*command, f"runs={tmp_path / str(number)}"], cwd=project_root(), env=environment,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )
        for number in range(8)
    ]  # fmt: skip
    assert [process.communicate()[1] for process in started] == [""] * 8
    assert [process.returncode for process in started] == [0] * 8
    assert len(list(tmp_path.glob("*/figures/streets/noising.png"))) == 8
    assert list(temporary.iterdir()) == [], "a kernel's folder or socket is left"
    assert processes_naming(str(temporary)) == [], "a kernel is left"


def test_a_killed_process_s_private_folder_is_removed_by_the_next(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    ended = subprocess.Popen(["true"])
    ended.wait()
    kept = [tmp_path / f"labkit-{os.getpid()}-live", tmp_path / "labkit-notes-mine", tmp_path / "other"]
    for folder in [*kept, tmp_path / f"labkit-{ended.pid}-dead"]:
        (folder / "inside").mkdir(parents=True)
    with _notebook._private_folder() as private:
        assert sorted(tmp_path.iterdir()) == sorted([*kept, Path(private)])
    assert sorted(tmp_path.iterdir()) == sorted(kept)


def wait_for(condition, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.1)


def processes_naming(text: str) -> list[str]:
    """Command lines of live processes that hold a text, this one left out."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if text in line and path.parent.name != str(os.getpid()):
            found.append(line)
    return found
