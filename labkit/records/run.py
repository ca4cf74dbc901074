"""Run folders. A result counts only through a manifest whose state is complete, written last.

<runs>/<run id>/ holds config.json, log.jsonl, checkpoints in training, model.safetensors,
metrics.json, frames.npz and manifest.json.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from labkit.errors import FileError, RecordError
from labkit.records.counts import read_counts
from labkit.records.files import file_hash, remove_parts, write_bytes, write_json
from labkit.records.folders import runs_folder
from labkit.records.locks import lock
from labkit.records.provenance import now, provenance
from labkit.records.schema import (
    FORMAT,
    OUTPUTS,
    Manifest,
    Metrics,
    damaged,
    read_record,
    read_rows,
)
from labkit.settings import TrainSettings, hashed_settings
from labkit.settings.resolve import content_digest


@dataclass(frozen=True)
class Run:
    """One run, planned or made; nothing is written by its construction.

    Attributes:
        folder: named by the run's id.
        settings: final, precision resolved. Loaded settings have defaults in local fields.
        identity: {"data", "weights", "teacher"}: content of the run's inputs.
        teacher: the run that taught a student; None also where its folder is gone.
    """

    folder: Path
    settings: TrainSettings
    identity: dict[str, Any]
    teacher: "Run | None" = None

    @cached_property
    def config(self) -> dict[str, Any]:
        """What config.json holds: everything that decides the result, no path."""
        return {
            "role": self.role,
            "kind": self.kind,
            "settings": hashed_settings(self.settings),
            "identity": self.identity,
        }

    @cached_property
    def run_id(self) -> str:
        """{dataset}-{role}-{kind}-{architecture}-{encoder}-s{seed}-{hash of config.json}."""
        return f"{run_name(self.settings)}-{content_digest(self.config)[:8]}"

    @cached_property
    def recipe_hash(self) -> str:
        """Hash of what is computed apart from the seed, the teacher's included.

        Equal for the runs of one table row.
        """
        settings = {
            name: value for name, value in self.config["settings"].items() if name != "seed"
        }
        teacher = (self.identity["teacher"] or {}).get("recipe_hash", "")
        counted = {"settings": settings, "identity": self.identity | {"teacher": teacher}}
        return content_digest(self.config | counted)[:8]

    @property
    def role(self) -> str:
        """teacher or student."""
        return self.settings.role

    @property
    def kind(self) -> str:
        """assisted or plain; alone, of-plain or of-assisted."""
        return self.settings.kind

    @property
    def seed(self) -> int:
        return self.settings.seed

    @property
    def state(self) -> str:
        """running, failed, stopped, complete, lost (complete without its weights), or absent."""
        state = self.manifest().get("state", "absent")
        weights = self.folder / "model.safetensors"
        return "lost" if state == "complete" and not weights.is_file() else state

    def manifest(self) -> dict[str, Any]:
        """Return manifest.json, {} where there is none.

        Raises:
            RecordError: it is no manifest of this run.
        """
        path = self.folder / "manifest.json"
        if not path.is_file():
            return {}
        values = read_record(path, Manifest, run=self.folder.name)
        if values["run_id"] != self.run_id:
            raise damaged(self.folder.name, "is another run's.", file="manifest.json")
        return values

    def facts(self) -> dict[str, Any]:
        """Return what the last `mark` or `complete` recorded: steps, seconds, an error."""
        return self.manifest().get("facts", {})

    def metrics(self) -> dict[str, Any]:
        """Return metrics.json.

        Raises:
            RecordError: it is missing or malformed.
        """
        return read_record(self.folder / "metrics.json", Metrics, run=self.folder.name)

    def frame_counts(self) -> dict[str, Any]:
        """Return frames.npz: "{reading}.{region}.hits|labelled|predicted" (F, K), "frames" (F,).

        Raises:
            RecordError: it is missing or malformed.
        """
        return read_counts(self.folder / "frames.npz", run=self.folder.name)

    def log_rows(self) -> list[dict[str, Any]]:
        """Return the sound rows of log.jsonl in order."""
        return read_rows(self.folder / "log.jsonl", run=self.folder.name)[0]

    def lock(self, *, patience: float = 20) -> AbstractContextManager[None]:
        """Keep every other process out of the folder while this one trains.

        Raises:
            FileError: another process holds it.
            RecordError: the folder is a symbolic link.
        """
        self._refuse_link()
        return lock(self.folder / ".lock", patience=patience)

    def checkpoint_hash(self) -> str:
        """Return the weights' SHA-256 in the manifest.

        Raises:
            RecordError: the run is not complete.
        """
        try:
            return self.manifest()["outputs"]["model.safetensors"]
        except KeyError:
            raise RecordError(
                f"run {self.run_id}: its state is {self.state}; expected complete."
            ) from None

    def check_weights(self) -> None:
        """Refuse weights other than those the run was completed with.

        Raises:
            RecordError: the hash differs, or they are gone.
        """
        _check_hash(self, "model.safetensors", self.checkpoint_hash())

    def mark(self, state: str, **facts: Any) -> None:
        """Write the manifest with a new state and its facts, atomically."""
        write_json(
            self.folder / "manifest.json", self.manifest() | {"state": state, "facts": facts}
        )

    def complete(self, **facts: Any) -> None:
        """Hash the outputs, then write the manifest as complete: the last thing a run does."""
        outputs = {name: file_hash(self.folder / name) for name in OUTPUTS}
        final = {
            "state": "complete",
            "finished": now(),
            "outputs": outputs,
            "provenance": provenance(str(facts.pop("device", ""))),
            "facts": facts,
        }
        write_json(self.folder / "manifest.json", self.manifest() | final)

    def mend_log(self) -> str:
        """Move unsound lines of log.jsonl to log.jsonl.damaged; to be called by the lock's holder.

        Returns:
            A message, "" where all lines were sound.
        """
        path = self.folder / "log.jsonl"
        if path.is_symlink():
            path.unlink()
        rows, unsound = read_rows(path, run=self.folder.name)
        if not unsound:
            return ""
        content = path.read_bytes().split(b"\n")
        sound = [line for line in content if line and line not in set(unsound)]
        write_bytes(self.folder / "log.jsonl.damaged", b"\n".join(unsound) + b"\n")
        write_bytes(path, b"".join(line + b"\n" for line in sound))
        return (
            f"run {self.run_id}: log.jsonl was damaged; {len(rows)} rows are kept, "
            f"{len(unsound)} lines are set aside in log.jsonl.damaged."
        )

    def _refuse_link(self) -> None:
        if self.folder.is_symlink():
            raise RecordError(
                f"run {self.run_id}: its folder is a symbolic link; expected a folder. "
                "Remove the link, or choose another folder (setting runs)."
            )


def run_name(settings: TrainSettings) -> str:
    """Return a run's id without its hash; letters, digits and _ . + - alone."""
    network = f"{settings.architecture}-{settings.encoder}"
    name = f"{settings.dataset}-{settings.role}-{settings.kind}-{network}-s{settings.seed}"
    return "".join(char if char.isalnum() or char in "_.+-" else "_" for char in name)


