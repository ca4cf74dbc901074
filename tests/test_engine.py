import dataclasses
import itertools
import json
import math

import pytest
import torch

from labkit import engine, experiments
from labkit.config import SettingsError, StudentSettings, TeacherSettings
from labkit.engine import TrainingError, learning_rate_at
from labkit.records import RecordError, load_run
from labkit.steps import StepOutput, predict_from_image

SMALL = {
    "train_size": 8, "val_size": 4, "height": 32, "width": 64, "crop_height": 32, "crop_width": 64,
    "batch_size": 2, "train_steps": 4, "log_every_steps": 1, "threads": 1, "device": "cpu", "precision": "fp32",
}  # fmt: skip


def teacher(runs, **settings):
    return experiments.prepare(TeacherSettings(runs=str(runs), **(SMALL | settings)))


def student(runs, **settings):
    return experiments.prepare(StudentSettings(runs=str(runs), **(SMALL | settings)))


def weights(experiment):
    return {name: value.clone() for name, value in experiment.network.state_dict().items()}


def same(first, second):
    return all(torch.equal(first[name], second[name]) for name in first)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """An assisted and a plain teacher, complete, in one runs folder."""
    runs = tmp_path_factory.mktemp("runs")
    assisted, plain = teacher(runs), teacher(runs, method="none")
    experiments.fit(assisted)
    experiments.fit(plain)
    return assisted, plain


