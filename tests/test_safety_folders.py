"""Shared folders: left files, symbolic links, changed files with old times, damaged runs named."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from labkit.batch import commands, schedule
from labkit.batch.notebook import _open_log
from labkit.cli import app
from labkit.errors import RecordError
from labkit.records import file_hash, find_run, scan_runs
from labkit.records.artifacts import write_records
from labkit.settings.paths import project_root
from labkit.training.preflight import check_data_files
from tests import matrices
from tests.hostile import listing
from tests.matrices import SETTINGS, jobs, look, run_folder
from tests.runs import made


def test_checkpoints_left_by_a_kill_are_removed_by_the_next_command(complete_matrix, tmp_path):
    alone, plain = (run_folder(complete_matrix, t) for t in ("alone s0", "teacher plain s0"))
    for folder in (alone, plain):
        (folder / "last.safetensors").write_bytes(b"left")
        (folder / "previous.safetensors").write_bytes(b"left")
    commands.train("student", SETTINGS | {"runs": str(tmp_path / "runs")})
    assert not list(alone.glob("*s.safetensors"))
    assert not (alone / "last.safetensors").exists()
    look(complete_matrix).sync_receipts()  # as `labkit matrix` does before it starts
    assert not (plain / "last.safetensors").exists()
    assert (plain / "model.safetensors").is_file()


@pytest.mark.parametrize("name", ["metrics.json", "manifest.json", "log.jsonl"])
def test_a_matrix_names_its_damaged_runs_and_goes_on_with_the_others(complete_matrix, name):
    damaged = run_folder(complete_matrix, "alone s0")
    (damaged / name).write_text('{"run_id": "../../../x"}', encoding="utf-8")
    dry = list(schedule.dry_run(str(complete_matrix)))
    assert dry[0].startswith("small: 5 runs, 4 done, 1 to do")
    assert [line for line in dry if line.startswith(f"warning: run {damaged.name}: {name}")]
    lines = list(schedule.status(str(complete_matrix)))
    assert sum(line.startswith("    done") for line in lines) == 4
    (line,) = [line for line in lines if "alone s0" in line]
    assert f"run {damaged.name}: {name}" in line


def test_a_received_run_is_refused_by_name_and_writes_nothing(tmp_path):
    teacher = made(tmp_path / "runs")
    student = made(tmp_path / "runs", "student", teacher=teacher)
    manifest = student.folder / "manifest.json"
    for name in ("../../../x", "a/b", "..", f"{student.run_id}x", teacher.run_id):
        values = json.loads(manifest.read_text()) | {"run_id": name}
        manifest.write_text(json.dumps(values))
        before = listing(tmp_path)
        scan = scan_runs(tmp_path / "runs")
        assert [run.run_id for run in scan.runs] == [teacher.run_id]
        assert all(student.run_id in str(fault) for fault in scan.faults)
        with pytest.raises(RecordError, match=student.run_id):
            find_run(student.run_id, tmp_path / "runs")
        assert listing(tmp_path) == before
    write_records(scan_runs(tmp_path / "runs").runs, tmp_path / "figures")
    written = [path.name for path in (tmp_path / "figures" / "records").iterdir()]
    assert written == [f"{teacher.run_id}.json"]


def test_a_teacher_s_id_is_no_path(tmp_path):
    teacher = made(tmp_path / "runs")
    student = made(tmp_path / "runs", "student", teacher=teacher)
    config = student.folder / "config.json"
    values = json.loads(config.read_text())
    values["identity"]["teacher"]["run_id"] = f"../runs/{teacher.run_id}"
    config.write_text(json.dumps(values))
    manifest = json.loads((student.folder / "manifest.json").read_text())
    manifest["outputs"]["config.json"] = file_hash(config)
    (student.folder / "manifest.json").write_text(json.dumps(manifest))
    (fault,) = scan_runs(tmp_path / "runs").faults
    assert student.run_id in str(fault)


def test_a_log_that_is_a_symbolic_link_is_replaced(complete_matrix, tmp_path):
    mine = tmp_path / "mine"
    mine.write_text("years")
    log = tmp_path / "00.log"
    log.symlink_to(mine)
    with _open_log(log) as file:
        file.write("line")
    folder = look(complete_matrix).matrix.state_folder / "logs"
    folder.mkdir(parents=True)
    (folder / "snakemake.log").symlink_to(mine)
    arguments = ["--version"]
    with schedule.running_snakemake(look(complete_matrix).matrix, arguments) as process:
        process.wait(120)
    assert mine.read_text() == "years"
    assert not (folder / "snakemake.log").is_symlink()


def test_a_label_changed_under_its_old_size_and_time_is_read_again(tmp_path):
    folder = tmp_path / "folder"
    for kind in ("images", "labels"):
        (folder / kind).mkdir(parents=True)
    for i in range(2):
        Image.new("RGB", (16, 16), (90, i, 90)).save(folder / "images" / f"{i}.png")
        label = Image.fromarray(np.full((16, 16), i, np.uint8))
        label.save(folder / "labels" / f"{i}.png", compress_level=0)
    where = {"images": "images", "labels": "labels"}
    content = {"classes": ["road", "car"], "train": where, "val": where}
    (folder / "dataset.json").write_text(json.dumps(content))
    check = {"root": str(folder), "cache": tmp_path / "cache"}
    before = check_data_files("folder", "train", **check)
    label = folder / "labels" / "0.png"
    status = label.stat()
    shutil.copy(folder / "labels" / "1.png", tmp_path / "other.png")
    label.write_bytes((tmp_path / "other.png").read_bytes())
    os.utime(label, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert label.stat().st_size == status.st_size
    assert check_data_files("folder", "train", **check) != before


def test_other_labels_or_weights_under_the_same_path_are_another_run(complete_matrix, tmp_path):
    weights = tmp_path / "weights.safetensors"
    file = matrices.write(
        tmp_path / "w.yaml",
        runs=tmp_path / "runs",
        settings=SETTINGS | {"encoder_weights": str(weights)},
        teachers={"plain": {"assisted": False}},
        methods=None,
    )
    ids = []
    for content in (b"one", b"two"):
        weights.write_bytes(content)
        ids.append(look(file).run(jobs(file)["teacher plain s0"]).run_id)
    assert len(set(ids)) == 2
    assert find_run(run_folder(complete_matrix, "teacher plain s0").name, tmp_path / "runs")


def test_names_outside_ascii_work_in_the_c_locale(tmp_path):
    file = matrices.write(tmp_path / "grün.yaml", runs=tmp_path / "runs", title="größer")
    environment = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run(
        [sys.executable, "-m", "labkit", "matrix", "status", str(file)],
        cwd=project_root(),
        env=environment,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(b" waiting  ") == 6


@pytest.mark.parametrize(
    "name", ["a\0b", "²", "x" * 100_000, "../../etc", "~nobody-here/x", "\x1b[31m", "", "-"]
)
def test_names_of_runs_that_cannot_be_are_short_messages(tmp_path, name):
    done = CliRunner().invoke(app, ["evaluate", "--set", f"runs={tmp_path}", "--", name])
    assert done.exit_code == 2
    assert "fault of labkit" not in done.output
    assert len(done.output) < 2000
    assert all(line.isprintable() for line in done.output.splitlines())
