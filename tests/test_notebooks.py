import ast

import jupytext
import pytest

from labkit.headless import NOTEBOOKS
from labkit.records import project_root


def cells(stem):
    return jupytext.read(project_root() / "notebooks" / f"{stem}.py").cells


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_parameters_cell_and_settings_are_equal_in_name_order_default_and_type(name):
    stem, settings = NOTEBOOKS[name]
    (cell,) = [cell for cell in cells(stem) if "parameters" in cell.metadata.get("tags", [])]
    lines = ast.parse(cell.source).body
    found = {line.target.id: (line.annotation.id, ast.literal_eval(line.value)) for line in lines}
    assert list(found) == list(settings.model_fields)
    for parameter, (kind, value) in found.items():
        assert value == settings.model_fields[parameter].default, parameter
        assert type(value).__name__ == kind, parameter


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_every_parameter_line_is_one_papermill_can_read(name):
    (cell,) = [cell for cell in cells(NOTEBOOKS[name][0]) if "parameters" in cell.metadata.get("tags", [])]
    for line in cell.source.splitlines():
        assert line.count("=") == 1, f"papermill gives up on a second '=': {line}"
        assert "  # " in line, f"no unit or meaning: {line}"


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_the_settings_object_is_written_out_from_every_parameter(name):
    stem, settings = NOTEBOOKS[name]
    built = [
        call for cell in cells(stem) if cell.cell_type == "code" for call in ast.walk(ast.parse(cell.source))
        if isinstance(call, ast.Call) and getattr(call.func, "id", "") == settings.__name__
    ]  # fmt: skip
    (call,) = built
    assert [(word.arg, word.value.id) for word in call.keywords] == [(field, field) for field in settings.model_fields]


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebooks_tell_and_labkit_does(name):
    for cell in cells(NOTEBOOKS[name][0]):
        if cell.cell_type == "code":
            nodes = list(ast.walk(ast.parse(cell.source)))
            assert not any(isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Lambda) for node in nodes)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebooks_name_their_kernel(name):
    notebook = jupytext.read(project_root() / "notebooks" / f"{NOTEBOOKS[name][0]}.ipynb")
    assert notebook.metadata.kernelspec.name == "python3"