def test_the_schedule_warms_up_and_decays():
    rates = [learning_rate_at(step, peak=1.0, steps=100, warmup_steps=10, poly_power=0.9) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[9] == pytest.approx(0.91**0.9)
    assert all(later < earlier for earlier, later in itertools.pairwise(rates[9:]))
    assert learning_rate_at(0, peak=2.0, steps=10, warmup_steps=0, poly_power=0.9) == 2.0


@pytest.mark.parametrize(("optimiser", "kind"), [("sgd", torch.optim.SGD), ("adamw", torch.optim.AdamW)])
def test_optimisers_by_name(tmp_path, optimiser, kind):
    experiment = teacher(tmp_path, optimiser=optimiser)
    assert isinstance(engine.make_optimiser(experiment.network, experiment.settings), kind)


def test_cuda_is_refused_in_words_where_there_is_none(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SettingsError, match="Use device=auto or cpu"):
        engine.choose_device("cuda")
    assert engine.choose_device("auto").type == "cpu"


def test_a_run_folder_holds_what_the_house_promises(trained):
    assisted, _ = trained
    folder = assisted.run.folder
    assert {path.name for path in folder.iterdir()} == {
        "config.json", "log.jsonl", "model.safetensors", "metrics.json", "manifest.json", ".lock",
    }  # fmt: skip
    manifest = assisted.run.manifest()
    assert manifest["state"] == "complete"
    assert manifest["images_seen"] == 8
    assert manifest["precision"] == "fp32"
    assert set(assisted.run.metrics()["readings"]) == {"true_label", "foreign_label", "zero_label"}


def test_the_log_has_every_term_and_every_evaluation(trained):
    rows = trained[0].run.log_rows()
    terms = [row for row in rows if "loss" in row]
    assert [row["step"] for row in terms] == [1, 2, 3, 4]
    assert {"ce_a", "ce_b", "consistency"} <= terms[0].keys()
    assert terms[0]["loss"] == pytest.approx(sum(terms[0][name] for name in ("ce_a", "ce_b", "consistency")), rel=1e-5)
    assert [row["step"] for row in rows if "miou" in row] == [1, 2, 3, 4]


def test_the_same_settings_train_the_same_weights_whatever_the_workers(tmp_path, trained):
    again = teacher(tmp_path, workers=2)
    experiments.fit(again)
    assert again.run.run_id == trained[0].run.run_id
    assert same(weights(again), weights(trained[0]))


def test_another_seed_trains_other_weights(tmp_path, trained):
    other = teacher(tmp_path, seed=1, train_steps=1)
    assert not same(weights(other), weights(trained[0]))


class Interrupted(Exception):
    """Stands for a kill."""


def test_an_interrupted_run_goes_on_to_the_same_weights(tmp_path, trained, monkeypatch):
    broken = teacher(tmp_path, checkpoint_every_steps=2)
    real, calls = engine._update, []

    def stop_at_fourth(*args):
        calls.append(1)
        if len(calls) == 4:
            raise Interrupted
        return real(*args)

    monkeypatch.setattr(engine, "_update", stop_at_fourth)
    with pytest.raises(Interrupted):
        experiments.fit(broken)
    assert broken.run.state == "failed"
    monkeypatch.setattr(engine, "_update", real)
    resumed = teacher(tmp_path, checkpoint_every_steps=2)
    experiments.fit(resumed)
    assert same(weights(resumed), weights(trained[0]))
    rows = resumed.run.log_rows()
    assert [row["step"] for row in rows if "loss" in row] == [1, 2, 3, 4]
    assert [row["seconds"] for row in rows] == sorted(row["seconds"] for row in rows)
    assert "error" not in resumed.run.manifest()


def test_a_loss_that_is_not_finite_stops_with_step_and_terms(tmp_path, monkeypatch):
    experiment = teacher(tmp_path)
    bad = torch.tensor(math.nan, requires_grad=True)
    monkeypatch.setattr(experiments, "training_step", lambda _: lambda batch, generator: StepOutput(bad, {"ce_a": bad}))
    with pytest.raises(TrainingError, match=r"step 1: the loss is not finite \(ce_a nan\)"):
        experiments.fit(experiment)
    assert experiment.run.state == "failed"


def test_a_complete_run_is_read_not_trained_again(trained, capsys, monkeypatch):
    monkeypatch.setattr(experiments, "train", lambda *args, **options: pytest.fail("trained again"))
    again = experiments.prepare(trained[0].run.settings)
    assert experiments.fit(again) == trained[0].run.metrics()
    assert "is complete" in capsys.readouterr().out
    assert same(weights(again), weights(trained[0]))


def test_changed_weights_are_refused(tmp_path):
    experiment = student(tmp_path, train_steps=1)
    experiments.fit(experiment)
    path = experiment.run.folder / "model.safetensors"
    flipped = bytearray(path.read_bytes())
    flipped[-1] ^= 1
    path.write_bytes(flipped)
    with pytest.raises(RecordError, match=r"model\.safetensors is not what its manifest recorded"):
        experiments.load_experiment(load_run(experiment.run.folder))


@pytest.mark.parametrize("which", [0, 1])
def test_a_student_learns_from_either_teacher_and_never_changes_it(trained, which):
    taught_by = trained[which]
    runs = taught_by.run.folder.parent
    before = weights(experiments.load_experiment(taught_by.run))
    taught = student(runs, teacher=taught_by.run.run_id)
    experiments.fit(taught)
    assert taught.run.method == ("lad", "kd")[which]
    assert taught.run.manifest()["teacher"]["run_id"] == taught_by.run.run_id
    assert same(before, weights(taught.teacher))
    assert not taught.teacher.network.training
    assert taught.network.label_channels == 0


def test_the_teacher_is_shown_the_students_noising(trained):
    runs = trained[0].run.folder.parent
    fixed = student(runs, teacher=trained[0].run.run_id, distill_weights="fixed", pixel_std=0.5)
    shown = experiments.shown_to_student(fixed)
    assert (shown.weights, shown.pixel_std, shown.label_scale) == ("fixed", 0.5, 3)
    plain = student(runs, teacher=trained[1].run.run_id)
    assert experiments.shown_to_student(plain) is None


def test_a_teacher_of_the_fixed_ramp_trains_on_it_and_is_judged_with_it(tmp_path):
    """Without pixel noise both paths then read the same label: the clean label of the ablation."""
    clean = teacher(tmp_path, weights="fixed", pixel_std=0)
    batch = clean.train_batches[0]
    terms = experiments.training_step(clean)(batch, torch.Generator().manual_seed(0)).terms
    assert terms["ce_a"] == terms["ce_b"]
    assert terms["consistency"].item() == pytest.approx(0, abs=1e-6)
    other = dataclasses.replace(clean, noising=dataclasses.replace(clean.noising, weights="random"))
    assert experiments.training_step(other)(batch, torch.Generator().manual_seed(0)).terms["consistency"] > 1e-6
    experiments.fit(clean)
    again = experiments.load_experiment(load_run(clean.run.folder))
    assert again.noising == clean.noising
    ramp = torch.linspace(-1.1, 1.0, 9)[batch.target.masked_fill(batch.target == 255, 8)][:, None]
    expected = predict_from_image(again.network, batch._replace(images=torch.cat([batch.images, 3 * ramp], 1)))
    torch.testing.assert_close(again.logits("true_label", batch), expected)
    taught = student(tmp_path, teacher=clean.run.run_id, distill_weights="fixed", pixel_std=0)
    assert experiments.shown_to_student(taught) == clean.noising


def test_a_student_is_no_teacher(trained):
    runs = trained[0].run.folder.parent
    alone = student(runs)
    experiments.fit(alone)
    with pytest.raises(ValueError, match="is a student; expected a teacher's run"):
        student(runs, teacher=alone.run.run_id)


def test_a_teacher_that_ignores_its_label_is_told_so(capsys):
    miou = {"true_label": 50.0, "foreign_label": 49.8, "zero_label": 50.1}
    engine._told(miou, step=3, steps=4)
    assert "ignores its label" in capsys.readouterr().out
    engine._told(miou | {"foreign_label": 40.0}, step=3, steps=4)
    assert "ignores its label" not in capsys.readouterr().out


def test_evaluation_is_one_confusion_matrix_over_the_set(trained):
    experiment = trained[1]
    by_frame = experiment.confusions(experiment.val_split)["image"]
    total = sum(by_frame)
    assert len(by_frame) == 4
    hit = total.diagonal().double()
    union = (total.sum(0) + total.sum(1)).double() - hit
    expected = 100 * (hit / union)[union > 0].mean()
    assert experiment.scores(experiment.val_split)["image"].miou == pytest.approx(expected.item())


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("optimiser", ["sgd", "adamw"])
def test_every_precision_and_optimiser_trains(tmp_path, precision, optimiser):
    experiment = teacher(tmp_path, precision=precision, optimiser=optimiser, train_steps=2)
    metrics = experiments.fit(experiment)
    assert all(math.isfinite(values["miou"]) for values in metrics["readings"].values())
    assert json.loads((experiment.run.folder / "metrics.json").read_text()) == metrics


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device here")
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_teacher_and_student_train_on_a_gpu_by_the_same_path(tmp_path, precision):
    taught_by = teacher(tmp_path, device="cuda", precision=precision)
    experiments.fit(taught_by)
    taught = student(tmp_path, device="cuda", precision=precision, teacher=taught_by.run.run_id)
    metrics = experiments.fit(taught)
    assert taught.run.manifest()["device"] == "cuda"
    assert math.isfinite(metrics["readings"]["image"]["miou"])
