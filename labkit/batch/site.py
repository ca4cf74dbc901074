"""`labkit site`: executed notebooks, tables and figures as a static site."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from labkit.batch.commands import run_notebook
from labkit.batch.executed import NOTEBOOKS, VIEWS, was_executed
from labkit.batch.matrix import read_matrix
from labkit.batch.pages import Site, markdown_html, notebook_html
from labkit.batch.schedule import run_matrix
from labkit.batch.status import TABLES, Inspection, inspect, key_of_last
from labkit.batch.workflow import teacher_id
from labkit.errors import NotebookError, SettingsError
from labkit.settings.paths import project_root

DEMO, SMALL = (f"labkit/batch/matrices/{name}.yaml" for name in ("demo", "site"))
TEXTS = {  # HTML file and title by source; those of the menu come first
    "README.md": ("index.html", "labkit"),
    "figures/README.md": ("figures.html", "Figures"),
    "notebooks/README.md": ("notebooks.html", "Notebooks, glossary"),
    "labkit/datasets/README.md": ("datasets.html", "Data sets"),
    "labkit/batch/README.md": ("batch.html", "Unattended runs"),
}
STUDENT_KIND = "of-assisted"  # of the student whose notebook is shown


def build_site(folder: Path, *, matrix: str = "") -> Iterator[str]:
    """Execute every notebook and write the site; earlier pages are replaced.

    Args:
        folder: of the site.
        matrix: file whose runs the notebooks show; "": the demo's where it was made, else a small
            one, which is made in a minute or two.

    Yields:
        A line per page.

    Raises:
        LabkitError: by kind; a run or a notebook did not finish.
    """
    sources = {f"notebooks/{stem}.ipynb": f"{stem}.html" for stem in NOTEBOOKS.values()}
    site = Site(
        folder, project_root(), sources | {source: name for source, (name, _) in TEXTS.items()}
    )
    titles = {name: _title(stem) for name, stem in NOTEBOOKS.items()}
    index, *others = [(name, text) for name, text in TEXTS.values()]
    books = [(f"{stem}.html", titles[name]) for name, stem in NOTEBOOKS.items()]
    menu = [index, *books, *others]
    for source, (_, title) in TEXTS.items():
        body = markdown_html((project_root() / source).read_text(encoding="utf-8"))
        yield str(site.write(source, body, title=title, menu=menu))
    for name, executed in execute_notebooks(matrix or _matrix_to_show()):
        source = f"notebooks/{NOTEBOOKS[name]}.ipynb"
        yield str(site.write(source, notebook_html(executed), title=titles[name], menu=menu))


def execute_notebooks(matrix: str) -> Iterator[tuple[str, Path]]:
    """Make the runs of a matrix where they are not complete, and execute every notebook on them.

    Yields:
        Name of `NOTEBOOKS` and the executed notebook.

    Raises:
        NotebookError: a run or a notebook did not finish.
    """
    if missing := run_matrix(matrix):
        raise NotebookError(f"site: not made: {', '.join(missing)}.")
    inspection = inspect(read_matrix(matrix))
    for name in NOTEBOOKS:
        executed = _executed_tables(inspection) if name == "results" else None
        yield name, executed or run_notebook(name, _values(name, inspection))


def _executed_tables(inspection: Inspection) -> Path | None:
    """The results notebook that the matrix executed for its tables."""
    key = key_of_last(inspection.matrix, TABLES)
    executed = inspection.matrix.state_folder / key / f"{NOTEBOOKS['results']}.ipynb"
    return executed if was_executed(executed, {}) else None


def _values(name: str, inspection: Inspection) -> dict[str, Any]:
    """Settings of a notebook that shows the runs of a matrix."""
    if name == "results":
        return {"matrix": str(inspection.matrix.path)}
    if name in VIEWS:
        return {"runs": str(inspection.matrix.runs_folder)}
    kind = "assisted" if name == "teacher" else STUDENT_KIND
    for job in inspection.plan.jobs:
        if (job.role, job.resolved.kind) == (name, kind):
            return job.settings(teacher_id(inspection, job))
    raise SettingsError(
        f"site: {inspection.matrix.path.name} has no {name} of kind {kind}; expected one."
    )


def _matrix_to_show() -> str:
    demo = inspect(read_matrix(DEMO), verify_weights=False)
    return SMALL if demo.open_jobs() else DEMO


def _title(stem: str) -> str:
    number, _, words = stem.partition("_")
    return f"{number} {words.replace('_', ' ')}"
