"""The static site: pages without a script, formulas as MathML, links that lead somewhere."""

import html.parser
import os
import subprocess
import sys

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from labkit.batch import site
from labkit.batch.executed import NOTEBOOKS
from labkit.batch.pages import Site, markdown_html, notebook_html
from labkit.settings.paths import project_root

PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YAAAAASUVORK5CYII="
)


class _Page(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.links, self.tags, self.ids = [], [], set()

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.tags.append(tag)
        self.ids |= {given["id"]} if "id" in given else set()
        self.links += [given[name] for name in ("href", "src") if name in given]


def parse(text):
    page = _Page()
    page.feed(text)
    return page


def executed_notebook(path):
    """A notebook with text, a formula, a table, printed lines and a picture."""
    outputs = [
        new_output("stream", text="100 % done <b>\n"),
        new_output("display_data", {"image/png": PIXEL, "text/plain": "figure"}),
        new_output("display_data", {"text/markdown": "| a |\n|---|\n| $x$ |"}),
    ]
    text = "# T\n\nA $w_k \\sim \\mathcal N(0, 1)$.\n\n$$ \\frac{a}{b} $$\n\n[n](03_results.ipynb)"
    cells = [new_markdown_cell(text), new_code_cell("print(1)", outputs=outputs)]
    nbformat.write(new_notebook(cells=cells), path)
    return path


def test_a_notebook_becomes_text_formulas_and_pictures_without_a_script(tmp_path):
    body = notebook_html(executed_notebook(tmp_path / "x.ipynb"))
    page = parse(body)
    assert "script" not in page.tags
    assert page.tags.count("math") == 3
    assert "mfrac" in page.tags
    assert "table" in page.tags
    assert any(link.startswith("data:image/png") for link in page.links)
    assert "100 % done &lt;b&gt;" in body
    assert "$" not in body


def test_headings_have_the_ids_of_repositories():
    assert 'id="streetsablations"' in markdown_html("## streets/ablations")
    assert 'id="what-a-run-guarantees"' in markdown_html("## What a `run` guarantees")


def test_a_table_in_a_list_is_a_table():
    page = parse(markdown_html("1. **Explore**:\n\n   | a | b |\n   |---|---|\n   | 1 | 2 |\n"))
    assert page.tags.count("td") == 2


def test_links_lead_to_pages_copies_or_nowhere(tmp_path):
    root = tmp_path / "project"
    (root / "texts").mkdir(parents=True)
    (root / "texts" / "a.svg").write_text("<svg/>", encoding="utf-8")
    (tmp_path / "secret.txt").write_text("x", encoding="utf-8")
    made = Site(tmp_path / "out", root, {"texts/i.md": "index.html", "notebooks/b.ipynb": "b.html"})
    body = markdown_html(
        "![p](a.svg) [b](../notebooks/b.py#part) [web](https://x.org) [folder](../texts) "
        "[out](../../secret.txt) [here](#top)"
    )
    path = made.write("texts/i.md", body, title="T", menu=[("index.html", "Home")])
    page = parse(path.read_text(encoding="utf-8"))
    wanted = ["index.html", "files/texts/a.svg", "b.html#part", "https://x.org", "#top"]
    assert page.links == wanted
    assert (tmp_path / "out" / "files" / "texts" / "a.svg").is_file()


@pytest.fixture
def built(tmp_path, monkeypatch):
    """The site around notebooks that were not executed."""

    def execute(matrix):
        for name in NOTEBOOKS:
            yield name, executed_notebook(tmp_path / f"{name}.ipynb")

    monkeypatch.setattr(site, "execute_notebooks", execute)
    monkeypatch.setattr(site, "_matrix_to_show", lambda: "")
    list(site.build_site(tmp_path / "site"))
    return tmp_path / "site"


def test_every_link_of_the_site_leads_to_a_file_and_a_heading(built):
    pages = {path.name: parse(path.read_text(encoding="utf-8")) for path in built.glob("*.html")}
    assert {"index.html", "figures.html", "notebooks.html", "03_results.html"} <= pages.keys()
    for name, page in pages.items():
        assert "script" not in page.tags
        assert "math" in page.tags or not name[0].isdigit()
        for link in page.links:
            if link.startswith(("http", "data:")):
                continue
            file, _, part = link.partition("#")
            assert (built / (file or name)).is_file(), f"{name}: {link}"
            if part and (file or name) in pages:
                assert part in pages[file or name].ids, f"{name}: {link}"


@pytest.mark.slow
def test_the_site_is_built_with_one_command_in_a_fresh_clone(tmp_path):
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "-q", project_root(), clone], check=True)
    command = [sys.executable, "-m", "labkit", "site"]
    given = os.environ | {"PYTHONPATH": str(clone)}  # the clone's code, in kernels too
    done = subprocess.run(
        command, cwd=clone, env=given, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(list((clone / "site").glob("0*.html"))) == len(NOTEBOOKS)
