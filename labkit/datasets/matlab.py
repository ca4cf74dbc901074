"""Reading of MATLAB label files. The only file of this package that needs SciPy."""

from pathlib import Path

import numpy as np

from labkit.errors import DataError

LARGEST = 2**28  # bytes of one file


def read_stuff_ids(path: Path) -> np.ndarray:
    """Return field S of a COCO-Stuff 10K v1.1 file, (H, W) integers.

    Raises:
        DataError: the file is of version 1.0 (HDF5), broken, or has no label map.
    """
    return _label_map(path, lambda content: content["S"], "S")


def read_boundaries_ids(path: Path) -> np.ndarray:
    """Return the class segmentation of a Semantic Boundaries (SBD) file, (H, W) integers 0-20.

    Raises:
        DataError: the file is broken, or has no label map.
    """
    return _label_map(path, lambda content: content["GTcls"][0]["Segmentation"][0], "GTcls")


def _label_map(path: Path, pick, field: str) -> np.ndarray:
    from scipy.io import loadmat  # slow to import

    try:
        with path.open("rb") as file:
            head = file.read(128)
        if b"MATLAB 7.3" in head or head.startswith(b"\x89HDF"):
            raise DataError(
                f"{path}: a MATLAB 7.3 (HDF5) file, as in COCO-Stuff 10K version 1.0, whose ids "
                "differ; expected version 1.1. Fetch cocostuff-10k-v1.1.zip."
            )
        if path.stat().st_size > LARGEST:
            raise DataError(f"{path}: expected at most {LARGEST} bytes.")
        ids = np.asarray(pick(loadmat(path, variable_names=[field])))
    except DataError:
        raise
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file; expected a MATLAB file.") from error
    except PermissionError as error:
        raise DataError(f"{path}: no permission to read it. Allow it (chmod +r).") from error
    except Exception as error:  # loadmat raises whatever broken bytes lead to
        raise DataError(
            f"{path}: a broken MATLAB file or one without {field} "
            f"({type(error).__name__}: {str(error)[:80]}). Fetch it again."
        ) from error
    if ids.ndim != 2 or ids.dtype.kind not in "uif":
        raise DataError(
            f"{path}: {field} has shape {ids.shape} of {ids.dtype}; expected a map of class ids."
        )
    whole = ids.astype(np.int32)
    if ids.dtype.kind == "f" and not np.array_equal(whole, ids):
        raise DataError(f"{path}: {field} holds numbers with a fraction; expected class ids.")
    return whole