def describe_run(
    settings: TrainSettings, identity: Mapping[str, Any], teacher: Run | None = None
) -> Run:
    """Return the run that final settings, data and a complete teacher make; nothing is written.

    Args:
        settings: precision resolved.
        identity: "data" (fingerprint) and "weights" (fingerprint); "teacher" is filled in here.
        teacher: of a student, complete.

    Raises:
        SettingsError: precision is still auto.
        RecordError: the teacher is not complete.
    """
    taught_by = None
    if teacher:
        taught_by = {
            "run_id": teacher.run_id,
            "checkpoint": teacher.checkpoint_hash(),
            "recipe_hash": teacher.recipe_hash,
        }
    content = {"data": identity["data"], "weights": identity["weights"], "teacher": taught_by}
    runs = runs_folder(settings.runs)
    run = Run(runs, settings, content, teacher)
    return Run(runs / run.run_id, settings, content, teacher)


def start_run(run: Run, *, device: str = "") -> str:
    """Write config.json and a manifest that says running on a device; the run's lock is held.

    Returns:
        A message about a log that was mended, or "".

    Raises:
        FileError: the folder cannot be written.
    """
    run._refuse_link()
    try:
        started = run.manifest().get("started", now())
    except RecordError:  # a damaged manifest of an unfinished run: written anew
        started = now()
    remove_parts(run.folder)
    write_json(run.folder / "config.json", run.config)
    manifest = {
        "format": FORMAT,
        "run_id": run.run_id,
        "role": run.role,
        "kind": run.kind,
        "dataset": run.settings.dataset,
        "seed": run.seed,
        "recipe_hash": run.recipe_hash,
        "state": "running",
        "started": started,
        "provenance": provenance(device),
    }
    write_json(run.folder / "manifest.json", manifest)  # nothing of a failed try stays
    return run.mend_log()


def check_outputs(run: Run, names: tuple[str, ...]) -> None:
    """Refuse a complete run whose files are not those it was completed with.

    Raises:
        RecordError: a file was changed or is gone.
    """
    outputs = run.manifest().get("outputs", {})
    for name in names:
        _check_hash(run, name, outputs.get(name, ""))


def _check_hash(run: Run, name: str, expected: str) -> None:
    try:
        actual = file_hash(run.folder / name)
    except FileError as error:
        reason = str(error).removeprefix(f"{run.folder / name}: ")
        raise damaged(run.folder.name, reason, file=name) from error
    if actual != expected:
        raise damaged(run.folder.name, "is not what its manifest recorded.", file=name)
