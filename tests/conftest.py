"""What every test has: one thread, no data of this machine, and a finished matrix."""

import shutil

import pytest
import torch

torch.set_num_threads(1)  # numbers and times do not depend on the machine's load


@pytest.fixture(autouse=True)
def _no_data_folder(monkeypatch):
    """No test reads data that happen to be on this machine."""
    monkeypatch.delenv("LABKIT_DATA", raising=False)


@pytest.fixture(scope="session")
def made_runs(tmp_path_factory):
    """Folder of the complete runs of `tests.matrices`' matrix."""
    from tests import matrices

    folder = tmp_path_factory.mktemp("matrix")
    matrices.make(matrices.write(folder / "small.yaml", runs=folder / "runs"))
    return folder / "runs"


@pytest.fixture
def complete_matrix(made_runs, tmp_path):
    """A matrix file whose runs are all complete, in a folder of the test's own."""
    from tests import matrices

    shutil.copytree(made_runs, tmp_path / "runs")
    return matrices.write(tmp_path / "small.yaml", runs=tmp_path / "runs")


@pytest.fixture
def fresh(tmp_path):
    """A matrix file without a run."""
    from tests import matrices

    return matrices.write(tmp_path / "small.yaml", runs=tmp_path / "runs")
