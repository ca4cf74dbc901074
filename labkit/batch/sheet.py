"""The contact sheet of a data set as a PNG file."""

import io
from pathlib import Path

from labkit.datasets import dataset_info
from labkit.datasets.show import sheet_frames
from labkit.errors import DataError
from labkit.plots import sheet_figure
from labkit.records.files import write_bytes
from labkit.records.folders import runs_folder

DPI = 200


def save_sheet(name: str, root: str, *, split: str, count: int, path: Path | None = None) -> Path:
    """Draw frames of a data set with the outlines of their labels.

    Args:
        root: folder that holds the data sets; "" = environment variable LABKIT_DATA.
        count: frames, spread evenly over the split.
        path: a .png file; None = sheets/<name>-<split>.png in the runs folder, which is never
            committed.

    Returns:
        The file.

    Raises:
        SettingsError: no such data set.
        DataError: the data set is not there, a file is malformed, or `path` is no .png.
        FileError: it cannot be written.
    """
    path = path or runs_folder() / "sheets" / f"{name}-{split}.png"
    if path.suffix != ".png":
        raise DataError(f"--save {path}: expected the name of a .png file.")
    frames = sheet_frames(name, root, split=split, count=count)
    drawn = io.BytesIO()
    sheet_figure(frames, dataset_info(name, root=root)).savefig(drawn, format="png", dpi=DPI)
    write_bytes(path, drawn.getvalue())
    return path
