"""Figures and tables as build products: every file with the recipe it was made by."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from labkit.errors import FileError, RecordError
from labkit.records.files import file_hash, read_json, write_bytes, write_json, write_text
from labkit.records.locks import lock
from labkit.records.provenance import source_revision
from labkit.records.run import Run
from labkit.records.schema import RUN_ID
from labkit.records.text import csv_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MANIFEST = "MANIFEST.json"
FORMAT = "labkit-figures-1"
DPI = 300  # of PNG: 2160 pixels for the width of a page's text
TALL = 10  # inches: a taller PNG has half the dots, its PDF is sharp at any size
LOCAL_PARAMETERS = ("data_root", "runs", "figures", "device", "threads")


def save_figure(
    figure: "Figure",
    path: Path,
    *,
    caption: str,
    alt: str,
    runs: Sequence[Run],
    parameters: Mapping[str, Any],
) -> Path:
    """Write a figure as PNG and PDF, and its recipe into the folder's MANIFEST.json.

    Args:
        path: ends in .png; the PDF lies beside it.
        caption: for the reader.
        alt: for a reader who does not see the figure.
        runs: complete runs it was made from.
        parameters: of the notebook that made it.

    Raises:
        FileError: the folder cannot be written.
        RecordError: its MANIFEST.json is another program's.
    """
    from matplotlib.image import AxesImage

    figures_manifest(path.parent)
    for image in figure.findobj(AxesImage):
        image.set_interpolation("none")  # the PDF holds the map itself, not a larger resampled one
    for suffix, metadata in (
        (".png", {"Description": alt}),
        (".pdf", {"Title": alt[:80], "CreationDate": None}),
    ):
        drawn = io.BytesIO()
        dpi = DPI if figure.get_figheight() <= TALL else DPI // 2
        figure.savefig(drawn, format=suffix[1:], dpi=dpi, metadata=metadata)
        write_bytes(path.with_suffix(suffix), drawn.getvalue())
        record_artifact(
            path.with_suffix(suffix), caption=caption, alt=alt, runs=runs, parameters=parameters
        )
    return path


def save_arrays(path: Path, arrays: Mapping[str, Any]) -> Path:
    """Write arrays to one .npz, compressed; the same arrays give the same bytes."""
    write_bytes(path, npz_bytes(arrays))
    return path


def npz_bytes(arrays: Mapping[str, Any]) -> bytes:
    """Return arrays as the bytes of a compressed .npz file."""
    packed = io.BytesIO()
    np.savez_compressed(packed, **arrays)
    return packed.getvalue()


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> Path:
    """Write a table as CSV, UTF-8; texts that a spreadsheet would compute are neutralised.

    Args:
        rows: values by column; None leaves a cell blank.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for row in (header, *rows):
        writer.writerow(["" if value is None else csv_text(value) for value in row])
    write_text(path, text.getvalue())
    return path


def record_artifact(
    path: Path,
    *,
    caption: str,
    runs: Sequence[Run],
    parameters: Mapping[str, Any],
    alt: str = "",
) -> None:
    """Enter one file into MANIFEST.json beside it: hash, caption, runs, parameters, revision.

    Raises:
        FileError: the folder cannot be written, or another process writes for 60 seconds.
        RecordError: its MANIFEST.json is another program's.
    """
    kept = {
        name: _without_folder(value)
        for name, value in parameters.items()
        if name not in LOCAL_PARAMETERS
    }
    entry = {
        "sha256": file_hash(path),
        "caption": caption,
        "alt": alt,
        "runs": [run.run_id for run in runs],
        "parameters": kept,
        **source_revision(),
    }
    with lock(path.parent / ".lock", patience=60):
        manifest = figures_manifest(path.parent)
        files = manifest["files"] | {path.name: entry}
        _write_manifest(path.parent, manifest | {"files": dict(sorted(files.items()))})


