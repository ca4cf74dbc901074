"""Exported runs: weights that smp loads, ONNX that answers as PyTorch, and a model card."""

import sys

import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from labkit.cli import app
from labkit.datasets.batches import frames_batch
from labkit.errors import SettingsError, TrainingError
from labkit.method import full_size
from labkit.networks import export as networks_export
from labkit.networks.export import onnx_difference, onnx_session, write_onnx
from labkit.training import export as training_export
from labkit.training.card import Measured, model_card
from labkit.training.export import FILES, export_run
from labkit.training.fit import fit
from tests.training import student, teacher

ENCODER = "tu-mobilenetv3_small_050"
FIVE = {"pspnet": ENCODER, "deeplabv3": ENCODER, "fcn": ENCODER, "stdc": "stdc1"}
FIVE["ocrnet"] = "tu-hrnet_w18_small_v2"
SHORT = {"train_steps": 1, "train_size": 2, "val_size": 2}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A student of PSPNet after one step, complete."""
    experiment = student(tmp_path_factory.mktemp("runs"), architecture="pspnet", **SHORT)
    fit(experiment)
    return experiment


@pytest.fixture
def written_only(monkeypatch):
    """Exports without tracing and without onnxruntime, which take most of the time."""

    class Session:
        def run(self, *_):
            return (None,)

    monkeypatch.setattr(training_export, "write_onnx", lambda _, path: path.write_bytes(b"onnx"))
    monkeypatch.setattr(training_export, "onnx_difference", lambda *_, **__: 1e-6)
    monkeypatch.setattr(training_export, "onnx_session", lambda _: Session())


def values(experiment):
    return {"runs": str(experiment.run.folder.parent), "threads": "1"}


def python_block(card: str) -> str:
    return card.split("```python\n")[1].split("```")[0]


def answer(model, images):
    with torch.no_grad():
        outputs = model(images)
    return outputs if isinstance(outputs, torch.Tensor) else outputs.logits


def check_loads_without_the_run(experiment, folder, monkeypatch):
    """The example of the model card, executed in the exported folder, answers as the run."""
    monkeypatch.chdir(folder)
    names: dict = {}
    exec(python_block((folder / "README.md").read_text(encoding="utf-8")), names)
    batch = frames_batch(experiment.val_split, experiment.info, [0, 1])
    logits = full_size(
        answer(names["model"], batch.images), experiment.network.stride, batch.target.shape[1:]
    )
    expected = experiment.logits("image", batch)
    scale = max(1.0, float(expected.abs().max()))
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-5 * scale)


def test_an_export_holds_the_weights_and_a_card_whose_example_loads_them(
    trained, tmp_path, monkeypatch, written_only
):
    lines = export_run(trained.run.run_id, output=tmp_path / "out", values=values(trained))
    assert lines[:3] == [str(tmp_path / "out" / name) for name in FILES]
    weights = load_file(tmp_path / "out" / "model.safetensors")
    assert weights.keys() == trained.network.state_dict().keys()
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert "labkit" not in python_block(card)
    assert len(python_block(card).splitlines()) == 3
    check_loads_without_the_run(trained, tmp_path / "out", monkeypatch)
    manifest = trained.run.manifest()
    miou = trained.run.metrics()["readings"]["image"]["miou"]
    for text in (manifest["provenance"]["revision"], f"{miou:.2f}", "the scenes are drawn",
                 "whole, native size", "FLOPs", " ms |", "| batch\\_size | 2 |"):  # fmt: skip
        assert text in card, text
    assert str(trained.run.folder.parent) not in card
    assert "resize images" not in card


@pytest.mark.parametrize(
    ("size", "words"),
    [("short:32", "a short side of 32 pixels"), ("48x96", "48x96 pixels (height x width)")],
)
def test_the_card_says_at_which_size_the_network_was_scored(tmp_path, size, words):
    experiment = student(tmp_path, architecture="pspnet", score_size=size, **SHORT)
    fit(experiment)
    card = model_card(experiment, Measured((64, 128), 1, 1, 1, "a CPU", 0))
    assert f"resize images to {words} first (bilinear, antialiased)" in card


def test_an_export_is_renewed_and_never_written_among_other_files(trained, tmp_path, written_only):
    for _ in range(2):
        export_run(trained.run.run_id, values=values(trained))
    assert {path.name for path in (trained.run.folder / "export").iterdir()} == set(FILES)
    (tmp_path / "README.md").write_text("another project")
    with pytest.raises(SettingsError, match="other files"):
        export_run(trained.run.run_id, output=tmp_path, values=values(trained))
    assert (tmp_path / "README.md").read_text() == "another project"


def test_the_command_prints_the_files_and_a_refusal_is_exit_code_2(trained, tmp_path, written_only):
    where = ["--set", f"runs={trained.run.folder.parent}", "--output", str(tmp_path / "out")]
    result = CliRunner().invoke(app, ["export", trained.run.run_id, *where])
    assert result.exit_code == 0
    assert result.stdout.splitlines()[:3] == [str(tmp_path / "out" / name) for name in FILES]
    assert CliRunner().invoke(app, ["export", "nobody", *where]).exit_code == 2


def test_an_onnx_file_that_differs_is_removed(trained, tmp_path, monkeypatch, written_only):
    monkeypatch.setattr(training_export, "onnx_difference", lambda *_, **__: float("nan"))
    with pytest.raises(TrainingError, match="differ"):
        export_run(trained.run.run_id, output=tmp_path, values=values(trained))
    assert list(tmp_path.iterdir()) == []


def test_an_assisted_teacher_is_refused_in_words(tmp_path):
    assisted = teacher(tmp_path, **SHORT)
    fit(assisted)
    with pytest.raises(SettingsError, match="no label where a network is used"):
        export_run(assisted.run.run_id, values=values(assisted))
    with pytest.raises(SettingsError, match="images alone"):
        write_onnx(assisted.network, tmp_path / "model.onnx")


@pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
def test_a_missing_package_is_one_clear_error(trained, tmp_path, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(SettingsError, match=rf"{package}.*labkit\[export\]"):
        export_run(trained.run.run_id, output=tmp_path / "out", values=values(trained))
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of the exporter
@pytest.mark.parametrize(("architecture", "encoder"), [*FIVE.items(), ("unet", ENCODER)])
def test_every_exported_student_answers_as_the_run_does(
    architecture, encoder, tmp_path, monkeypatch
):
    experiment = student(tmp_path, architecture=architecture, encoder=encoder, **SHORT)
    fit(experiment)
    export_run(experiment.run.run_id, output=tmp_path / "out", values=values(experiment))
    check_loads_without_the_run(experiment, tmp_path / "out", monkeypatch)
    session = onnx_session(tmp_path / "out" / "model.onnx")
    batch = frames_batch(experiment.val_split, experiment.info, [0, 1])
    (logits,) = session.run(["logits"], {"image": batch.images.numpy()})
    expected = experiment.logits("image", batch)
    scale = max(1.0, float(expected.abs().max()))
    torch.testing.assert_close(
        torch.from_numpy(logits), expected, rtol=0, atol=networks_export.TOLERANCE * scale
    )
    sizes = [(1, 33, 200), (5, 64, 64)]
    path = tmp_path / "out" / "model.onnx"
    assert onnx_difference(experiment.network.eval(), path, sizes=sizes) <= 1e-4
