"""Lines of a dry run and of a status of a matrix."""

import shlex

import pytest

from labkit.batch import schedule
from labkit.records.files import read_json, write_json
from tests import matrices
from tests.matrices import SETTINGS, run_folder


def test_a_dry_run_prints_the_command_of_every_notebook_with_the_data_folder(complete_matrix):
    settings = SETTINGS | {"data_root": "my data"}
    runs = complete_matrix.parent / "runs"
    matrices.write(complete_matrix, runs=runs, settings=settings, report=True, methods={})
    lines = list(schedule.dry_run(str(complete_matrix)))
    commands = [shlex.split(line) for line in lines if line.startswith("labkit run ")]
    assert [words[2] for words in commands] == ["results", "teacher", "teacher"]
    assert all("data_root=my data" in words for words in commands)


@pytest.mark.parametrize(("seconds", "shown"), [("many", ""), (None, ""), ([1], ""), (4, "4 s")])
def test_a_status_shows_no_seconds_where_the_manifest_holds_no_number(
    complete_matrix, seconds, shown
):
    path = run_folder(complete_matrix, "alone s0") / "manifest.json"
    manifest = read_json(path)
    manifest["facts"]["seconds"] = seconds
    write_json(path, manifest)
    (line,) = [line for line in schedule.status(str(complete_matrix)) if "alone s0" in line]
    assert line == f"    done  alone s0  {shown}".rstrip()
