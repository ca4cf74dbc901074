"""Schemas of the small files of a run folder; a file that breaks its schema is a RecordError."""

import json
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from labkit.errors import FileError, RecordError
from labkit.records.files import LARGEST_JSON, read_bytes, read_json
from labkit.records.text import terminal_text

FORMAT = "labkit-run-1"
OUTPUTS = ("config.json", "log.jsonl", "model.safetensors", "metrics.json", "frames.npz")
SMALL_OUTPUTS = tuple(name for name in OUTPUTS if name != "model.safetensors")
RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,249}")  # one part of a path

RunId = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.+-]{0,249}$")]
Hash = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Text = Annotated[str, Field(max_length=10_000)]
Scalar = Text | bool | int | float | None
Value = Scalar | list[Scalar] | dict[Text, Scalar]
Percent = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)]


class _Record(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class TeacherIdentity(_Record):
    """The teacher a student was taught by.

    Attributes:
        run_id: of the teacher.
        checkpoint: SHA-256 of its weights.
        recipe_hash: of what the teacher computes, seed left out.
    """

    run_id: RunId
    checkpoint: Hash
    recipe_hash: Annotated[str, Field(pattern=r"^[0-9a-f]{8}$")]


class Identity(_Record):
    """The inputs of a run that are not settings, by their content.

    Attributes:
        data: fingerprint of the data set's files and description.
        weights: "" none, "imagenet", or SHA-256 of the file of encoder weights.
        teacher: of a student, or None.
    """

    data: Annotated[str, Field(max_length=200)]
    weights: Annotated[str, Field(max_length=200)]
    teacher: TeacherIdentity | None


class Config(_Record):
    """config.json: everything a run's id is a hash of."""

    role: Literal["teacher", "student"]
    kind: Literal["assisted", "plain", "alone", "of-plain", "of-assisted"]
    settings: dict[str, Any]
    identity: Identity


class Manifest(_Record):
    """manifest.json.

    Attributes:
        outputs: SHA-256 by file name, once the run is complete.
        facts: what the last state was marked with: steps, seconds, an error.
    """

    format: Literal["labkit-run-1"]
    run_id: RunId
    role: Literal["teacher", "student"]
    kind: Text
    dataset: Text
    seed: int
    recipe_hash: Text
    state: Literal["running", "failed", "stopped", "complete"]
    started: Text
    finished: Text = ""
    outputs: dict[Text, Hash] = {}
    provenance: dict[Text, Value] = {}
    facts: dict[Text, Value] = {}


class Reading(_Record):
    """Scores of one predictor, percent."""

    miou: Percent | None
    pixel_accuracy: Percent | None
    iou: dict[Text, Percent | None]
    absent: list[Text]


class Metrics(BaseModel):
    """metrics.json; further keys of plain values are allowed."""

    model_config = ConfigDict(strict=True, extra="allow", frozen=True)

    split: Text
    steps: int
    readings: Annotated[dict[Text, Reading], Field(min_length=1)]
    __pydantic_extra__: dict[str, Value | dict[Text, Value]]


def read_record(path: Path, schema: type[BaseModel], *, run: str) -> dict[str, Any]:
    """Return the JSON object of a file that a schema describes.

    Raises:
        RecordError: it is missing, or holds something else; the message names the run.
    """
    try:
        values = read_json(path)
        schema.model_validate(values)
    except FileError as error:
        raise damaged(run, str(error).removeprefix(f"{path}: "), file=path.name) from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        key = terminal_text(".".join(map(str, first["loc"])))[:80]
        raise damaged(run, f"at {key or 'the top'}: {first['msg']}.", file=path.name) from None
    except RecursionError:
        raise damaged(run, "it is nested too deeply.", file=path.name) from None
    return values


def read_rows(path: Path, *, run: str) -> tuple[list[dict[str, Any]], list[bytes]]:
    """Return the sound rows of a log in order, and the lines that are not.

    A sound row is a JSON object with a whole number `step`; a torn last line is not sound.

    Raises:
        RecordError: the file cannot be read.
    """
    if not path.is_file():
        return [], []
    try:
        content = read_bytes(path, limit=16 * LARGEST_JSON)
    except FileError as error:
        raise damaged(run, str(error).removeprefix(f"{path}: "), file=path.name) from error
    lines = content.split(b"\n")
    torn = [lines[-1]] if lines[-1] else []
    rows, unsound = [], []
    for line in lines[:-1]:
        row = _row(line)
        if row is None:
            unsound.append(line)
        else:
            rows.append(row)
    return rows, unsound + torn


def _row(line: bytes) -> dict[str, Any] | None:
    try:
        row = json.loads(line.decode())
    except (ValueError, RecursionError):
        return None
    sound = isinstance(row, dict) and type(row.get("step")) is int
    return row if sound else None


def damaged(run: str, what: str, *, file: str = "") -> RecordError:
    """Return the RecordError of a run whose record does not hold."""
    where = f"{file} " if file else ""
    return RecordError(
        f"run {terminal_text(run)[:260]}: {where}{what} "
        "Delete the run folder and train it again, or restore it."
    )
