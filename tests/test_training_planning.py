"""What will be run is checked before anything is built; a run's id names its computation."""

import pytest
import torch

from labkit.errors import RecordError, SettingsError
from labkit.records import load_run
from labkit.training import planning
from labkit.training.device import choose_precision
from labkit.training.planning import check_settings, find_teacher, plan_run
from tests.runs import finish
from tests.training import SMALL


def plan(folder, role="teacher", **values):
    return plan_run(role, SMALL | {"runs": str(folder)} | values)


@pytest.fixture
def refusal(tmp_path, monkeypatch):
    """(role, values) -> the lines of the refusal, on a machine without CUDA; nothing is written."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)

    def lines(role="teacher", **values):
        before = set(tmp_path.rglob("*"))
        with pytest.raises(SettingsError) as caught:
            plan(tmp_path, role, **values)
        assert set(tmp_path.rglob("*")) == before
        return str(caught.value).splitlines()

    return lines


# the run's id


def test_auto_and_the_same_precision_by_hand_are_one_run_and_two_precisions_two(tmp_path):
    resolved = choose_precision("auto", torch.device("cpu"))
    ids = {p: plan(tmp_path, precision=p).run_id for p in ("auto", "fp32", "bf16")}
    assert ids["auto"] == ids[resolved]
    assert ids["fp32"] != ids["bf16"]


@pytest.mark.parametrize(
    "values", [{"workers": 2}, {"threads": 2}, {"log_every_steps": 7}, {"device": "auto"}]
)
def test_what_does_not_change_the_result_does_not_change_the_id(tmp_path, values):
    assert plan(tmp_path, **values).run_id == plan(tmp_path).run_id


@pytest.mark.parametrize(
    "values", [{"train_size": 9}, {"val_size": 5}, {"seed": 1}, {"class_std": 2.0}]
)
def test_what_changes_the_result_changes_the_id(tmp_path, values):
    assert plan(tmp_path, **values).run_id != plan(tmp_path).run_id


def test_data_and_weights_are_part_of_the_id(tmp_path, monkeypatch):
    first = plan(tmp_path).run_id
    with monkeypatch.context() as changed:
        changed.setattr(planning, "data_fingerprint", lambda settings, memory: "other data")
        assert plan(tmp_path).run_id != first
    with monkeypatch.context() as changed:
        changed.setattr(planning, "encoder_weights_fingerprint", lambda weights: "0" * 64)
        assert plan(tmp_path).run_id != first


def test_memory_keeps_fingerprints_between_calls(tmp_path, monkeypatch):
    memory = {}
    first = plan_run("teacher", SMALL | {"runs": str(tmp_path)}, memory=memory)
    monkeypatch.setattr("labkit.training.preflight.check_data_files", pytest.fail)
    again = plan_run("teacher", SMALL | {"runs": str(tmp_path)}, memory=memory)
    assert again.run_id == first.run_id


# faults


def test_faults_of_settings_device_and_teacher_come_in_one_message(refusal):
    lines = refusal("student", teacher="nobody", batch_size=0, scale_min=0)
    assert any("nobody" in line for line in lines)
    for name in ("batch_size", "scale_min"):
        assert any(line.startswith(f"setting {name}: ") for line in lines)


def test_cuda_is_refused_where_there_is_none(refusal):
    (line,) = refusal(device="cuda")
    assert line.startswith("setting device: got cuda")


def test_a_missing_teacher_is_not_taken_for_a_student_alone(refusal):
    (line,) = refusal("student", teacher="nobody", distillation_codes="fixed")
    assert "nobody" in line


# teachers


@pytest.fixture
def taught_by(tmp_path):
    """(values) -> id of a complete teacher in the test's runs folder."""
    return lambda **values: finish(plan(tmp_path, **values)).run_id


def test_a_teacher_is_named_by_id_or_folder(tmp_path, taught_by):
    name = taught_by()
    for given in (name, str(tmp_path / name)):
        assert find_teacher(given, str(tmp_path)).run_id == name
        assert plan(tmp_path, "student", teacher=given).kind == "of-assisted"


def test_fixed_codes_and_a_teacher_of_several_channels_contradict_each_other(refusal, taught_by):
    name = taught_by(label_channels=2)
    (line,) = refusal("student", teacher=name, distillation_codes="fixed")
    assert line.startswith("setting distillation_codes: got fixed")


def test_a_teacher_trained_with_fixed_codes_reads_no_others(refusal, taught_by, tmp_path):
    name = taught_by(class_codes="fixed")
    (line,) = refusal("student", teacher=name)
    assert line.startswith("setting distillation_codes: got random")
    plan(tmp_path, "student", teacher=name, distillation_codes="fixed")


def test_a_plain_teacher_reads_no_codes(refusal, taught_by):
    (line,) = refusal("student", teacher=taught_by(assisted=False), distillation_codes="fixed")
    assert line.startswith("setting distillation_codes: ")


def test_who_cannot_teach_is_refused_by_name(refusal, taught_by, tmp_path):
    name = taught_by()
    (line,) = refusal("student", teacher=str(tmp_path / name), runs=str(tmp_path / "elsewhere"))
    assert f"setting teacher: {name} is in another runs folder" in line
    student = finish(plan(tmp_path, "student")).run_id
    (line,) = refusal("student", teacher=student)
    assert line == f"setting teacher: {student} is a student; expected a teacher's run."


def test_a_teacher_of_another_data_set_is_refused(tmp_path, taught_by):
    values = SMALL | {"teacher": taught_by(), "runs": str(tmp_path)}
    settings, teacher = check_settings("student", values)
    with pytest.raises(SettingsError, match="was trained on streets; expected camvid"):
        planning.check_teacher(settings.model_copy(update={"dataset": "camvid"}), teacher)


def test_a_teacher_in_training_is_refused_with_the_way_to_finish_it(tmp_path, taught_by):
    name = taught_by()
    load_run(tmp_path / name).mark("running")
    with pytest.raises((RecordError, SettingsError), match="expected complete"):
        plan(tmp_path, "student", teacher=name)
