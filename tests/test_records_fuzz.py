"""Damaged and hostile run folders: only errors that name the run, and no write outside.

Each example changes one file of one run among three: raw bytes, other JSON, or one value anywhere
inside it, made consistent with the manifest's hashes half of the time.
"""

import contextlib
import json
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.errors import LabkitError, RecordError
from labkit.records import file_hash, find_run, load_run, scan_runs, start_run
from labkit.records.artifacts import record_artifact, write_csv, write_records
from labkit.settings import make_settings, parse_overrides, resolve
from tests.hostile import FAST, LEAVES, RAW, TEXTS, changed
from tests.runs import made

JSON_FILES = ("manifest.json", "config.json", "metrics.json")
FILES = (*JSON_FILES, "log.jsonl", "frames.npz")


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """A folder with a teacher, its student and a plain teacher."""
    folder = tmp_path_factory.mktemp("sound")
    teacher = made(folder)
    made(folder, "student", teacher=teacher)
    made(folder, assisted=False)
    return folder


@pytest.fixture
def place(tmp_path):
    """An empty folder with files of a user around it."""
    for name in ("thesis.tex", "x", "figures/notes.json", "figures/records/notes.json"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("years")
    return tmp_path


def outside(place: Path) -> dict[str, str]:
    """Content of every file outside the runs folder, labkit's own products left out."""
    products = {"figures/t.csv", "figures/MANIFEST.json", "figures/.lock"}
    products |= {f"figures/records/{folder.name}.json" for folder in (place / "runs").iterdir()}
    files = {
        path.relative_to(place).as_posix(): path for path in place.rglob("*") if path.is_file()
    }
    return {
        name: path.read_text()
        for name, path in files.items()
        if not name.startswith("runs/") and name not in products
    }


def use_everything(place: Path, name: str) -> list[str]:
    """Do all that a user can with a folder of runs; messages of what was refused."""
    refused = []
    runs = place / "runs"
    found = scan_runs(runs)
    refused += map(str, found.faults)
    for run in (*found.runs, *found.unfinished):
        for use in (run.metrics, run.frame_counts, run.log_rows, run.check_weights, run.facts):
            with collect(refused):
                use()
    with collect(refused):
        find_run(name, runs)
    with collect(refused):
        write_records(found.runs, place / "figures")
        table = write_csv(
            place / "figures" / "t.csv", ["run"], [[run.run_id] for run in found.runs]
        )
        record_artifact(table, caption="", runs=found.runs, parameters={})
    with collect(refused):
        start_run(load_run(runs / name))
    return refused


@contextlib.contextmanager
def collect(refused: list[str]):
    try:
        yield
    except RecordError as error:  # any other fails the test
        refused.append(str(error))


@given(data=st.data())
@FAST
def test_a_changed_file_is_refused_by_name_and_nothing_is_written_outside(sound, place, data):
    runs = place / "runs"
    shutil.rmtree(runs, ignore_errors=True)
    shutil.copytree(sound, runs)
    folders = sorted(runs.iterdir())
    folder = data.draw(st.sampled_from(folders))
    path = folder / data.draw(st.sampled_from(FILES))
    before = path.read_bytes()
    if path.suffix == ".json" and data.draw(st.booleans()):
        path.write_text(json.dumps(data.draw(changed(json.loads(before)))))
    elif data.draw(st.booleans()):
        path.write_bytes(data.draw(RAW))
    else:
        cut = data.draw(st.integers(0, len(before)))
        path.write_bytes(before[:cut] + data.draw(RAW) + before[cut:])
    consistent = path.name != "manifest.json" and data.draw(st.booleans())
    if consistent:  # as somebody would who means it
        manifest = json.loads((folder / "manifest.json").read_text())
        manifest["outputs"][path.name] = file_hash(path)
        (folder / "manifest.json").write_text(json.dumps(manifest))
    around = outside(place)
    messages = use_everything(place, folder.name)
    assert all(any(f.name in message for f in folders) for message in messages)
    assert all(message.isprintable() and len(message) < 3000 for message in messages)
    assert outside(place) == around
    assert sorted(runs.iterdir()) == folders


@given(text=TEXTS | st.text(max_size=200), names=st.dictionaries(TEXTS, LEAVES, max_size=3))
@FAST
def test_settings_from_anywhere_are_refused_in_settings_errors_alone(text, names):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resolve, "_recipe", lambda given: {"learning_rate": 1e-3})
        patch.setattr(resolve, "_check_network", lambda architecture, encoder: None)
        for role, taught_by in (("teacher", None), ("student", None), ("student", "assisted")):
            with contextlib.suppress(LabkitError):
                make_settings(role, parse_overrides(text), taught_by=taught_by)
            with contextlib.suppress(LabkitError):
                make_settings(role, names, taught_by=taught_by)
            for name in ("seed", "learning_rate", "encoder", "runs", "resize", "distillation"):
                with contextlib.suppress(LabkitError):
                    make_settings(role, {name: text, "teacher": "t"}, taught_by=taught_by)


@given(name=TEXTS | st.text(max_size=200))
@FAST
def test_names_of_runs_from_anywhere_are_refused_in_record_errors_alone(sound, name):
    with contextlib.suppress(RecordError):
        assert find_run(name, sound).folder.parent == sound
