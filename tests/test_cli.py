"""The command line: what it prints, its exit codes, and errors without a traceback."""

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

import labkit
from labkit.batch import commands, schedule
from labkit.cli import app
from labkit.cli.models import _pictures
from labkit.errors import FileError, NotebookError, Stopped, TrainingError
from labkit.settings.paths import project_root
from tests.matrices import run_folder


def call(*arguments):
    return CliRunner().invoke(app, [str(part) for part in arguments])


def python(code: str) -> str:
    command = [sys.executable, "-c", code]
    return subprocess.run(
        command, cwd=project_root(), check=True, capture_output=True, text=True
    ).stdout


def test_help_runs_and_settings_need_no_torch(tmp_path):
    code = """import sys
from typer.testing import CliRunner
from labkit.cli import app
settings = [["settings", "teacher"], ["settings", "student"]]
for words in (["--help"], ["runs", "--set", "runs={}"], *settings, ["--version"]):
    assert CliRunner().invoke(app, words).exit_code == 0, words
print("torch" in sys.modules)"""
    assert python(code.format(tmp_path)) == "False\n"


def test_the_version_is_the_package_s():
    assert call("--version").stdout == f"labkit {labkit.__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("train", "teacher", "--set", "learning_rat=1"), "did you mean learning_rate?"),
        (("train", "teacher", "--set", "learning_rate=fast"), "setting learning_rate: got 'fast'"),
        (("train", "teacher", "--set", "batch_size"), "expected name=value"),
        (("train", "teacher", "--set", "seed=1", "--set", "seed=2"), "seed: is given twice"),
        (("train", "teacher", "--set", "recipe=none"), "none"),
        (("train", "teacher", "--set", "seed=²"), "setting seed: got '²'"),
        (("train", "teacher", "--set", "dataset=" + "x" * 100_000), "setting dataset: got"),
        (("train", "teacher", "--set", "dataset=a\0b"), "setting dataset: got"),
        (("train", "teacher", "--set", "encoder_weights=no/file"), "setting encoder_weights: got"),
        (("train", "student", "--set", "teacher=nobody"), "run 'nobody': no such run"),
        (("run", "attribution", "--set", "region=cow"), "setting region: got 'cow'"),
        (("run", "results", "--set", "matrix=none.yaml"), "no such file"),
        (("evaluate", "nobody"), "run 'nobody': no such run"),
        (("predict", "nobody", "frame.png"), "frame.png"),
        (("predict", "nobody", "a.png", "--set", "output=x"), "predict: no setting 'output'"),
        (("predict", "nobody", "a.png", "--set", "label=x"), "predict: no setting 'label'"),
        (("predict", "nobody", "a.png", "--set", "form=x"), "predict: no setting 'form'"),
        (("runs", "--sort", "size"), "expected one of id, miou"),
        (("runs", "--set", "seed=1"), "no setting 'seed'"),
        (("settings", "teacher", "--set", "dataset=nowhere"), "nowhere"),
        (("matrix", "none.yaml"), "no such file"),
        (("matrix", "stauts", "none.yaml"), "expected one file"),
    ],
    ids=lambda value: "-".join(value)[:40] if isinstance(value, tuple) else "",
)
def test_bad_input_is_one_short_message_and_code_2(arguments, words, tmp_path):
    takes_runs = arguments[0] in ("train", "evaluate", "predict") or "attribution" in arguments
    done = call(*arguments, *(("--set", f"runs={tmp_path}") if takes_runs else ()))
    assert done.exit_code == 2, done.output
    assert words in done.stderr
    assert "Traceback" not in done.output
    assert len(done.output) < 3000
    assert "fault of labkit" not in done.output


def test_several_faults_come_at_once(tmp_path):
    done = call("train", "teacher", "--set", "batch_size=none", "--set", "pixel_std=-1")
    assert "setting batch_size" in done.output
    assert "setting pixel_std" in done.output


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (TrainingError("the loss is not finite"), 1, "labkit: the loss is not finite\nGo on with:"),
        (NotebookError("it broke", exit_code=124), 124, "labkit: it broke\nGo on with:"),
        (FileError("x: the disk is full"), 1, "labkit: x: the disk is full\nGo on with:"),
        (Stopped(1), 129, "labkit: stopped by SIGHUP (the terminal was closed).\nGo on with:"),
        (Stopped(3), 131, "labkit: stopped by SIGQUIT.\nGo on with:"),
        (KeyboardInterrupt(), 130, "labkit: interrupted (Ctrl-C).\nGo on with:"),
        (ZeroDivisionError("planted"), 1, "ZeroDivisionError: planted. This is a fault of labkit"),
    ],
)
def test_every_error_has_its_code_and_message(monkeypatch, error, code, words):
    def fail(*arguments, **options):
        raise error

    monkeypatch.setattr(commands, "train", fail)
    done = call("train", "teacher")
    assert done.exit_code == code
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_the_list_of_distillers_ends_well_when_nobody_reads_it():
    command = f"{sys.executable} -m labkit distillers | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", command], cwd=project_root(), capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_failed_matrix_is_code_1(monkeypatch):
    monkeypatch.setattr(schedule, "run_matrix", lambda file, **options: ["teacher s0"])
    done = call("matrix", "x.yaml")
    assert done.exit_code == 1
    assert "not made: teacher s0." in done.stderr


