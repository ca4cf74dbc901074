"""What is refused before a kernel, a scheduler or a training starts: code 2, nothing written."""

import pytest
from typer.testing import CliRunner

from labkit.batch import notebook_runs
from labkit.cli import app
from tests import matrices
from tests.hostile import listing
from tests.matrices import run_folder


@pytest.fixture
def no_kernel(monkeypatch):
    """Fails where a notebook would be executed."""

    def execute(*arguments, **options):
        raise AssertionError("a kernel would start")

    monkeypatch.setattr(notebook_runs, "execute", execute)


def call(*arguments):
    return CliRunner().invoke(app, [str(part) for part in arguments])


def refused(folder, *arguments) -> str:
    """The message of a command that ends with code 2 and changes nothing in a folder."""
    before = listing(folder)
    done = call(*arguments)
    assert done.exit_code == 2, done.output
    assert "fault of labkit" not in done.output
    assert len(done.output) < 3000
    assert listing(folder) == before
    return done.stderr


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (("frame=100000",), "setting frame: got 100000; expected 0 to"),
        (("dataset=camvid", "data_root=/nowhere"), "camvid"),
        (("dataset=../../x",), "../../x"),
        (("label_channels=100",), "setting label_channels: got"),
        (("frame=²",), "setting frame: got '²'"),
    ],
)
def test_the_noising_notebook(no_kernel, tmp_path, settings, words):
    sets = [part for pair in (*settings, f"runs={tmp_path}") for part in ("--set", pair)]
    assert words in refused(tmp_path, "run", "noising", *sets)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (("category=dragon",), "setting category: no class 'dragon'"),
        (("layers=encoder.nosuch",), "setting layers: no layer 'encoder.nosuch'"),
        (("teacher=nobody",), "run 'nobody': no such run"),
        (("dataset=streets_large",), "no complete assisted teacher of streets_large"),
        (("frames=99",), "setting frames: got"),
    ],
)
def test_the_attribution_notebook(no_kernel, complete_matrix, tmp_path, settings, words):
    given = (*settings, f"runs={tmp_path / 'runs'}")
    sets = [part for pair in given for part in ("--set", pair)]
    assert words in refused(tmp_path, "run", "attribution", *sets)


def test_the_distillers_notebook(no_kernel, tmp_path):
    given = ("--set", "distiller=cwdd", "--set", f"runs={tmp_path / 'runs'}")
    words = refused(tmp_path, "run", "distillers", *given)
    assert "setting distiller: no distiller 'cwdd'" in words


def test_a_student_has_no_label_to_attribute_to(no_kernel, complete_matrix, tmp_path):
    student = run_folder(complete_matrix, "alone s0").name
    given = (f"teacher={student}", f"runs={tmp_path / 'runs'}")
    sets = [part for pair in given for part in ("--set", pair)]
    assert "expected an assisted teacher" in refused(tmp_path, "run", "attribution", *sets)


def test_the_results_notebook(no_kernel, fresh, tmp_path):
    sets = ("--set", f"matrix={fresh}", "--set", "category=dragon")
    assert "setting category: no class 'dragon'" in refused(tmp_path, "run", "results", *sets)


def test_figures_that_cannot_be_written(no_kernel, fresh, tmp_path):
    (tmp_path / "file").write_text("mine")
    for figures in (tmp_path / "file", tmp_path / "file" / "figures", tmp_path / ("x" * 300)):
        sets = ("--set", f"figures={figures}", "--set", f"runs={tmp_path}")
        assert "setting figures: got" in refused(tmp_path, "run", "noising", *sets)
        matrices.write(fresh, runs=tmp_path / "runs", figures=str(figures))
        assert "setting figures: got" in refused(tmp_path, "matrix", fresh)


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("crop_height=16384", "setting crop_height: got"),
        ("resize=16384x16384", "setting resize: got"),
        ("encoder_weights=nowhere/w.pth", "setting encoder_weights: got"),
        ("encoder_weights=/", "setting encoder_weights: got"),
        ("encoder=tu-resnet18.nosuch", "setting encoder: "),
        ("runs=~nobody-here/x", "setting runs: got"),
        ("runs=a\0b", "setting runs: got"),
        ("seed=" + "9" * 100_000, "setting seed: got"),
    ],
)
def test_a_training(tmp_path, setting, words):
    own = () if setting.startswith("runs=") else ("--set", f"runs={tmp_path}")
    assert words in refused(tmp_path, "train", "teacher", "--set", setting, *own)
