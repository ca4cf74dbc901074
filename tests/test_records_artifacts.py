"""Figures and tables come with their recipe; only what labkit's manifest lists is removed."""

import json
import subprocess
import sys

import pytest

from labkit.errors import RecordError
from labkit.records import file_hash
from labkit.records.artifacts import (
    figures_manifest,
    record_artifact,
    save_arrays,
    save_figure,
    write_csv,
    write_records,
)
from tests.runs import made

WRITE_MANY = """
import sys
from pathlib import Path
from labkit.records.artifacts import record_artifact, write_csv
folder, worker = Path(sys.argv[1]), sys.argv[2]
for number in range(10):
    path = write_csv(folder / f"{worker}-{number}.csv", ["a"], [[number]])
    record_artifact(path, caption="c", runs=[], parameters={})
"""


def entries(folder):
    return figures_manifest(folder)["files"]


def test_a_figure_comes_with_its_recipe_and_no_folder_of_this_machine(tmp_path):
    plt = pytest.importorskip("matplotlib.pyplot")
    run = made(tmp_path / "runs")
    figure, axes = plt.subplots()
    axes.imshow([[1, 2]])
    parameters = {
        "seed": 3,
        "runs": str(tmp_path),
        "teacher": str(tmp_path / "t"),
        "matrix": "a.yaml",
    }
    path = tmp_path / "f" / "curve.png"
    save_figure(figure, path, caption="c", alt="a", runs=[run], parameters=parameters)
    plt.close(figure)
    entry = entries(path.parent)["curve.png"]
    assert entry["sha256"] == file_hash(path)
    assert entry["runs"] == [run.run_id]
    assert entry["parameters"] == {"seed": 3, "teacher": "t", "matrix": "a.yaml"}
    assert entry["revision"]
    assert "curve.pdf" in entries(path.parent)
    assert str(tmp_path) not in (path.parent / "MANIFEST.json").read_text()


def test_parallel_writers_lose_no_entry(tmp_path):
    workers = [
        subprocess.Popen([sys.executable, "-c", WRITE_MANY, tmp_path, str(number)])
        for number in range(4)
    ]
    assert [worker.wait(timeout=100) for worker in workers] == [0] * 4
    assert len(entries(tmp_path)) == 40


@pytest.mark.parametrize(
    "content",
    [
        "{}",
        "{",
        '{"files": {}}',
        '{"made_by": "another", "files": {}, "records": []}',
        '{"made_by": "labkit-figures-1", "files": {"../x": {"runs": []}}, "records": []}',
        '{"made_by": "labkit-figures-1", "files": {"/etc/x": {"runs": []}}, "records": []}',
        '{"made_by": "labkit-figures-1", "files": {"x": {"runs": ["../y"]}}, "records": []}',
        '{"made_by": "labkit-figures-1", "files": {"x": []}, "records": []}',
        '{"made_by": "labkit-figures-1", "files": {}, "records": ["../../x"]}',
        '{"made_by": "labkit-figures-1", "files": {}, "records": {}}',
    ],
)
def test_another_program_s_manifest_is_refused_and_left(tmp_path, content):
    manifest = tmp_path / "MANIFEST.json"
    manifest.write_text(content)
    (tmp_path / "x").touch()
    for use in (
        lambda: figures_manifest(tmp_path),
        lambda: record_artifact(tmp_path / "x", caption="", runs=[], parameters={}),
        lambda: write_records([], tmp_path),
    ):
        with pytest.raises(RecordError, match=r"MANIFEST\.json"):
            use()
    assert manifest.read_text() == content
    assert (tmp_path / "x").exists()


def test_records_of_unused_runs_are_removed_and_the_user_s_stay(tmp_path):
    runs = [made(tmp_path / "runs", seed=seed) for seed in range(2)]
    folder = tmp_path / "figures"
    write_records(runs, folder)
    record = json.loads((folder / "records" / f"{runs[0].run_id}.json").read_text())
    assert record["state"] == "complete"
    assert [row["step"] for row in record["log"]] == [1, 2]
    assert record["config"]["settings"]["seed"] == 0
    mine = folder / "records" / "experiment-notes.json"
    mine.write_text("{}")
    table = write_csv(folder / "table.csv", ["miou"], [[1.0]])
    record_artifact(table, caption="c", runs=runs[:1], parameters={})
    write_records([], folder)
    assert {path.stem for path in (folder / "records").iterdir()} == {runs[0].run_id, mine.stem}


def test_a_table_neutralises_formulas_and_leaves_blanks(tmp_path):
    path = write_csv(tmp_path / "t.csv", ["class", "gain"], [["=1+1", -1.5], ["a,b", None]])
    assert path.read_text() == 'class,gain\n\'=1+1,-1.5\n"a,b",\n'


def test_equal_arrays_give_equal_files(tmp_path):
    paths = [save_arrays(tmp_path / f"{name}.npz", {"a": [1, 2]}) for name in "xy"]
    assert file_hash(paths[0]) == file_hash(paths[1])