# complete runs


def test_runs_are_listed_with_the_damaged_ones_named(complete_matrix, tmp_path):
    damaged = run_folder(complete_matrix, "alone s0")
    (damaged / "metrics.json").write_text("{}", encoding="utf-8")
    done = call("runs", "--sort", "miou", "--set", f"runs={tmp_path / 'runs'}")
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert sum(line.lstrip().startswith("complete") for line in lines) == 4
    assert [line for line in lines if "damaged" in line and damaged.name in line]
    assert lines[-1] == f"{tmp_path / 'runs'}: 5 runs"


def test_an_empty_folder_names_the_next_command(tmp_path):
    assert "labkit train teacher" in call("runs", "--set", f"runs={tmp_path}").stdout


def test_settings_show_the_recipe_s_value():
    done = call("settings", "student", "--set", "dataset=camvid")
    assert done.exit_code == 0, done.output
    assert "(recipe; else" in done.stdout
    assert "labkit distillers" in done.stdout


def test_a_run_is_scored_and_predicts_by_the_beginning_of_its_id(complete_matrix, tmp_path):
    folder = tmp_path / "runs"
    done = call(
        "evaluate", "streets-teacher-assisted", "--set", f"runs={folder}", "--set", "size=2"
    )
    assert done.exit_code == 0, done.output
    assert "true_label: mIoU" in done.stdout
    for name in ("a.jpg", "b.png"):
        Image.new("RGB", (50, 37), (90, 90, 90)).save(tmp_path / name)
    pictures = [tmp_path / "a.jpg", tmp_path / "b.png"]
    (tmp_path / "out").mkdir()
    options = ("--set", f"runs={folder}", "--output", tmp_path / "out")
    done = call("predict", "streets-student-alone", *pictures, *options)
    assert done.exit_code == 0, done.output
    made = sorted((tmp_path / "out").iterdir())
    assert [path.stem for path in made] == ["a-alone", "b-alone"]
    with Image.open(made[0]) as picture:
        assert picture.size == (50, 37)


def test_a_missing_picture_is_reported_before_a_run_is_loaded(complete_matrix, tmp_path):
    done = call("predict", "streets-student-alone", tmp_path / "none.png")
    assert done.exit_code == 2
    assert f"{tmp_path / 'none.png'}" in done.stderr


def test_the_pictures_of_a_folder_are_predicted(complete_matrix, tmp_path):
    (tmp_path / "in").mkdir()
    for name in ("b.JPG", "a.png"):
        Image.new("RGB", (50, 37), (90, 90, 90)).save(tmp_path / "in" / name)
    (tmp_path / "in" / "notes.txt").write_text("no picture", encoding="utf-8")
    options = ("--set", f"runs={tmp_path / 'runs'}", "--as", "ids")
    done = call("predict", "streets-student-alone", tmp_path / "in", *options)
    assert done.exit_code == 2
    assert "--output is missing" in done.stderr
    done = call(
        "predict", "streets-student-alone", tmp_path / "in", *options, "--output", tmp_path / "new"
    )
    assert done.exit_code == 0, done.output
    made = sorted(path.name for path in (tmp_path / "new").iterdir())
    assert made == ["a-alone-ids.png", "b-alone-ids.png"]
    assert "holds no PNG" in call("predict", "x", tmp_path / "new" / "..", "--output", "y").stderr


def test_predictions_beside_their_pictures_are_not_predicted(tmp_path):
    for name in ("a.png", "a-of-assisted.png", "a-plain-overlay.png", "b-plain.png", "c.jpg"):
        (tmp_path / name).write_bytes(b"")
    assert [path.name for path in _pictures([tmp_path])] == ["a.png", "b-plain.png", "c.jpg"]


def test_relative_pictures_and_a_debug_traceback(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = call("predict", "nobody", "none.png", "--debug")
    assert done.exception is not None
    assert Path.cwd() == tmp_path
