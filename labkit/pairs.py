"""Notebook pairs: the py:percent file is the source, the ipynb is generated from it without outputs. Compared by content."""

import sys
from pathlib import Path

import jupytext
import nbformat

from labkit.files import write_text
from labkit.records import project_root


def generated(source: Path) -> nbformat.NotebookNode:
    """The notebook a py:percent file stands for: no outputs, cell ids that do not change."""
    notebook = jupytext.read(source)
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"{source.stem[:2]}-{number:02d}"
    return notebook


def unpaired(folder: Path) -> list[str]:
    """What is wrong with the pairs of a folder, a line each; modification times play no part."""
    sources, notebooks = ({path.stem: path for path in folder.glob(f"*.{suffix}")} for suffix in ("py", "ipynb"))
    faults = [f"{stem}: has no pair; every notebook is a .py and an .ipynb." for stem in sorted(sources.keys() ^ notebooks.keys())]
    for stem in sorted(sources.keys() & notebooks.keys()):
        expected, found = _content(generated(sources[stem])), _content(nbformat.read(notebooks[stem], as_version=4))
        different = [number for number, pair in enumerate(zip(expected[1], found[1], strict=False)) if pair[0] != pair[1]]
        if expected != found:
            where = f"cell {different[0]}" if different else "number of cells or header"
            faults.append(f"{stem}: .py and .ipynb differ ({where}). Keep the edit you want in the .py, then: make notebooks.")
    return faults


def write_notebooks(folder: Path) -> None:
    """Generate every ipynb from its py."""
    for source in sorted(folder.glob("*.py")):
        write_text(source.with_suffix(".ipynb"), nbformat.writes(generated(source)) + "\n")


def _content(notebook: nbformat.NotebookNode) -> tuple:
    """What must agree: kernel, and per cell kind, source, tags and outputs (none)."""
    cells = [
        (cell.cell_type, cell.source.strip(), cell.metadata.get("tags", []), len(cell.get("outputs", [])), cell.get("execution_count"))
        for cell in notebook.cells
    ]
    return notebook.metadata.get("kernelspec", {}).get("name"), cells


if __name__ == "__main__":
    notebooks_folder = project_root() / "notebooks"
    if "--write" in sys.argv[1:]:
        write_notebooks(notebooks_folder)
    faults = unpaired(notebooks_folder)
    print("\n".join(faults) or "notebook pairs agree")
    sys.exit(bool(faults))
