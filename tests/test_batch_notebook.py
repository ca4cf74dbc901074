"""Notebooks headless: every way to stop one is reported, and success means that every cell ran."""

import os
import signal
import threading
from pathlib import Path

import nbformat
import pytest

from labkit.batch import commands, notebook_runs
from labkit.batch.executed import was_executed
from labkit.batch.notebook import execute, notebook_parameters
from labkit.errors import FileError, NotebookError, RecordError, SettingsError
from labkit.records.files import write_text
from tests.processes import locked_elsewhere, processes_naming, wait_for

FIRST = "number: int = 1  # a parameter\noverrides: str = ''"
SECOND = "print('step', number, flush=True)"


@pytest.fixture
def written(tmp_path):
    """(source of the third cell) -> a notebook of four cells."""

    def write(cell: str) -> Path:
        sources = [FIRST, SECOND, cell, "print('last')"]
        cells = [nbformat.v4.new_code_cell(source) for source in sources]
        cells[0].metadata["tags"] = ["parameters"]
        kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
        path = tmp_path / "in {x}" / "01_small.ipynb"
        path.parent.mkdir(exist_ok=True)
        book = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})
        nbformat.write(book, path)
        return path

    return write


def test_a_notebook_runs_with_its_parameters_and_is_known_as_executed(written, tmp_path):
    executed = tmp_path / "out {y} #z" / "01_small.ipynb"
    executed.parent.mkdir()
    execute(written("print(number + 1)"), executed, {"number": 41}, facts=lambda: {"of": "x"})
    book = nbformat.read(executed, as_version=4)
    assert [cell.execution_count for cell in book.cells] == [1, 2, 3, 4, 5]
    assert book.cells[3].outputs[0].text == "42\n"
    assert "42" in executed.with_suffix(".log").read_text(encoding="utf-8")
    assert was_executed(executed, {"of": "x"})
    assert not was_executed(executed, {"of": "y"})
    assert not was_executed(tmp_path / "none.ipynb", {})
    assert notebook_parameters(written("1")) == {"number", "overrides"}


@pytest.mark.parametrize(
    ("cell", "code", "words", "options"),
    [
        ("import os; os.kill(os.getpid(), 9)", 1, "its kernel died (killed, or out of memory", {}),
        ("raise SystemExit(0)", 1, "the cell ended the notebook (sys.exit); 1 cells after it", {}),
        ("raise RuntimeError('planted')", 1, "RuntimeError: planted", {}),
        ("import time; time.sleep(300)", 124, "stopped at its time limit of 3 s", {"timeout": 3}),
    ],
)
def test_a_stop_is_reported_with_its_cell_and_its_evidence(
    written, tmp_path, cell, code, words, options
):
    executed = tmp_path / "01_small.ipynb"
    with pytest.raises(NotebookError) as caught:
        execute(written(cell), executed, {"number": 7}, **options)
    message = str(caught.value)
    assert caught.value.exit_code == code
    assert message.startswith(f"01_small, cell In [4] of 5: {words}")
    assert f"  | {cell}" in message
    assert f"Evidence: {executed} and 01_small.log beside it." in message
    book = nbformat.read(executed, as_version=4)
    assert words.split(";")[0] in book.metadata.labkit.stopped
    status = [c.metadata.papermill.status for c in book.cells if c.cell_type == "code"]
    assert status == ["completed"] * 3 + ["failed", "pending"], status
    assert "step 7" in executed.with_suffix(".log").read_text(encoding="utf-8")
    assert not was_executed(executed, {})


