"""figures/README.md, made from the MANIFEST.json and FINDINGS.md of every folder below figures.

    python -m labkit.study.readme [FOLDER]

A section per folder that has a manifest: its FINDINGS.md (what was asked and what the tables say,
written by hand), every table, every figure with its caption, and where the records are. A note
that stands below a table of the section is not repeated in what follows.
"""

import csv
import io
import re
import sys
from pathlib import Path
from typing import Any

from labkit.errors import FileError
from labkit.records.artifacts import entry_matrix
from labkit.records.files import read_json, write_text
from labkit.records.text import markdown_text
from labkit.settings.paths import project_root
from labkit.study.tables import markdown_lines

MANIFEST, FINDINGS = "MANIFEST.json", "FINDINGS.md"
MOST_ROWS, MOST_COLUMNS = 16, 18  # of a CSV file that is shown as a table; else it is linked
LONGEST_CELL = 40  # characters; columns with longer ones, such as run ids, are left to the file
FIRST = ("table", "teachers", "teacher_gains", "students", "gains")  # other tables follow by name
EMPTY = ("The matrix has no such row.", "There is no such row.")
PICTURES = (".png", ".svg")
OURS = ("streets",)  # pictures of other data sets carry terms of their own: never committed


def write_readme(figures: Path) -> Path:
    """Write README.md of a figures folder; the same bytes for the same files."""
    path = figures / "README.md"
    write_text(path, readme(figures))
    return path


def readme(figures: Path) -> str:
    """The text of README.md: the folder's own findings, contents, and a section per folder."""
    folders = result_folders(figures)
    sections = [_section(figures, folder) for folder in folders]
    contents = [f"* [{name}](#{name.replace('/', '')})" for name in _names(figures, folders)]
    generated = (
        "<!-- Made by `python -m labkit.study.readme` from MANIFEST.json and FINDINGS.md of every "
        "folder. Do not edit. -->"
    )
    parts = [generated, _findings(figures) or "# Results", "\n".join(contents), *sections]
    return "\n\n".join(part.strip() for part in parts if part.strip()) + "\n"


def result_folders(figures: Path) -> list[Path]:
    """Folders with a manifest or findings, streets first, then by name."""
    holding = {path.parent for name in (MANIFEST, FINDINGS) for path in figures.rglob(name)} - {
        figures
    }
    names = {folder: folder.relative_to(figures).parts for folder in holding}
    return sorted(holding, key=lambda folder: (names[folder][0] != "streets", names[folder]))


def manifest_entries(folder: Path) -> dict[str, dict[str, Any]]:
    """Entries by file name, main tables first; those without a usable file name are left out."""
    path = folder / MANIFEST
    if not path.is_file():
        return {}
    entries = read_json(path)
    entries = entries.get("files", {})
    order = {name: number for number, name in enumerate(FIRST)}
    ordered = sorted(
        entries, key=lambda name: (order.get(Path(name).stem, len(FIRST)), *_parts(name))
    )
    return {
        name: entry
        for name, entry in ((name, entries[name]) for name in ordered)
        if isinstance(entry, dict) and Path(name).name == name and not name.startswith(".")
    }


def _parts(name: str) -> tuple[str, int, str]:
    """Orders names whose stems end in numbers by these: curves_50 before curves_100."""
    number = re.search(r"_(\d{1,9})\.", name)
    return (name[: number.start()], int(number[1]), name) if number else (name, 0, name)


def _names(figures: Path, folders: list[Path]) -> list[str]:
    return [folder.relative_to(figures).as_posix() for folder in folders]


def _findings(folder: Path) -> str:
    path = folder / FINDINGS
    return path.read_text(encoding="utf-8").strip() if path.is_file() else ""


def _section(figures: Path, folder: Path) -> str:
    (name,) = _names(figures, [folder])
    entries = manifest_entries(folder)
    tables = [_table(folder, name, file, entry) for file, entry in entries.items()]
    pictures = [_figure(folder, name, file, entry) for file, entry in entries.items()]
    shown = _notes_once([part for part in (*tables, *pictures) if part])
    parts = [f"## {name}", _findings(folder), _records(folder, name, entries), *shown]
    return "\n\n".join(part for part in parts if part)


