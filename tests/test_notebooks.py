"""Notebooks: their parameters are settings, their cells are small, their pairs agree."""

import ast
import importlib
import re

import jupytext
import nbformat
import pytest

from labkit.batch.executed import NOTEBOOKS, VIEWS
from labkit.batch.pairs import unpaired
from labkit.datasets import available, dataset_info
from labkit.settings import make_settings, project_root
from labkit.settings.resolve import FIELDS

FOLDER = project_root() / "notebooks"
STEMS = sorted(NOTEBOOKS.values())
KNOBS = 12  # at most, `overrides` not counted
CELL_LINES = 10  # of code
FIRST_IDEA = 25  # lines of code until something is shown
SETTINGS_LINES = 20  # parameters cell, and what builds the settings from it
SHOWS = re.compile(r"\bshow\(|_figure\(|_report\(|\bMarkdown\(|\.save\(")
PICTURE = re.compile(r"!\[.+?\]\((?P<path>[^)]+)\)")
LINK = re.compile(r"(?<!!)\[.+?\]\((?P<path>\w+\.ipynb)\)")

each_notebook = pytest.mark.parametrize("name", NOTEBOOKS)


def read_cells(name):
    return jupytext.read(FOLDER / f"{NOTEBOOKS[name]}.py").cells


def code_cells(name):
    return [cell for cell in read_cells(name) if cell.cell_type == "code"]


def markdown_cells(name):
    return [cell.source for cell in read_cells(name) if cell.cell_type == "markdown"]


def is_parameters(cell):
    return "parameters" in cell.metadata.get("tags", [])


def parameters_cell(name):
    (cell,) = [cell for cell in code_cells(name) if is_parameters(cell)]
    return cell.source


def parameters(name):
    """Name -> (annotation, default) of the parameters cell, in order."""
    lines = ast.parse(parameters_cell(name)).body
    return {line.target.id: (line.annotation.id, ast.literal_eval(line.value)) for line in lines}


def knobs(name):
    """Name -> default of the parameters that are settings."""
    given = {knob: value for knob, (_, value) in parameters(name).items()}
    assert given.pop("overrides") == ""
    return given


def lines_of(source):
    return [line for line in source.splitlines() if line.strip()]


def settings_default(name, knob):
    fields = VIEWS[name].model_fields if name in VIEWS else FIELDS[name][knob].model_fields
    return fields[knob].default


@each_notebook
def test_knobs_are_settings_with_the_same_default_and_type(name):
    # not fields: the kind of a teacher, and a student without a teacher
    apart = {"teacher": {"assisted": True}, "student": {"teacher": ""}}.get(name, {})
    for knob, (kind, value) in parameters(name).items():
        assert type(value).__name__ == kind, knob
        if knob != "overrides":
            default = apart[knob] if knob in apart else settings_default(name, knob)
            assert value == default, knob


@each_notebook
def test_knobs_are_few_and_overrides_is_the_last_parameter(name):
    assert list(parameters(name))[-1] == "overrides"
    assert len(knobs(name)) <= KNOBS


@each_notebook
def test_papermill_can_read_every_parameter_line(name):
    for line in parameters_cell(name).splitlines():
        assert line.count("=") == 1, f"papermill gives up on a second '=': {line}"
        assert re.search(r'  # ["\w(]', line), f"no unit or meaning: {line}"


@pytest.mark.parametrize(
    ("name", "taught_by"), [("teacher", None), ("student", None), ("student", "assisted")]
)
def test_a_notebook_at_its_defaults_follows_every_recipe(name, taught_by):
    """A knob would win over a recipe that sets it, and the run would differ from `labkit train`."""
    values = knobs(name) | ({"teacher": "some-teacher"} if taught_by else {})
    alone = {"teacher": "some-teacher"} if taught_by else {}
    for dataset in set(available()) - {"folder"}:
        for recipe in dataset_info(dataset).recipes:
            place = {"dataset": dataset, "recipe": recipe}
            shown = make_settings(name, values | place, taught_by=taught_by)
            assert shown == make_settings(name, alone | place, taught_by=taught_by), place


@each_notebook
def test_every_knob_reaches_the_settings(name):
    sources = [cell.source for cell in code_cells(name) if not is_parameters(cell)]
    names = [node for source in sources for node in ast.walk(ast.parse(source))]
    words = [
        (node.arg, node.value.id)
        for node in names
        if isinstance(node, ast.keyword) and isinstance(node.value, ast.Name)
    ]
    assert set(knobs(name)) <= {keyword for keyword, value in words if keyword == value}
    assert any("parse_overrides(overrides)" in source for source in sources)


@pytest.mark.parametrize("name", ["teacher", "student"])
def test_settings_take_few_lines_of_code(name):
    building = [cell.source for cell in code_cells(name) if "parse_overrides(" in cell.source]
    (building,) = [source for source in building if "import" not in source]
    lines = lines_of(parameters_cell(name)) + lines_of(building)
    assert len(lines) <= SETTINGS_LINES


@each_notebook
def test_the_first_idea_comes_early(name):
    lines = [line for cell in code_cells(name) for line in lines_of(cell.source)]
    if name in ("results", "attribution"):  # their parameters are not counted
        lines = lines[len(lines_of(parameters_cell(name))) :]
    first = next(number for number, line in enumerate(lines, start=1) if SHOWS.search(line))
    assert first <= FIRST_IDEA


@each_notebook
def test_cells_are_small_and_define_nothing(name):
    for cell in read_cells(name):
        assert cell.source.strip()
    for cell in code_cells(name):
        defined = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
        assert not any(isinstance(node, defined) for node in ast.walk(ast.parse(cell.source)))
        assert is_parameters(cell) or len(lines_of(cell.source)) <= CELL_LINES, cell.source


@each_notebook
def test_opens_with_what_it_teaches_and_a_picture_and_closes_with_a_takeaway(name):
    first, *_, last = markdown_cells(name)
    assert first.startswith("# ")
    assert "you will learn" in first.lower()
    assert PICTURE.search(first)
    assert "**Takeaway.**" in last
    following = LINK.findall(last)
    expected = STEMS[(STEMS.index(NOTEBOOKS[name]) + 1) % len(STEMS)]  # the last leads to the first
    assert f"{expected}.ipynb" in following


@each_notebook
def test_what_is_imported_exists(name):
    for cell in code_cells(name):
        for node in ast.walk(ast.parse(cell.source)):
            if isinstance(node, ast.ImportFrom) and node.module.startswith("labkit"):
                module = importlib.import_module(node.module)
                for alias in node.names:
                    if not hasattr(module, alias.name):
                        importlib.import_module(f"{node.module}.{alias.name}")


@each_notebook
def test_pictures_and_linked_notebooks_exist(name):
    text = "\n".join(markdown_cells(name))
    paths = [match["path"] for pattern in (PICTURE, LINK) for match in pattern.finditer(text)]
    assert paths
    assert [path for path in paths if not (FOLDER / path).is_file()] == []


@each_notebook
def test_the_generated_notebook_names_its_kernel_and_has_no_outputs(name):
    notebook = nbformat.read(FOLDER / f"{NOTEBOOKS[name]}.ipynb", as_version=4)
    assert notebook.metadata.kernelspec.name == "python3"
    for cell in notebook.cells:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


def test_pairs_agree():
    assert unpaired(FOLDER) == []


def test_every_notebook_can_be_run_by_name():
    assert sorted(path.stem for path in FOLDER.glob("*.py")) == STEMS
