"""`labkit runs`, its pruning, and `labkit compare`."""

import json

import pytest
from typer.testing import CliRunner

from labkit.cli import app
from labkit.errors import RecordError
from labkit.records import lock, start_run
from labkit.records.locks import NOTEBOOK_LOCK
from labkit.records.prune import remove_run
from tests.runs import made, planned


def call(*arguments):
    return CliRunner().invoke(app, [str(part) for part in arguments])


@pytest.fixture
def folder(tmp_path):
    """Two complete teachers and a student, a failed, a killed and a running run."""
    runs = tmp_path / "runs"
    teacher = made(runs, miou=60.0)
    made(runs, assisted=False, miou=50.0)
    made(runs, "student", teacher=teacher, distillation="cwd:3", miou=55.0)
    failed, killed = planned(runs, seed=7), planned(runs, seed=8)
    for run in (failed, killed):
        start_run(run)
    failed.mark("failed", error="the loss is not finite\nsecond line")
    return runs


def ids_of(done):
    return [line.split()[-1] for line in done.stdout.splitlines() if "streets-" in line]


def test_runs_are_chosen_by_role_and_kind_and_sorted(folder):
    done = call("runs", "--set", f"runs={folder}", "--sort", "miou", "--role", "teacher")
    assert done.exit_code == 0, done.output
    kinds = [name.split("-")[2] for name in ids_of(done)]
    assert kinds[:2] == ["assisted", "plain"]
    assert len(kinds) == 4
    done = call("runs", "--set", f"runs={folder}", "--kind", "of-assisted")
    assert len(ids_of(done)) == 1
    done = call("runs", "--set", f"runs={folder}", "--dataset", "camvid")
    assert "no run of dataset camvid" in done.stdout
    done = call("runs", "--set", f"runs={folder}", "--dataset", "street")
    assert done.exit_code == 2
    assert "no such data set; did you mean streets?" in done.stderr


def test_pruning_names_what_it_would_remove_and_changes_nothing(folder):
    before = sorted(path.name for path in folder.iterdir())
    done = call("runs", "--prune", "--set", f"runs={folder}")
    assert done.exit_code == 0, done.output
    assert "would remove 2 failed or stopped" in done.stdout
    assert "3 others stay" in done.stdout
    assert "the loss is not finite)" in done.stdout
    assert sorted(path.name for path in folder.iterdir()) == before


def test_pruning_leaves_complete_and_running_runs(folder):
    running = planned(folder, seed=9)
    start_run(running)
    with running.lock():
        done = call("runs", "--prune", "--yes", "--set", f"runs={folder}")
        assert done.exit_code == 0, done.output
        assert "removed 2 failed or stopped" in done.stdout
        assert running.folder.is_dir()
    seeds = {json.loads((path / "manifest.json").read_text())["seed"] for path in folder.iterdir()}
    assert seeds == {0, 9}
    assert len(list(folder.iterdir())) == 4


def test_pruning_leaves_links_and_runs_whose_notebook_is_executed(folder, tmp_path):
    shown, linked = planned(folder, seed=9), planned(tmp_path / "elsewhere", seed=10)
    for run in (shown, linked):
        start_run(run)
    (folder / linked.run_id).symlink_to(linked.folder)
    with lock(shown.folder / NOTEBOOK_LOCK):
        done = call("runs", "--prune", "--yes", "--set", f"runs={folder}")
        assert done.exit_code == 0, done.output
        assert "removed 2 failed or stopped" in done.stdout
        assert "5 others stay" in done.stdout
    assert (linked.folder / "manifest.json").is_file()
    assert shown.folder.is_dir()


def test_a_complete_run_is_never_removed(tmp_path):
    run = made(tmp_path)
    with pytest.raises(RecordError, match="complete"):
        remove_run(run)
    (run.folder / "model.safetensors").unlink()
    assert "would remove 0" in call("runs", "--prune", "--set", f"runs={tmp_path}").stdout


def test_yes_alone_removes_nothing(folder):
    done = call("runs", "--yes", "--set", f"runs={folder}")
    assert done.exit_code == 2
    assert len(list(folder.iterdir())) == 5


def rows_of(done, title):
    """Cells by name of the table that begins with a title."""
    lines = done.stdout.split(title)[1].splitlines()[1:]
    lines = lines[: lines.index("")] if "" in lines else lines
    cells = (line.rsplit(maxsplit=3) for line in lines)
    return {row[0].strip(): row[1:] for row in cells}


def test_two_runs_are_compared_by_settings_and_scores(folder):
    names = ("streets-teacher-assisted", "streets-teacher-plain")
    remove = call("runs", "--prune", "--yes", "--set", f"runs={folder}")
    assert remove.exit_code == 0
    done = call("compare", *names, "--set", f"runs={folder}")
    assert done.exit_code == 0, done.output
    assert rows_of(done, "scores, percent")["mIoU, image or true label"] == [
        "60.0",
        "50.0",
        "-10.0",
    ]
    assert rows_of(done, "IoU by class")["car"] == ["60.0", "50.0", "-10.0"]
    differing = done.stdout.split("settings that differ")[1].split("scores")[0]
    assert "kind" in differing
    assert "consistency_weight" in differing
    assert "seed" not in differing


def test_three_runs_are_compared_with_the_first(folder):
    call("runs", "--prune", "--yes", "--set", f"runs={folder}")
    names = ("streets-teacher-assisted", "streets-teacher-plain", "streets-student")
    done = call("compare", *names, "--set", f"runs={folder}")
    assert "C - A" in done.stdout
    assert "-10.0   -5.0" in done.stdout


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (("streets-teacher-plain",), "got 1 run; expected 2 to 6"),
        (("streets-teacher-plain", "streets-teacher-assisted"), "several begin so"),
        (("streets-teacher-plain", "nobody"), "no such run"),
    ],
)
def test_what_cannot_be_compared_is_refused(folder, names, words):
    done = call("compare", *names, "--set", f"runs={folder}")
    assert done.exit_code == 2
    assert words in done.stderr


def test_an_empty_folder_names_folders_that_hold_runs(folder):
    (folder / "empty").mkdir()
    done = call("runs", "--set", f"runs={folder.parent}")
    assert f"Runs are in {folder} (5)" in done.stdout
    done = call("evaluate", "streets", "--set", f"runs={folder.parent}")
    assert done.exit_code == 2
    assert f"{folder} (5)" in done.stderr
