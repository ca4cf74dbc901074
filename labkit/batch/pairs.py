"""Notebook pairs: the py:percent file is the source, the ipynb is generated without outputs.

`python -m labkit.batch.pairs` compares them by content, `--write` generates every ipynb.
"""

import sys
from pathlib import Path

import jupytext
import nbformat

from labkit.errors import FileError
from labkit.records.files import write_text
from labkit.settings.paths import project_root

KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}


def generated(source: Path) -> nbformat.NotebookNode:
    """The notebook of a py:percent file: no outputs, cell ids that do not change."""
    notebook = jupytext.reads(source.read_text(encoding="utf-8"), fmt="py:percent")
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    notebook.metadata.setdefault("kernelspec", KERNEL)
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"{source.stem[:2]}-{number:02d}"
    return notebook


def unpaired(folder: Path) -> list[str]:
    """Faults of the pairs of a folder, a line each; modification times do not count."""
    kinds = ("py", "ipynb")
    sources, notebooks = ({p.stem: p for p in folder.glob(f"*.{kind}")} for kind in kinds)
    lonely = sorted(sources.keys() ^ notebooks.keys())
    faults = [f"{stem}: has no pair; every notebook is a .py and an .ipynb." for stem in lonely]
    for stem in sorted(sources.keys() & notebooks.keys()):
        expected = _content(generated(sources[stem]))
        content = _content(nbformat.read(notebooks[stem], as_version=4))
        if expected != content:
            cells = zip(expected[1], content[1], strict=False)
            numbers = [number for number, (one, other) in enumerate(cells) if one != other]
            where = f"cell {numbers[0]}" if numbers else "number of cells or header"
            faults.append(
                f"{stem}: .py and .ipynb differ ({where}). Keep the edit you want in the .py, "
                "then: make notebooks."
            )
    return faults


def write_notebooks(folder: Path) -> None:
    """Generate every ipynb from its py."""
    for source in sorted(folder.glob("*.py")):
        write_text(source.with_suffix(".ipynb"), nbformat.writes(generated(source)) + "\n")


def _content(notebook: nbformat.NotebookNode) -> tuple:
    """What must agree: kernel, and per cell kind, source, tags and outputs (none)."""
    cells = [
        (
            cell.cell_type,
            cell.source.strip(),
            cell.metadata.get("tags", []),
            len(cell.get("outputs", [])),
            cell.get("execution_count"),
        )
        for cell in notebook.cells
    ]
    return notebook.metadata.get("kernelspec", {}).get("name"), cells


def main(arguments: list[str]) -> int:
    """Check, or with --write generate, the project's notebooks; the exit code."""
    folder = project_root() / "notebooks"
    try:
        if "--write" in arguments:
            write_notebooks(folder)
        faults = unpaired(folder)
    except FileError as error:
        faults = [str(error)]
    print("\n".join(faults) or "notebook pairs agree")
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