def figures_manifest(folder: Path) -> dict[str, Any]:
    """Return {"made_by", "files", "records"} of a folder of figures; empty where it has none.

    To be called before anything starts that writes there.

    Raises:
        RecordError: the folder's MANIFEST.json is another program's or damaged.
    """
    path = folder / MANIFEST
    if not path.exists() and not path.is_symlink():
        return {"made_by": FORMAT, "files": {}, "records": []}
    try:
        manifest = read_json(path)
    except FileError as error:
        raise RecordError(f"{error} Move it away, or choose another folder.") from error
    if not _is_ours(manifest):
        raise RecordError(
            f"{path}: is not labkit's or is damaged; expected made_by: {FORMAT}. "
            "Move it away, or choose another folder (setting figures)."
        )
    return manifest


def write_records(runs: Sequence[Run], folder: Path) -> None:
    """Write records/<run id>.json beside the figures: manifest, settings and log of every run.

    To be called when all files of a matrix are made: other files of the matrix, made from a run
    that it no longer has, are removed with their entries. So are records of runs that no figure
    names any more, if labkit's manifest lists them.

    Raises:
        FileError: the folder cannot be written.
        RecordError: its MANIFEST.json is another program's.
    """
    with lock(folder / ".lock", patience=60):
        manifest = figures_manifest(folder)
        for run in runs:
            record = run.manifest() | {"config": run.config, "log": run.log_rows()}
            write_json(folder / "records" / f"{run.run_id}.json", record)
        files = _without_stale(folder, manifest["files"], {run.run_id for run in runs})
        used = {name for entry in files.values() for name in entry["runs"]}
        kept = used | {run.run_id for run in runs}
        listed = {*manifest["records"], *(run.run_id for run in runs)}
        for name in listed - kept:
            (folder / "records" / f"{name}.json").unlink(missing_ok=True)
        _write_manifest(folder, manifest | {"files": files, "records": sorted(listed & kept)})


def _without_stale(folder: Path, files: dict[str, Any], runs: set[str]) -> dict[str, Any]:
    """Entries without stale ones, whose files are removed: of the matrix that has these runs, and
    made from another run, too.
    """
    matrices = {entry_matrix(entry) for entry in files.values() if set(entry["runs"]) == runs} - {
        ""
    }
    stale = [
        name
        for name, entry in files.items()
        if entry_matrix(entry) in matrices and not set(entry["runs"]) <= runs
    ]
    for name in stale:
        if not (folder / name).is_dir():
            (folder / name).unlink(missing_ok=True)
    return {name: entry for name, entry in files.items() if name not in stale}


def entry_matrix(entry: dict[str, Any]) -> str:
    """Name of the matrix file that an entry was made from; "" where there is none."""
    parameters = entry.get("parameters")
    matrix = parameters.get("matrix") if isinstance(parameters, dict) else ""
    return matrix if isinstance(matrix, str) else ""


def _without_folder(value: Any) -> Any:
    """Return the last part of an absolute path; other values as they are."""
    local = isinstance(value, str) and value.startswith(("/", "~"))
    return Path(value).name if local else value


def _write_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    write_json(folder / MANIFEST, manifest)


def _is_ours(manifest: dict[str, Any]) -> bool:
    """Return whether a manifest has labkit's mark and names single files and run ids alone."""
    files, records = manifest.get("files"), manifest.get("records")
    if manifest.keys() != {"made_by", "files", "records"} or manifest["made_by"] != FORMAT:
        return False
    if not isinstance(files, dict) or not isinstance(records, list):
        return False
    for name, entry in files.items():
        if not _is_file_name(name) or not isinstance(entry, dict):
            return False
        ids = entry.get("runs")
        if not isinstance(ids, list) or not all(map(_is_run_id, ids)):
            return False
    return all(map(_is_run_id, records))


def _is_file_name(name: str) -> bool:
    plain = name.isprintable() and "/" not in name and "\\" not in name
    return plain and name not in ("", ".", "..", MANIFEST) and len(name) <= 255


def _is_run_id(value: Any) -> bool:
    return isinstance(value, str) and RUN_ID.fullmatch(value) is not None
