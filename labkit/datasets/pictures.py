"""Reading of PNG and JPEG files. Every fault is a DataError that names the file."""

import stat
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image, ImageOps

from labkit.errors import DataError
from labkit.method import IGNORE_INDEX

FORMATS = ("PNG", "JPEG")  # no other decoder of the library is ever reached
SUFFIXES = (".png", ".jpg", ".jpeg")
LARGEST = 2**26  # pixels
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
ORIENTATION = 0x0112  # EXIF tag
T = TypeVar("T")
GREY_STEP = {2: 85, 4: 17}  # Pillow stretches grey PNGs of 2 and 4 bits to 0-255


def read_image(path: Path) -> np.ndarray:
    """Return an image as (H, W, 3) uint8 RGB, as it is stored: EXIF orientation is not applied.

    Grey, palette, CMYK and alpha pictures are converted.

    Raises:
        DataError: the file cannot be read, is no whole PNG or JPEG, or has 16 bits per channel.
    """

    return _opened(path, lambda file, bits: np.array(_rgb(path, file, bits)))


def read_upright(path: Path) -> np.ndarray:
    """Return an image as it is displayed: like `read_image`, turned by its EXIF orientation.

    Raises:
        DataError: as `read_image`, or pixels are transparent, whose stored colours nobody sees.
    """

    def decode(file: Image.Image, bits: int) -> np.ndarray:
        if file.has_transparency_data and file.convert("RGBA").getextrema()[3][0] < 255:
            raise DataError(
                f"{path}: has transparent pixels; expected an opaque picture. Save it without "
                "an alpha channel, on the background it is meant for."
            )
        return np.array(ImageOps.exif_transpose(_rgb(path, file, bits)))

    return _opened(path, decode)


def read_ids(path: Path) -> np.ndarray:
    """Return a label as (H, W) integers: the values of one channel, or the indices of a palette.

    Raises:
        DataError: the file cannot be read, or has several channels.
    """

    def decode(file: Image.Image, bits: int) -> np.ndarray:
        if file.format != "PNG":
            raise DataError(f"{path}: a label as JPEG, which changes ids; expected a PNG of ids.")
        if file.mode not in ("L", "P", "1", "I", "I;16"):
            raise DataError(
                f"{path}: has mode {file.mode}; expected one channel of class ids. "
                "Write the ids as such a PNG; colours cannot be read as ids."
            )
        ids = np.array(file)
        if file.mode == "L" and bits in GREY_STEP:
            ids //= GREY_STEP[bits]
        return ids.astype(np.uint8) if file.mode == "1" else ids

    return _opened(path, decode)


def read_label(path: Path, *, size: tuple[int, int], num_classes: int) -> np.ndarray:
    """Return the label of a single picture as (H, W) int64 class ids, 255 = void.

    Args:
        size: (H, W) of the picture.

    Raises:
        DataError: as `read_ids`, the label has another size, or ids of no class.
    """
    ids = read_ids(path).astype(np.int64)
    if ids.shape != size:
        raise DataError(f"{path}: the label has size {ids.shape}; expected the picture's, {size}.")
    unknown = np.setdiff1d(ids, [*range(num_classes), IGNORE_INDEX])
    if len(unknown):
        raise DataError(
            f"{path}: has ids {unknown[:8].tolist()}; expected 0-{num_classes - 1}, "
            f"and {IGNORE_INDEX} for void."
        )
    return ids


def picture_size(path: Path) -> tuple[int, int]:
    """Return (height, width) from a picture's header."""
    return _opened(path, lambda file, _: file.size[::-1])


def orientation(path: Path) -> int:
    """Return the EXIF orientation, 1 where there is none."""
    return _opened(path, lambda file, _: file.getexif().get(ORIENTATION, 1))


def verify_picture(path: Path) -> None:
    """Compare the checksums of a PNG, which reading alone does not.

    Raises:
        DataError: they differ, or the file cannot be read.
    """
    _opened(path, lambda file, _: file.verify())


def _rgb(path: Path, file: Image.Image, bits: int) -> Image.Image:
    if bits == 16 or file.mode[0] in "IF":
        raise DataError(
            f"{path}: has more than 8 bits per channel; expected 8. Convert it to 8 bits."
        )
    if file.mode == "P" and "transparency" in file.info:
        file = file.convert("RGBA")
    return file if file.mode == "RGB" else file.convert("RGB")


def _opened(path: Path, use: Callable[[Image.Image, int], T]) -> T:
    """Open a picture and return use(picture, bits per channel of a PNG, or 8)."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise DataError(f"{path}: is no regular file; expected a PNG or JPEG picture.")
        if status.st_size == 0:
            raise DataError(
                f"{path}: the file is empty; expected a PNG or JPEG picture. Fetch it again."
            )
        with path.open("rb") as stream:
            head = stream.read(26)
            stream.seek(0)
            with Image.open(stream, formats=FORMATS) as file:
                if file.size[0] * file.size[1] > LARGEST:
                    raise DataError(
                        f"{path}: has {file.size[1]} x {file.size[0]} pixels; "
                        f"expected at most {LARGEST} in all."
                    )
                return use(file, head[24] if head.startswith(PNG_SIGNATURE) else 8)
    except DataError:
        raise
    except PermissionError as error:
        raise DataError(f"{path}: no permission to read it. Allow it (chmod +r).") from error
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file; expected a PNG or JPEG picture.") from error
    except (OSError, SyntaxError, ValueError, IndexError, Image.DecompressionBombError) as error:
        raise DataError(  # what Pillow raises on broken bytes
            f"{path}: a broken or truncated picture ({error}); expected a whole PNG or JPEG. "
            "Fetch it again."
        ) from error
