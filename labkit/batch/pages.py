"""Markdown and executed notebooks as HTML pages that need no JavaScript; formulas are MathML."""

import html
import posixpath
import re
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

import nbformat
from latex2mathml.converter import convert
from mistune.plugins.table import table_in_list
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from pygments.formatters import HtmlFormatter

from labkit.errors import FileError
from labkit.records.files import write_text
from labkit.settings.paths import project_root

FILES = "files"  # folder of the site: what pages link to, under its path in the project
OUTSIDE = re.compile(r"^(?:[a-z][a-z0-9+.-]*:|//|#)", re.IGNORECASE)
LINKED = re.compile(r'(?P<name>\b(?:href|src)=")(?P<target>[^"]*)"')
STYLE = """
body { margin: 0; color: #1a1a1a; background: #fff; font: 17px/1.55 system-ui, sans-serif }
nav { background: #f3f3f3; border-bottom: 1px solid #ddd; padding: .5em 1em; font-size: 15px }
nav a { display: inline-block; margin-right: 1.1em }
nav a[aria-current] { color: #1a1a1a; font-weight: 600; text-decoration: none }
main { max-width: 52em; margin: 0 auto; padding: 1em }
a { color: #0b57a4 }
h1, h2, h3 { line-height: 1.25 }
img, svg { max-width: 100%; height: auto }
figure { margin: 0 }
table { border-collapse: collapse; font-size: 15px; margin: 1em 0 }
main table { display: block; overflow-x: auto; max-width: 100% }
th, td { border-bottom: 1px solid #ddd; padding: .25em .7em; text-align: left; vertical-align: top }
pre { background: #f6f6f6; padding: .6em .8em; overflow-x: auto; font-size: 14px; line-height: 1.4 }
code { font-size: .92em }
math[display="block"] { overflow-x: auto; max-width: 100%; padding: .4em 0 }
.output pre { background: none; border-left: 3px solid #ddd; padding: .2em .8em }
"""


class _Renderer(IPythonRenderer):
    """Formulas become MathML, which browsers draw without a script."""

    def block_math(self, body: str) -> str:
        return convert(html.unescape(body).strip(), display="block")

    multiline_math = block_math

    def heading(self, text: str, level: int, **attributes: object) -> str:
        """A heading whose id is the one that repositories give it, so that links hold."""
        words = re.sub(r"<[^>]+>", "", html.unescape(text)).lower()
        slug = re.sub(r"[^\w\- ]", "", words).strip().replace(" ", "-")
        return f'<h{level} id="{html.escape(slug)}">{text}</h{level}>\n'

    def inline_math(self, body: str) -> str:
        return convert(html.unescape(body).strip())


def markdown_html(source: str) -> str:
    """Markdown with formulas between dollars as HTML."""
    markdown = MarkdownWithMath(renderer=_Renderer(escape=False))
    table_in_list(markdown)
    return markdown.render(source)


def notebook_html(notebook: Path) -> str:
    """An executed notebook as HTML: text, code, and outputs with their pictures inside.

    Raises:
        FileError: it is no notebook.
    """
    try:
        content = nbformat.read(notebook, as_version=4)
    except (OSError, ValueError) as error:
        raise FileError(f"{notebook}: is no notebook that can be read ({error}).") from error
    exporter = HTMLExporter(
        template_name="basic", exclude_input_prompt=True, exclude_output_prompt=True
    )
    exporter.register_filter("markdown2html", markdown_html)
    body, _ = exporter.from_notebook_node(content)
    return body.replace(f"{html.escape(str(project_root()))}/", "")  # nobody else's folder


class Site:
    """Pages of a static site, and copies of the files they link to."""

    def __init__(self, folder: Path, root: Path, pages: Mapping[str, str]) -> None:
        """Nothing is written.

        Args:
            folder: of the site.
            root: of the project, from which links are copied; others lose their link.
            pages: name of the HTML file by the source's path from the root.
        """
        self.folder, self.root, self.pages = folder, root.resolve(), dict(pages)

    def write(self, source: str, body: str, *, title: str, menu: Iterable[tuple[str, str]]) -> Path:
        """Write the page of one source.

        Args:
            source: path from the root, against which links of the body are resolved.
            body: HTML.
            menu: (name of the HTML file, text) of every page of the menu.
        """
        name = self.pages[source]
        body = self._with_links(body, posixpath.dirname(source))
        links = "".join(_menu_link(file, text, current=file == name) for file, text in menu)
        code = HtmlFormatter(style="default").get_style_defs(".highlight")
        write_text(
            self.folder / name,
            f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f"<title>{html.escape(title)}</title>\n<style>{STYLE}{code}</style>\n</head>\n<body>\n"
            f'<nav aria-label="Pages">{links}</nav>\n<main>\n{body}\n</main>\n</body>\n</html>\n',
        )
        return self.folder / name

    def _with_links(self, body: str, folder: str) -> str:
        """Links to pages lead to their HTML and links to files to copies; others are no links."""

        def resolved(match: re.Match) -> str:
            target = html.unescape(match["target"])
            if OUTSIDE.match(target) or not target:
                return match[0]
            path, hash_mark, part = target.partition("#")
            inside = posixpath.normpath(posixpath.join(folder, path))
            inside = re.sub(r"(?<=^notebooks/)(.+)\.py$", r"\1.ipynb", inside)
            page = self.pages.get(inside) or self._copied(inside)
            return f'{match["name"]}{html.escape(page + hash_mark + part)}"' if page else ""

        return LINKED.sub(resolved, body)

    def _copied(self, inside: str) -> str:
        """Path of a file's copy in the site; "" for folders and what lies outside the project."""
        path = (self.root / inside).resolve()
        if not path.is_file() or not path.is_relative_to(self.root):
            return ""
        copy = self.folder / FILES / inside
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
        return f"{FILES}/{inside}"


def _menu_link(file: str, text: str, *, current: bool) -> str:
    mark = ' aria-current="page"' if current else ""
    return f'<a href="{file}"{mark}>{html.escape(text)}</a>'
