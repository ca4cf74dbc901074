"""What will be run is checked before anything is built: every fault of every kind in one message, and no file written."""

import re

import pytest
import torch

from labkit.config import AnalysisSettings, NoisingSettings, SettingsError, StudentSettings, TeacherSettings
from labkit.datasets import dataset_recipe
from labkit.planning import checked, find_teacher, look_through, planned_run
from labkit.records import RecordError
from tests.test_records import finished, planned


@pytest.fixture
def said(tmp_path, monkeypatch):
    """(kind, values) -> the lines of the refusal, on a machine without cuda; no file was written."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)

    def lines(kind=TeacherSettings, *, taught_by=None, **values) -> list[str]:
        before = set(tmp_path.rglob("*"))
        with pytest.raises(SettingsError) as caught:
            checked(kind, {"runs": str(tmp_path)} | values, taught_by=taught_by)
        assert set(tmp_path.rglob("*")) == before
        return str(caught.value).splitlines()

    return lines


# each kind of fault by itself


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"lerning_rate": 1}, "setting lerning_rate: no such setting of TeacherSettings; did you mean learning_rate?"),
        ({"height": "180px"}, "setting height: got '180px'; expected .*pixels.*Give the number alone"),
        ({"seed": -1}, "setting seed: got -1; expected .*greater than or equal to 0"),
        ({"learning_rate": 0}, "setting learning_rate: got 0.0; expected .*greater than 0"),
        ({"train_steps": 0}, "setting train_steps: got 0; expected at least 1, or -1 for the data set's recipe."),
        ({"precision": "fp16"}, "setting precision: got 'fp16'; expected one of auto, fp32, bf16"),
        ({"dataset": "cityscapes"}, "setting dataset: got 'cityscapes'; expected one of camvid, streets."),
        ({"dataset": "camvid", "recipe": "papers"}, "setting recipe: got 'papers'; camvid has default, paper."),
        ({"architecture": "unett"}, "setting architecture: got 'unett'; expected one of unet, fpn, pspnet, deeplabv3."),
        ({"encoder": "resnet19"}, "setting encoder: got 'resnet19'; expected an encoder of smp, or tu-<timm name>; did you mean resnet"),
        ({"encoder": "tu-resnet19"}, "setting encoder: got 'tu-resnet19'; .*did you mean "),
        (
            {"encoder_weights": "/none.pth"},
            "setting encoder_weights: got '/none.pth'; expected none, imagenet or a file that exists.",
        ),
        ({"encoder_weights": "imagenett"}, "setting encoder_weights: got 'imagenett'; expected none, imagenet or a file that exists."),
        ({"device": "cuda"}, "setting device: got cuda; this machine has none that torch can use. Use device=auto or cpu."),
        ({"scale_min": 2, "scale_max": 1.5}, "setting scale_min: got 2.0; expected at most scale_max, 1.5."),
        ({"crop_height": 9999}, r"setting crop_height: got 9999 pixels; expected at most \d+, the image's height at the largest zoom."),
        ({"momentum": 0.5, "optimiser": "adamw"}, "setting momentum: got 0.5, which means nothing with optimiser=adamw. Leave it out."),
        ({"method": "none", "class_std": 2}, "setting class_std: got 2.0, which means nothing here: a plain teacher reads no label; .*"),
        ({"method": "none", "weights": "fixed"}, "setting weights: got 'fixed', which means nothing here: .*"),
        ({"weights": "fixed", "class_std": 2}, "setting class_std: got 2.0, which means nothing here: the fixed ramp is not drawn; .*"),
        ({"weights": "fixed", "label_channels": 2}, "setting label_channels: more than 1 with weights=fixed; the ramp is one code. .*"),
        ({"weights": "ramp"}, "setting weights: got 'ramp'; expected one of random, fixed"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_one_fault_is_one_line(said, values, words):
    (line,) = said(**values)
    assert re.match(words, line)


def test_a_student_s_settings_are_judged_by_the_teacher_it_will_have(said, tmp_path):
    shown = {"distill_weights": "fixed", "distillation_weight": 7}
    checked(StudentSettings, shown, taught_by="lad")
    (line,) = said(StudentSettings, taught_by="none", **shown)
    assert line.startswith("setting distill_weights: got 'fixed', which means nothing here: a plain teacher is shown no label")
    assert len(said(StudentSettings, **shown)) == 2


@pytest.mark.parametrize(
    ("kind", "values", "words"),
    [
        (AnalysisSettings, {"category": "boat"}, "setting category: got 'boat'; streets has road, "),
        (AnalysisSettings, {"catgory": "car"}, "setting catgory: no such setting of AnalysisSettings; did you mean category?"),
        (AnalysisSettings, {"frames": 13}, "setting frames: got 13; expected "),
        (AnalysisSettings, {"device": "cuda"}, "setting device: got cuda; this machine has none"),
        (NoisingSettings, {"label_channels": 2, "weights": "fixed"}, "setting label_channels: "),
        (NoisingSettings, {"recipe": "fast"}, "setting recipe: got 'fast'; streets has default."),
    ],
)
def test_the_other_notebooks_settings_are_checked_too(said, kind, values, words):
    (line,) = said(kind, **values)
    assert line.startswith(words)


# all kinds in one message

MANY = {
    "lerning_rate": 1, "height": "180px", "seed": -1, "architecture": "unett", "encoder": "resnet19", "encoder_weights": "/none.pth",
    "device": "cuda", "scale_min": 3, "scale_max": 2, "crop_width": 9999, "momentum": 0.1, "batch_size": 0,
    "method": "none", "class_std": 2,
}  # fmt: skip
NAMED = MANY.keys() - {"scale_max", "method"}


def test_faults_of_every_kind_come_in_one_message(said):
    lines = said(**MANY)
    assert {line.split(":")[0] for line in lines} == {f"setting {name}" for name in NAMED}
    assert len(lines) == len(NAMED)


@pytest.mark.parametrize("unknown", ["dataset", "recipe"])
def test_an_unknown_data_set_or_recipe_hides_no_fault_that_can_be_seen_without_it(said, unknown):
    names = {line.split(":")[0] for line in said(**MANY | {unknown: "nothing"})}
    expected = {unknown, "lerning_rate", "height", "seed", "architecture", "encoder", "encoder_weights", "device"}
    assert names >= {f"setting {name}" for name in expected}


def test_a_missing_teacher_is_told_with_the_other_faults(said):
    lines = said(StudentSettings, teacher="nobody", encoder="resnet19", distillation_weight="much")
    assert len(lines) == 3
    assert any(line.startswith("run 'nobody': not found in ") and line.endswith("complete runs there: none.") for line in lines)


def test_a_missing_teacher_is_not_taken_for_a_student_alone(said):
    (line,) = said(StudentSettings, teacher="nobody", distillation_weight=7)
    assert "not found" in line


# what passes


def test_sound_settings_come_back_as_given(tmp_path):
    (tmp_path / "weights.pth").touch()
    values = {
        "seed": "3",
        "height": 128,
        "device": "cpu",
        "encoder_weights": str(tmp_path / "weights.pth"),
        "momentum": 0.5,
        "optimiser": "sgd",
    }
    settings = checked(TeacherSettings, values)
    assert settings == TeacherSettings(**values)
    assert settings.batch_size == -1


@pytest.mark.parametrize("kind", [TeacherSettings, StudentSettings, NoisingSettings, AnalysisSettings])
def test_no_settings_at_all_are_sound(kind):
    assert checked(kind, {}) == kind()


@pytest.mark.parametrize("dataset", ["streets", "camvid"])
@pytest.mark.parametrize("kind", [TeacherSettings, StudentSettings])
def test_the_resolved_settings_of_a_run_make_the_same_run(tmp_path, kind, dataset):
    run = planned_run(kind(dataset=dataset, runs=str(tmp_path), learning_rate=0.5))
    again = planned_run(checked(kind, run.settings.model_dump()))
    assert again == run
    assert run.settings.batch_size == dataset_recipe(dataset, "default").batch_size
    assert list(tmp_path.iterdir()) == []


# teachers


@pytest.fixture
def teacher(tmp_path):
    return lambda **settings: finished(planned(tmp_path, **settings)).run_id


def test_a_teacher_is_found_by_id_and_by_folder(tmp_path, teacher):
    name = teacher()
    for given in (name, str(tmp_path / name)):
        assert find_teacher(StudentSettings(teacher=given, runs=str(tmp_path))).run_id == name
        assert checked(StudentSettings, {"teacher": given, "runs": str(tmp_path), "distill_weights": "fixed"}).teacher == given


def test_the_ramp_and_a_teacher_of_several_codes_contradict_each_other(said, teacher):
    (line,) = said(StudentSettings, teacher=teacher(label_channels=2), distill_weights="fixed")
    assert line == "setting distill_weights: got fixed; the ramp is one code, and the teacher reads several. Use random."


def test_a_teacher_that_has_only_seen_the_ramp_is_shown_nothing_else(said, teacher, tmp_path):
    name = teacher(weights="fixed")
    (line,) = said(StudentSettings, teacher=name)
    assert line == (
        "setting distill_weights: got random; the teacher was trained with weights=fixed and has only ever seen the ramp. Use fixed."
    )
    with pytest.raises(SettingsError, match="only ever seen the ramp"):
        planned_run(StudentSettings(teacher=name, runs=str(tmp_path)))
    assert planned_run(StudentSettings(teacher=name, runs=str(tmp_path), distill_weights="fixed")).teacher.run_id == name


def test_faults_of_the_ramp_come_with_the_others(said):
    lines = said(weights="fixed", label_channels=2, class_std=2, encoder="resnet19", seed=-1)
    assert {line.split(":")[0] for line in lines} == {f"setting {name}" for name in ("label_channels", "class_std", "encoder", "seed")}
    assert len(lines) == 4


def test_a_plain_teacher_is_shown_nothing(said, teacher):
    lines = said(StudentSettings, teacher=teacher(method="none"), distill_weights="fixed", pixel_std=0.5)
    assert [line.split(":")[0] for line in lines] == ["setting distill_weights", "setting pixel_std"]


def test_who_cannot_teach_is_refused_by_name(said, tmp_path, teacher):
    name = teacher()
    (line,) = said(StudentSettings, teacher=name, dataset="camvid")
    assert line == f"setting teacher: {name} was trained on streets; expected camvid."
    (line,) = said(StudentSettings, teacher=str(tmp_path / name), runs=str(tmp_path / "elsewhere"))
    assert f"setting teacher: {name} is in another runs folder; expected it beside the student's. Copy it." in line
    student = finished(planned(tmp_path, student=True)).run_id
    (line,) = said(StudentSettings, teacher=student)
    assert line == f"setting teacher: {student} is a student; expected a teacher's run."


def test_a_teacher_in_training_is_refused_with_the_way_to_finish_it(tmp_path, teacher):
    name = teacher()
    find_teacher(StudentSettings(teacher=name, runs=str(tmp_path))).mark("running")
    with pytest.raises(RecordError, match=r"its state is running; expected complete\. Run the same command again to finish it"):
        planned_run(StudentSettings(teacher=name, runs=str(tmp_path)))


# files


def test_what_was_found_sound_is_kept_beside_the_runs(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr("labkit.planning.preflight", lambda name, split, *, root, cache: seen.append((name, split, root, cache)))
    look_through(TeacherSettings(dataset="camvid", data_root="/data", runs=str(tmp_path)), "val")
    assert seen == [("camvid", "val", "/data", tmp_path / ".preflight")]
