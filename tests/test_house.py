"""The house keeps its rules: floors, one door per library, short files, and pins that agree with each other."""

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

ROOT = next(folder for folder in Path(__file__).resolve().parents if (folder / "pyproject.toml").is_file())
MODULES = sorted((ROOT / "labkit").rglob("*.py"))
FLOORS = [
    {"lnm", "streams", "config", "losses", "metrics", "files", "statistics"},
    {"recipes", "receipts"},
    {"datasets", "models"},
    {"steps", "attribution"},
    {"records"},
    {"checkpoints"},
    {"engine", "tables", "products", "pairs"},
    {"planning"},
    {"experiments"},
    {"contribution", "studies"},
    {"plots", "analysis"},
    {"explorers"},
    {"widgets", "evaluation"},
    {"matrix"},
    {"headless"},
    {"workflow"},
    {"cli"},
    {"__main__"},
]
FLOOR = {name: number for number, names in enumerate(FLOORS) for name in names}
DOORS = {
    "segmentation_models_pytorch": {"models"},
    "pytorch_grad_cam": {"attribution"},
    "captum": {"attribution"},
    "papermill": {"headless"},
    "nbclient": {"headless"},
    "ipywidgets": {"widgets"},
    "snakemake": {"workflow"},
    "snakemake_executor_plugin_slurm": {"workflow"},
}


def part_of(path: Path) -> str:
    """Module or package directly under labkit that a file belongs to: "lnm", "losses"; "" for labkit itself."""
    first = path.relative_to(ROOT / "labkit").parts[0]
    return first.removesuffix(".py").replace("__init__", "")


def imported(path: Path) -> set[str]:
    """Dotted names a file imports, wherever in the file; relative imports are made absolute."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            package = path.relative_to(ROOT).parent.parts
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(filter(None, (base, node.module)))
            names |= {f"{module}.{alias.name}" for alias in node.names} if module == "labkit" else {module}
    return names


def parts_imported(path: Path) -> set[str]:
    """Parts of labkit a file imports, its own package and labkit's version left out."""
    parts = {name.split(".")[1] for name in imported(path) if name.startswith("labkit.")}
    return parts - {part_of(path), "__version__"}


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def test_imports_are_seen():
    assert parts_imported(ROOT / "labkit" / "steps.py") >= {"lnm", "losses", "models", "datasets"}
    assert "segmentation_models_pytorch" in imported(ROOT / "labkit" / "models" / "build.py")


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_imports_from_lower_floors_only(path):
    own = part_of(path)
    if own == "":
        assert not parts_imported(path)
        return
    assert own in FLOOR, f"{name_of(path)}: give it a floor in this test"
    for other in parts_imported(path):
        assert other in FLOOR, f"{name_of(path)} imports labkit.{other}, which has no floor"
        assert FLOOR[other] < FLOOR[own] or FLOOR[other] == FLOOR[own] == 0, f"{name_of(path)} imports labkit.{other}"


def test_the_ground_floor_has_no_cycle():
    leans_on = {part: set() for part in FLOORS[0]}
    for path in MODULES:
        if part_of(path) in leans_on:
            leans_on[part_of(path)] |= parts_imported(path)
    while leans_on:
        free = {part for part, others in leans_on.items() if not others & leans_on.keys()}
        assert free, f"a cycle among {sorted(leans_on)}"
        leans_on = {part: others for part, others in leans_on.items() if part not in free}


@pytest.mark.parametrize(("library", "doors"), DOORS.items())
def test_each_library_has_one_door(library, doors):
    users = {part_of(path) for path in MODULES for name in imported(path) if name.split(".")[0] == library}
    assert users <= doors


def test_no_module_shows_a_figure_on_its_own():
    assert [name_of(path) for path in MODULES if "plt.show(" in path.read_text(encoding="utf-8")] == []


def test_no_python_file_is_longer_than_300_lines():
    files = [path for folder in ("labkit", "tests", "notebooks") for path in (ROOT / folder).rglob("*.py")]
    lengths = {name_of(path): len(path.read_text(encoding="utf-8").splitlines()) for path in files}
    assert {name: length for name, length in lengths.items() if length > 300} == {}


def test_every_package_of_labkit_is_shipped():
    packages = {".".join(path.parent.relative_to(ROOT).parts) for path in MODULES}
    assert packages == set(PROJECT["tool"]["setuptools"]["packages"])


# dependencies

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
LOCK_LINES = [line.strip() for line in (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()]
PINS = [Requirement(line) for line in LOCK_LINES if line and not line.startswith("#")]
WANTED = [Requirement(text) for text in PROJECT["project"]["dependencies"] + PROJECT["project"]["optional-dependencies"]["dev"]]


def versions_of(name: str) -> list[str]:
    """Every version the lock pins for a name; one per marker."""
    pins = [pin for pin in PINS if canonicalize_name(pin.name) == canonicalize_name(name)]
    return [next(iter(pin.specifier)).version for pin in pins]


def test_every_line_of_the_lock_pins_one_version():
    loose = [str(pin) for pin in PINS if [s.operator for s in pin.specifier] != ["=="] or "*" in str(pin.specifier) or pin.url]
    assert loose == []


@pytest.mark.parametrize("wanted", WANTED, ids=lambda wanted: wanted.name)
def test_a_dependency_is_pinned_within_its_range(wanted):
    versions = versions_of(wanted.name)
    assert versions, f"{wanted.name} is not in requirements.lock"
    assert all(wanted.specifier.contains(version) for version in versions), f"{wanted}: pinned {versions}"


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
    (python,) = [entry for entry in environment()["dependencies"] if isinstance(entry, str) and re.match(r"python\b(?!-)", entry)]
    wanted = python.removeprefix("python").strip()
    wanted = re.sub(r"^=(?!=)\s*([\d.]+?)(\.\*)?$", r"==\1.*", wanted)  # conda's =3.11 is pip's ==3.11.*
    offered = {minor for minor in range(6, 30) if SpecifierSet(wanted).contains(f"3.{minor}.1")}
    supported = {minor for minor in range(6, 30) if SpecifierSet(PROJECT["project"]["requires-python"]).contains(f"3.{minor}.1")}
    assert offered
    assert offered <= supported


def test_the_environment_installs_the_lock_and_the_package_with_pip():
    dependencies = environment()["dependencies"]
    (pip,) = [entry["pip"] for entry in dependencies if isinstance(entry, dict)]
    assert "pip" in {re.split(r"[=<> ]", entry)[0] for entry in dependencies if isinstance(entry, str)}
    assert "-r requirements.lock" in pip
    assert {"-e .", "."} & set(pip)
    others = [entry for entry in pip if entry not in ("-r requirements.lock", "-e .", ".")]
    assert others == [], "everything else comes from the lock"
