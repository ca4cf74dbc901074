"""Structure of the project: layers, one door per library, file lengths, and pins that agree."""

import ast
import importlib.metadata
import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = next(
    folder for folder in Path(__file__).resolve().parents if (folder / "pyproject.toml").is_file()
)
MODULES = sorted((ROOT / "labkit").rglob("*.py"))
LAYERS = (
    "errors",
    "method",
    "distillers",
    "networks",
    "datasets",
    "settings",
    "records",
    "training",
    "attribution",
    "study",
    "plots",
    "explore",
    "batch",
    "cli",
    "__main__",
)
DOORS = {
    "segmentation_models_pytorch": {"networks"},
    "timm": {"networks"},
    "onnx": {"networks"},
    "onnxruntime": {"networks"},
    "pytorch_grad_cam": {"attribution"},
    "captum": {"attribution"},
    "papermill": {"batch"},
    "nbclient": {"batch"},
    "nbconvert": {"batch"},
    "snakemake": {"batch"},
    "anywidget": {"explore"},
    "ipywidgets": {"explore"},
}
README_BYTES = 8192
SETTINGS_LINES = 20


def part_of(path: Path) -> str:
    """Module or package directly under labkit that a file belongs to; "" for labkit itself."""
    first = path.relative_to(ROOT / "labkit").parts[0]
    return first.removesuffix(".py").replace("__init__", "")


def imported(path: Path) -> set[str]:
    """Dotted names a file imports anywhere; relative imports are made absolute."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            package = path.relative_to(ROOT).parent.parts
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(filter(None, (base, node.module)))
            own = {f"{module}.{alias.name}" for alias in node.names}
            names |= own if module == "labkit" else {module}
    return names


def parts_imported(path: Path) -> set[str]:
    """Parts of labkit a file imports, without its own package and labkit's version."""
    parts = {name.split(".")[1] for name in imported(path) if name.startswith("labkit.")}
    return parts - {part_of(path), "__version__"}


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def test_layers_are_few_and_complete():
    parts = {part_of(path) for path in MODULES} - {""}
    assert len(LAYERS) <= 15
    assert parts == set(LAYERS)


def test_imports_are_seen():
    assert parts_imported(ROOT / "labkit" / "training" / "experiment.py") >= {"networks", "records"}
    assert "segmentation_models_pytorch" in imported(ROOT / "labkit" / "networks" / "smp.py")


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_imports_from_lower_layers_only(path):
    own = part_of(path)
    below = LAYERS[: LAYERS.index(own)] if own else ()
    assert parts_imported(path) <= set(below)


def test_method_needs_torch_and_nothing_of_labkit():
    outside = {
        name
        for path in (ROOT / "labkit" / "method").glob("*.py")
        for name in imported(path)
        if name.split(".")[0] == "labkit" and not name.startswith("labkit.method")
    }
    assert outside == set()


@pytest.mark.parametrize(("library", "doors"), DOORS.items())
def test_each_library_has_one_door(library, doors):
    users = {
        part_of(path)
        for path in MODULES
        for name in imported(path)
        if name.split(".")[0] == library
    }
    assert users <= doors


def test_no_module_shows_a_figure_on_its_own():
    showing = [name_of(path) for path in MODULES if "plt.show(" in path.read_text(encoding="utf-8")]
    assert showing == []


def test_no_python_file_is_longer_than_300_lines():
    folders = ("labkit", "tests", "notebooks")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    lengths = {name_of(path): len(path.read_text(encoding="utf-8").splitlines()) for path in files}
    assert {name: length for name, length in lengths.items() if length > 300} == {}


def test_every_text_file_is_read_with_an_encoding():
    """The C locale would read UTF-8 as ASCII."""
    bare = re.compile(r"\.(read_text|write_text)\(\s*\)|\.open\(\s*\)|\bopen\([^)]*\"[rwa]\"\)")
    users = [name_of(path) for path in MODULES if bare.search(path.read_text(encoding="utf-8"))]
    assert users == []


def test_readme_is_short():
    assert (ROOT / "README.md").stat().st_size <= README_BYTES


@pytest.mark.parametrize("name", ["01_teacher_training", "02_student_distillation"])
def test_settings_of_a_training_notebook_are_few_lines(name):
    """Lines of the parameters cell and of the cell that builds the settings."""
    text = (ROOT / "notebooks" / f"{name}.py").read_text(encoding="utf-8")
    cells = re.split(r"^# %%.*$", text, flags=re.MULTILINE)
    parameters = next(cell for cell in cells if re.search(r"^overrides: str", cell, re.MULTILINE))
    builds = [cell for cell in cells if "overrides(overrides)" in cell]
    lines = [
        line
        for cell in (parameters, *builds)
        for line in cell.splitlines()
        if line.strip() and not line.startswith(("#", "import", "from"))
    ]
    assert builds
    assert len(lines) <= SETTINGS_LINES


# dependencies

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8").replace("\\\n", " ")
LOCK_LINES = [line.strip() for line in LOCK.splitlines() if line.strip()]
PINS = [Requirement(line.partition(" --hash")[0]) for line in LOCK_LINES]
EXTRAS = PROJECT["project"]["optional-dependencies"]
WANTED = [
    Requirement(text)
    for group in (PROJECT["project"]["dependencies"], *EXTRAS.values())
    for text in group
]


def versions_of(name: str) -> list[str]:
    """Every version the lock pins for a name; one per marker."""
    pins = [pin for pin in PINS if canonicalize_name(pin.name) == canonicalize_name(name)]
    return [next(iter(pin.specifier)).version for pin in pins]


def test_every_line_of_the_lock_pins_one_version_by_hash():
    loose = [
        str(pin)
        for pin, line in zip(PINS, LOCK_LINES, strict=True)
        if [s.operator for s in pin.specifier] != ["=="]
        or "*" in str(pin.specifier)
        or "--hash=sha256:" not in line
    ]
    assert loose == []


@pytest.mark.parametrize("wanted", WANTED, ids=lambda wanted: wanted.name)
def test_a_dependency_is_pinned_within_its_range(wanted):
    versions = versions_of(wanted.name)
    assert versions, f"{wanted.name} is not in requirements.lock"
    assert all(wanted.specifier.contains(version) for version in versions)


def test_torch_and_torchvision_are_pinned_together():
    torch, torchvision = versions_of("torch"), versions_of("torchvision")
    assert len(torch) == len(torchvision) == 1
    needed = [Requirement(text) for text in importlib.metadata.requires("torchvision")]
    assert all(need.specifier.contains(torch[0]) for need in needed if need.name == "torch")


def environment() -> dict:
    return yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))


def test_neither_lock_nor_environment_names_an_index():
    for name in ("requirements.lock", "environment.yml"):
        text = (ROOT / name).read_text(encoding="utf-8")
        assert not re.search(r"index-url|find-links|https?://", text), name


def test_the_environment_s_python_is_one_the_project_supports():
    entries = [entry for entry in environment()["dependencies"] if isinstance(entry, str)]
    (python,) = [entry for entry in entries if entry.startswith("python=")]
    version = python.removeprefix("python=")
    assert SpecifierSet(PROJECT["project"]["requires-python"]).contains(f"{version}.1")


def test_the_environment_installs_the_lock_with_pip():
    dependencies = environment()["dependencies"]
    (pip,) = [entry["pip"] for entry in dependencies if isinstance(entry, dict)]
    assert pip == ["-r requirements.lock"]