@pytest.mark.parametrize(
    ("number", "code", "words"),
    [(signal.SIGTERM, 143, "stopped by SIGTERM"), (signal.SIGHUP, 129, "stopped by SIGHUP")],
)
def test_a_signal_ends_the_kernel_and_is_reported(written, tmp_path, number, code, words):
    begun = tmp_path / "begun"
    cell = "import os, time; from pathlib import Path\n"
    cell += f"Path({str(begun)!r}).write_text(os.environ['IPYTHONDIR']); time.sleep(300)"

    def send() -> None:
        wait_for(lambda: begun.exists() and begun.read_text())
        os.kill(os.getpid(), number)

    threading.Thread(target=send, daemon=True).start()
    with pytest.raises(NotebookError, match=words) as caught:
        execute(written(cell), tmp_path / "out.ipynb", {})
    assert caught.value.exit_code == code
    wait_for(lambda: not processes_naming(begun.read_text()), 10)
    assert not Path(begun.read_text()).exists()


def test_one_process_at_a_time_executes_into_a_folder(written, tmp_path):
    executed = tmp_path / "out" / "01_small.ipynb"
    with (
        locked_elsewhere(executed.parent / ".notebook.lock") as process,
        pytest.raises(FileError, match=f"pid {process.pid}"),
    ):
        execute(written("1"), executed, {}, patience=0.2)


# labkit run


@pytest.fixture
def stand_in(monkeypatch):
    """(what) stands in for the kernel; parameters it was given."""
    given = []

    def replace(what=lambda executed: None):
        def run(source, executed, parameters, **options):
            given.append(parameters)
            what(executed)

        monkeypatch.setattr(notebook_runs, "execute", run)
        return given

    return replace


def test_settings_are_checked_before_a_kernel_starts(stand_in, tmp_path):
    given = stand_in()
    for name in ("noising", "attribution", "teacher"):
        with pytest.raises(SettingsError, match="did you mean data_root"):
            commands.run_notebook(name, {"data_rot": "streets", "runs": str(tmp_path)})
    assert given == []


def test_a_view_without_its_result_is_no_success(stand_in, tmp_path):
    stand_in()
    with pytest.raises(NotebookError, match="ended without writing to"):
        commands.run_notebook("noising", {"runs": str(tmp_path)})


def test_values_reach_their_parameters_and_all_others_the_overrides(
    stand_in, tmp_path, monkeypatch
):
    known = frozenset({"frame", "overrides"})
    monkeypatch.setattr(notebook_runs, "notebook_parameters", lambda source: known)
    given = stand_in()
    values = {"runs": str(tmp_path), "frame": "3", "seed": "1"}
    with pytest.raises(NotebookError):
        commands.run_notebook("noising", values)
    assert given == [{"frame": "3", "overrides": f"runs={tmp_path}, seed=1"}]


def test_another_program_s_manifest_is_refused_before_anything_starts(stand_in, tmp_path):
    given = stand_in()
    write_text(tmp_path / "figures" / "MANIFEST.json", '{"name": "app"}')
    values = {"runs": str(tmp_path), "figures": str(tmp_path / "figures")}
    with pytest.raises(RecordError, match=r"MANIFEST\.json"):
        commands.run_notebook("noising", values)
    assert given == []


def test_a_training_notebook_that_leaves_no_complete_run_is_no_success(stand_in, tmp_path):
    stand_in()
    with pytest.raises(NotebookError, match="ended with the run absent; expected complete"):
        commands.run_notebook("teacher", {"runs": str(tmp_path), "train_size": 4, "val_size": 2})


@pytest.mark.slow
def test_eight_notebooks_side_by_side_in_one_runs_folder_all_finish(tmp_path):
    import subprocess
    import sys

    from labkit.settings.paths import project_root

    (tmp_path / "t").mkdir()
    environment = os.environ | {"TMPDIR": str(tmp_path / "t"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "labkit", "run", "noising", "--set", f"runs={tmp_path}/runs"]
    started = [
        subprocess.Popen(
            command, cwd=project_root(), env=environment, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, text=True,
        )
        for _ in range(8)
    ]  # fmt: skip
    assert [process.communicate()[1] for process in started] == [""] * 8
    assert [process.returncode for process in started] == [0] * 8
    assert list((tmp_path / "t").glob("labkit-*/kernel-*")) == []
