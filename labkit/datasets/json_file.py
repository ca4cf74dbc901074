"""Reading of a small JSON file that a user wrote."""

import json
from pathlib import Path
from typing import Any

from labkit.errors import DataError

LARGEST = 2**20  # bytes


def read_object(path: Path, *, limit: int = LARGEST) -> dict[str, Any]:
    """Return a JSON object.

    Args:
        limit: bytes at most.

    Raises:
        DataError: the file cannot be read, is too large, or holds something else; a name twice
            within an object is refused too.
    """
    try:
        if path.stat().st_size > limit:
            raise DataError(f"{path}: expected at most {limit} bytes.")
        content = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_unique)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}).") from error
    except DataError:
        raise
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"{path}: is not valid JSON ({str(error)[:100]}). Correct the file."
        ) from error
    if not isinstance(content, dict):
        raise DataError(f"{path}: holds a {type(content).__name__}; expected a JSON object.")
    return content


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{twice!r:.60} twice in one object")
    return dict(pairs)
