"""Shell lines of the jobs of a matrix."""

import pytest

from labkit.batch.workflow import Workflow
from tests import matrices
from tests.matrices import SETTINGS


@pytest.mark.parametrize(("given", "expected"), [({}, "threads=3"), ({"threads": 2}, "threads=2")])
def test_a_run_has_the_scheduler_s_threads_unless_the_matrix_gives_them(tmp_path, given, expected):
    settings = {name: value for name, value in SETTINGS.items() if name != "threads"} | given
    path = matrices.write(tmp_path / "m.yaml", runs=tmp_path / "runs", settings=settings)
    workflow = Workflow(matrix=str(path), folder=str(tmp_path), threads=1)
    lines = [workflow.train(key, 3) for key in workflow.keys("teacher")]
    assert all(line.count("threads=") == 1 and expected in line for line in lines)


def test_the_tables_have_the_data_folder_of_the_runs(tmp_path):
    settings = SETTINGS | {"data_root": str(tmp_path)}
    path = matrices.write(tmp_path / "m.yaml", runs=tmp_path / "runs", settings=settings)
    workflow = Workflow(matrix=str(path), folder=str(tmp_path), threads=1)
    assert f"--set data_root={tmp_path} " in workflow.tables(1)
