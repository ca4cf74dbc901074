"""Figures and tables as build products: every file with the recipe it was made by."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

import labkit
from labkit.files import file_hash, read_json, write_bytes, write_json
from labkit.records import Run

MANIFEST = "MANIFEST.json"
DPI = 85  # of PNG; a figure of 14 inches is then as wide as a page shows it, and stays below 700 kB


def save_figure(figure: Figure, path: Path, *, caption: str, alt: str, runs: list[Run], parameters: dict[str, Any]) -> Path:
    """Write a figure as PNG and PDF, and its recipe into the folder's MANIFEST.json.

    Args:
        path: ends in .png; the PDF lies beside it.
        caption, alt: for the reader, and for the reader who does not see it.
        runs: the complete runs it was made from.
        parameters: of the notebook that made it.
    """
    for image in figure.findobj(AxesImage):
        image.set_interpolation("none")  # a PDF then holds the map itself, not a resampled one of ten times its size
    for suffix, metadata in ((".png", {"Description": alt}), (".pdf", {"Title": alt[:80], "CreationDate": None})):
        target = path.with_suffix(suffix)
        drawn = io.BytesIO()
        figure.savefig(drawn, format=suffix[1:], dpi=DPI, metadata=metadata)
        write_bytes(target, drawn.getvalue())
        record_product(target, caption=caption, alt=alt, runs=runs, parameters=parameters)
    return path


def record_product(path: Path, *, caption: str, runs: list[Run], parameters: dict[str, Any], alt: str = "") -> None:
    """Enter one file into MANIFEST.json beside it: hash, caption, runs, parameters, versions."""
    manifest = path.parent / MANIFEST
    entries = read_json(manifest) if manifest.is_file() else {}
    kept = {name: value for name, value in parameters.items() if name not in ("data_root", "runs", "figures", "device", "threads")}
    entries[path.name] = {
        "sha256": file_hash(path), "caption": caption, "alt": alt, "runs": [run.run_id for run in runs],
        "parameters": kept, "labkit": labkit.__version__, "torch": torch.__version__,
    }  # fmt: skip
    write_json(manifest, dict(sorted(entries.items())))


def save_arrays(path: Path, arrays: dict[str, Any]) -> Path:
    """Write arrays to one .npz, compressed."""
    packed = io.BytesIO()
    np.savez_compressed(packed, **arrays)
    write_bytes(path, packed.getvalue())
    return path


def write_records(runs: list[Run], folder: Path) -> None:
    """records/<run_id>.json beside the figures: the manifest and log of every run; records of runs no product names are removed."""
    for run in runs:
        write_json(folder / "records" / f"{run.run_id}.json", run.manifest() | {"log": run.log_rows()})
    manifest = folder / MANIFEST
    entries = read_json(manifest).values() if manifest.is_file() else []
    named = {run.run_id for run in runs} | {run_id for entry in entries for run_id in entry["runs"]}
    for record in (folder / "records").glob("*.json"):
        if record.stem not in named:
            record.unlink()
