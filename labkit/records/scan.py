"""Runs found on disk: each checked against its folder's name, its settings and its outputs."""

from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from labkit.errors import RecordError, SettingsError, nearest_name
from labkit.records.folders import runs_folder
from labkit.records.run import Run, check_outputs
from labkit.records.schema import RUN_ID, SMALL_OUTPUTS, Config, damaged, read_record
from labkit.records.text import terminal_text
from labkit.settings import TrainSettings, hashed_settings, settings_class

Loaded = dict[Path, "Run | RecordError"]


class RunScan(NamedTuple):
    """The runs of a folder, by id.

    Attributes:
        runs: complete and sound.
        faults: one for every damaged run, which is in neither list.
        unfinished: running, failed, stopped or without their weights.
    """

    runs: list[Run]
    faults: list[RecordError]
    unfinished: list[Run]


def scan_runs(runs: str | Path = "runs", *, dataset: str = "") -> RunScan:
    """Return every run of a folder; damaged ones are listed and left out.

    Args:
        runs: folder of run folders.
        dataset: runs of other data sets are not opened.
    """
    scan = RunScan([], [], [])
    loaded: Loaded = {}
    for folder in _folders(runs_folder(str(runs)), prefix=f"{dataset}-" if dataset else ""):
        try:
            run = _load(folder, loaded)
            complete = run.state == "complete"
        except RecordError as error:
            scan.faults.append(error)
            continue
        (scan.runs if complete else scan.unfinished).append(run)
    return scan


def load_run(folder: Path) -> Run:
    """Return a run from its folder, with its teacher where that is there.

    Id, folder name and the hash of the settings are one; a complete run's small files are those of
    its manifest. The teacher's folder may be absent: the run's own files still hold.

    Raises:
        RecordError: anything else; the message names the run.
    """
    return _load(Path(folder), {})


def find_run(name: str, runs: str | Path = "runs") -> Run:
    """Return a complete run by id, by the beginning of one id, or by folder.

    Raises:
        RecordError: no such run, several, a damaged one, or one that is not complete.
    """
    run = load_run(_folder_of(name, runs_folder(str(runs))))
    if run.state != "complete":
        raise RecordError(
            f"run {run.run_id}: its state is {run.state}; expected complete. "
            "Run the same command again to finish it."
        )
    return run


def _folder_of(name: str, runs: Path) -> Path:
    shown = terminal_text(name)[:260]
    if "/" in name and "\0" not in name:
        folder = Path(name).expanduser() if name.startswith("~/") else Path(name)
        for path in (folder, runs.parent / folder):
            if (path / "manifest.json").is_file():
                return path.absolute()
    if RUN_ID.fullmatch(name):
        if (runs / name / "manifest.json").is_file():
            return runs / name
        matches = _folders(runs, prefix=name)
        if len(matches) == 1:
            return matches[0]
        if matches:
            ids = ", ".join(folder.name for folder in matches[:10])
            raise RecordError(f"run {shown!r}: several begin so: {ids}. Give more of the id.")
    known = [folder.name for folder in _folders(runs)]
    hint = nearest_name(shown, known) if known else f"there is none yet. {hint_of_folders(runs)}"
    raise RecordError(f"run {shown!r}: no such run in {runs}; {hint}".rstrip())


def hint_of_folders(runs: Path) -> str:
    """Return folders nearby that do hold runs, and how to name them; "" where there are none."""
    nearby = dict.fromkeys((runs, runs_folder()))
    folders = [child for one in nearby if one.is_dir() for child in (one, *sorted(one.iterdir()))]
    counts = {folder: len(_folders(folder)) for folder in folders if folder != runs}
    holding = [f"{folder} ({count})" for folder, count in counts.items() if count]
    if not holding:
        return ""
    return f"Runs are in {', '.join(holding[:5])}: add --set runs=FOLDER."


def _folders(runs: Path, *, prefix: str = "") -> list[Path]:
    """Return the run folders, planned and damaged ones too, by name."""
    try:
        entries = sorted(runs.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise RecordError(f"{runs}: cannot be read ({error.strerror}).") from error
    return [
        entry
        for entry in entries
        if entry.name.startswith(prefix) and (entry / "manifest.json").is_file()
    ]


def _load(folder: Path, loaded: Loaded) -> Run:
    """Return a run, loading each folder once per call of a scan."""
    if folder not in loaded:
        try:
            loaded[folder] = _load_anew(folder, loaded)
        except RecordError as error:
            loaded[folder] = error
    run = loaded[folder]
    if isinstance(run, RecordError):
        raise run
    return run


def _load_anew(folder: Path, loaded: Loaded) -> Run:
    name = folder.name
    config = read_record(folder / "config.json", Config, run=name)
    settings = _settings(config, name, runs=str(folder.parent))
    run = Run(folder, settings, config["identity"])
    if run.config != config or run.run_id != name:
        raise damaged(name, "the folder's name is not the hash of its config.json.")
    manifest = run.manifest()
    if not manifest:
        raise damaged(name, "has no manifest.json.")
    if manifest["recipe_hash"] != run.recipe_hash or manifest["seed"] != run.seed:
        raise damaged(name, "is another run's.", file="manifest.json")
    if manifest["state"] == "complete":
        check_outputs(run, SMALL_OUTPUTS)
        run.metrics()
    return Run(folder, settings, config["identity"], _teacher(run, loaded))


def _settings(config: dict[str, Any], name: str, *, runs: str) -> TrainSettings:
    taught_by = config["identity"]["teacher"]
    local = {"runs": runs} | ({"teacher": taught_by["run_id"]} if taught_by else {})
    try:
        settings = settings_class(config["role"], config["kind"])
        if bool(taught_by) != ("teacher" in settings.model_fields):
            raise damaged(name, "its kind and its teacher do not fit.", file="config.json")
        final = settings(**(config["settings"] | local))
        hashed_settings(final)  # refuses a precision that is not resolved
        return final
    except KeyError:
        raise damaged(name, "its role and its kind do not fit.", file="config.json") from None
    except (SettingsError, ValidationError) as error:
        first = str(error).partition("\n")[0]
        raise damaged(name, f"does not fit this version: {first}", file="config.json") from error


def _teacher(run: Run, loaded: Loaded) -> Run | None:
    """Return the teacher of a run; None where there is none or its folder is gone.

    Raises:
        RecordError: the teacher is damaged, or is not the one the run was taught by.
    """
    taught_by = run.identity["teacher"]
    folder = run.folder.parent / taught_by["run_id"] if taught_by else None
    if folder is None or not (folder / "manifest.json").is_file():
        return None
    if folder == run.folder or "-teacher-" not in folder.name:
        raise damaged(
            run.folder.name, "the run it names as teacher is not a teacher.", file="config.json"
        )
    try:
        teacher = _load(folder, loaded)
        same = teacher.role == "teacher" and teacher.checkpoint_hash() == taught_by["checkpoint"]
    except RecordError as error:
        raise RecordError(f"run {run.run_id}: its teacher is damaged. {error}") from error
    if not same:
        raise RecordError(
            f"run {run.run_id}: its teacher {teacher.run_id} has other weights now. "
            "Train the student again."
        )
    return teacher
