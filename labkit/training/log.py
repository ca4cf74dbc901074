"""log.jsonl of a run: one JSON object per line, synced to disk."""

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from labkit.records import cannot_write, write_text

WriteRow = Callable[[dict[str, Any]], None]


@contextlib.contextmanager
def open_log(path: Path, rows: list[dict[str, Any]]) -> Iterator[WriteRow]:
    """Append rows to a log that first holds `rows`, those up to the checkpoint.

    Yields:
        A function that writes one row.

    Raises:
        FileError: the log cannot be written.
    """
    write_text(path, "".join(json.dumps(row) + "\n" for row in rows))
    with path.open("a", encoding="utf-8") as file:

        def write_row(row: dict[str, Any]) -> None:
            try:
                file.write(json.dumps(row) + "\n")
                file.flush()
                os.fsync(file.fileno())
            except OSError as error:
                raise cannot_write(path, error) from error

        yield write_row