def _notes_once(parts: list[str]) -> list[str]:
    """The parts of a section without the notes (lines "* ...") that an earlier part ends with."""
    notes: dict[str, None] = {}
    shown = []
    for part in parts:
        for note in notes:
            part = part.replace(f"\n* {note}", "").replace(f" {note}", "")
        notes |= dict.fromkeys(line[2:] for line in part.splitlines() if line.startswith("* "))
        shown.append(part.rstrip())
    return shown


def _table(folder: Path, name: str, file: str, entry: dict[str, Any]) -> str:
    """A table with its caption; CSV beside a Markdown table of the same name is only linked."""
    path = folder / file
    if path.suffix not in (".md", ".csv") or not path.is_file():
        return ""
    twin = path.with_suffix(".csv" if path.suffix == ".md" else ".md")
    if path.suffix == ".csv" and twin.is_file():
        return ""
    text = path.read_text(encoding="utf-8").strip()
    link = f"[{file}]({name}/{file})"
    heading = f"**{path.stem.replace('_', ' ').capitalize()}** ({link})"
    if path.suffix == ".md":
        return "" if text.startswith(EMPTY) else f"{heading}\n\n{text}"
    rows = list(csv.reader(io.StringIO(text)))
    if len(rows) < 2:
        return ""
    caption = markdown_text(str(entry.get("caption", "")))
    return "\n\n".join(filter(None, (f"{heading}: {caption}", _inline(rows))))


def _inline(rows: list[list[str]]) -> str:
    """A small CSV table as Markdown, without long columns; "" where it is not small."""
    if len(rows) > MOST_ROWS + 1 or len(set(map(len, rows))) > 1:
        return ""
    columns = list(zip(*rows, strict=True))
    columns = [column for column in columns if max(map(len, column)) <= LONGEST_CELL]
    if not 0 < len(columns) <= MOST_COLUMNS:
        return ""
    titles, *body = zip(*columns, strict=True)
    return markdown_lines([title.replace("_", " ") for title in titles], body).strip()


def _figure(folder: Path, name: str, file: str, entry: dict[str, Any]) -> str:
    path = folder / file
    if path.suffix not in PICTURES or not _is_committed(path, name):
        return ""
    vector = path.with_suffix(".pdf")
    link = f" ([PDF]({name}/{vector.name}))" if vector.is_file() else ""
    alt, caption = (markdown_text(str(entry.get(key, ""))) for key in ("alt", "caption"))
    return f"![{alt}]({name}/{file})\n\n*{path.stem}*: {caption}{link}"


def _is_committed(path: Path, name: str) -> bool:
    return path.is_file() and name.split("/")[0] in OURS


def _records(folder: Path, name: str, entries: dict[str, dict[str, Any]]) -> str:
    """The section's matrix file, where its runs are recorded, and files that are not committed."""
    versions = sorted({_version(entry) for entry in entries.values()} - {""})
    matrices = sorted({markdown_text(entry_matrix(entry)) for entry in entries.values()} - {""})
    lines = [f"Matrix: {', '.join(matrices)}."] if matrices else []
    if (folder / "records").is_dir():
        count = len(list((folder / "records").glob("*.json")))
        made = f"; files made by {', '.join(versions)}" if versions else ""
        lines.append(f"Run records ({count}): [{name}/records]({name}/records){made}.")
    pictures = [file for file in entries if file.endswith(PICTURES)]
    absent = [file for file in pictures if not _is_committed(folder / file, name)]
    if absent:
        lines.append(f"Pictures that are not in the repository: {', '.join(absent)}.")
    return " ".join(lines)


def _version(entry: dict[str, Any]) -> str:
    """What made a file: a source revision, or in old manifests a version of labkit."""
    if "revision" in entry:
        return f"revision {markdown_text(str(entry['revision'])[:10])}"
    return f"labkit {markdown_text(str(entry['labkit']))}" if "labkit" in entry else ""


def main(arguments: list[str]) -> int:
    """Write README.md of the folder given, or of the project's figures folder; the exit code."""
    figures = Path(arguments[0]) if arguments else project_root() / "figures"
    try:
        if not figures.is_dir():
            raise FileError(
                f"{figures}: no such folder; expected one with MANIFEST.json files below."
            )
        print(write_readme(figures))
    except FileError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
