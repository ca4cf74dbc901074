import os
import shutil

import nbformat
import pytest

from labkit import pairs
from labkit.records import project_root


@pytest.fixture
def folder(tmp_path):
    for path in (project_root() / "notebooks").glob("0*.*"):
        shutil.copy(path, tmp_path)
    return tmp_path


def test_the_committed_pairs_agree():
    assert pairs.unpaired(project_root() / "notebooks") == []


def test_an_edit_of_the_source_is_seen_even_with_an_older_time(folder):
    source = folder / "00_label_noising.py"
    source.write_text(source.read_text().replace("## One frame", "## One single frame"))
    os.utime(source, (0, 0))
    assert "00_label_noising: .py and .ipynb differ" in pairs.unpaired(folder)[0]


def test_an_edit_of_the_notebook_is_seen_even_with_an_older_time(folder):
    path = folder / "03_analysis.ipynb"
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[-1].source += "\nprint('edited')"
    nbformat.write(notebook, path)
    os.utime(path, (0, 0))
    assert "03_analysis" in pairs.unpaired(folder)[0]


def test_committed_outputs_are_seen(folder):
    path = folder / "02_student_distillation.ipynb"
    notebook = nbformat.read(path, as_version=4)
    code = next(cell for cell in notebook.cells if cell.cell_type == "code")
    code.outputs = [nbformat.v4.new_output("stream", text="left over")]
    nbformat.write(notebook, path)
    assert "02_student_distillation" in pairs.unpaired(folder)[0]


def test_a_missing_pair_is_named(folder):
    (folder / "01_teacher_training.ipynb").unlink()
    assert pairs.unpaired(folder) == ["01_teacher_training: has no pair; every notebook is a .py and an .ipynb."]


def test_generation_mends_and_repeats_byte_for_byte(folder):
    (folder / "01_teacher_training.ipynb").unlink()
    pairs.write_notebooks(folder)
    first = {path.name: path.read_bytes() for path in folder.glob("*.ipynb")}
    pairs.write_notebooks(folder)
    assert first == {path.name: path.read_bytes() for path in folder.glob("*.ipynb")}
    assert pairs.unpaired(folder) == []
