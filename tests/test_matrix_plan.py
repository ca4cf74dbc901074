"""From a matrix to its runs: which there are, under which keys, in which rows, and what a change touches."""

import shlex

import pytest
import yaml

from labkit.config import SettingsError, StudentSettings, TeacherSettings
from labkit.datasets import dataset_recipe
from labkit.matrix import plan, read_matrix
from labkit.planning import planned_run

BASE = {
    "title": "t", "seeds": [0],
    "settings": {"train_size": 8, "val_size": 4, "batch_size": 2, "teacher.train_steps": 6, "student.train_steps": 4},
    "teachers": {"plain": {"method": "none"}, "assisted": {"method": "lad"}},
    "methods": {
        "alone": {}, "as long": {"as_long_as": "assisted"},
        "of plain": {"teacher": "plain"}, "of assisted": {"teacher": "assisted", "distance": "kd"},
    },
}  # fmt: skip
KINDS = {"teacher": TeacherSettings, "student": StudentSettings}
SMALLEST, FPN, RESNET = "unet/tu-mobilenetv3_small_100", "fpn/tu-mobilenetv3_small_100", "unet/resnet18"


@pytest.fixture
def planned(tmp_path):
    """(changes) -> the plan of BASE with them."""

    def make(**changes):
        path = tmp_path / "m.yaml"
        path.write_text(yaml.safe_dump(BASE | {"runs": str(tmp_path)} | changes, sort_keys=False))
        return plan(read_matrix(path))

    return make


@pytest.fixture
def said(planned):
    """(changes) -> lines of the refusal."""

    def lines(**changes) -> list[str]:
        with pytest.raises(SettingsError) as caught:
            planned(**changes)
        return str(caught.value).splitlines()

    return lines


def by_title(found):
    return {job.title: job for job in found.jobs}


def keys(found):
    return {title: job.key for title, job in by_title(found).items()}


def changed(before, after):
    """Titles whose key is another, or that are new or gone."""
    before, after = keys(before), keys(after)
    return {title for title in before.keys() | after.keys() if before.get(title) != after.get(title)}


def rows(lines, *names):
    return [tuple(line.labels[name] for name in names) for line in lines]


# jobs and keys


def test_every_method_and_teacher_is_a_job_and_teachers_come_first(planned):
    names = ("teacher plain", "teacher assisted", "alone", "as long", "of plain", "of assisted")
    assert [job.title for job in planned(seeds=[3, 1]).jobs] == [f"{name} s{seed}" for seed in (3, 1) for name in names]


def test_a_key_is_the_run_id_where_that_is_known_before_training(planned):
    found = by_title(planned())
    for title in ("teacher plain s0", "teacher assisted s0", "alone s0", "as long s0"):
        job = found[title]
        run = planned_run(KINDS[job.role](**job.settings))
        assert (job.key, job.resolved, job.settings) == (run.run_id, run.settings, job.values)


def test_a_student_s_key_names_how_it_is_taught_and_by_whom(planned):
    found = by_title(planned())
    taught = found["of assisted s0"]
    assert taught.key.startswith("streets-student-lad-unet-tu-mobilenetv3_small_100-s0-")
    assert found["of plain s0"].key.startswith("streets-student-kd-unet-tu-mobilenetv3_small_100-s0-")
    assert taught.settings == taught.values | {"teacher": found["teacher assisted s0"].key}
    assert taught.run() is None
    methods = [found[f"{name} s0"].method for name in ("teacher plain", "teacher assisted", "alone", "of plain", "of assisted")]
    assert methods == ["none", "lad", "none", "kd", "lad"]


def test_two_noisings_a_step_are_twice_the_work(planned):
    found = by_title(planned())
    assert {title: job.work for title, job in found.items()} == {
        "teacher plain s0": 6, "teacher assisted s0": 12, "alone s0": 4, "as long s0": 10, "of plain s0": 4, "of assisted s0": 4,
    }  # fmt: skip


def test_the_compute_matched_twin_trains_for_teacher_and_student(planned):
    assert by_title(planned())["as long s0"].values["train_steps"] == 6 + 4
    own = {"teachers": {"assisted": {"train_steps": 11}}, "methods": {"as long": {"as_long_as": "assisted"}}}
    assert by_title(planned(**own))["as long s0"].resolved.train_steps == 11 + 4
    assert (
        by_title(planned(settings={}, **own))["as long s0"].resolved.train_steps == 11 + dataset_recipe("streets", "default").student_steps
    )


def test_the_same_computation_under_two_names_is_one_job_on_two_lines(planned):
    found = planned(
        teachers={"assisted": {"method": "lad"}, "again": {"pixel_std": 0.03}},
        methods={"a": {"teacher": "assisted"}, "b": {"teacher": "again", "train_steps": 4}},
        student_networks=["recipe", SMALLEST],
    )
    assert [job.title for job in found.jobs] == ["teacher assisted s0", "a s0"]
    assert rows(found.teachers, "method") == [("assisted",), ("again",)]
    assert rows(found.students, "method") == [("a",), ("b",)]
    assert found.students[0].jobs == found.students[1].jobs == {0: found.jobs[1]}


def test_a_teacher_nobody_learns_from_is_trained_and_one_nobody_names_is_not(planned):
    assert [job.title for job in planned(methods={}).jobs] == ["teacher plain s0", "teacher assisted s0"]
    assert [job.title for job in planned(teachers={}, methods={"alone": {}}).jobs] == ["alone s0"]


def test_a_command_is_one_a_shell_takes(planned):
    job = by_title(planned(settings={"data_root": "my data", "teacher.train_steps": 6}))["of assisted s0"]
    words = shlex.split(job.command)
    assert words[:3] == ["labkit", "run", "student"]
    assert words[3::2] == ["--set"] * len(job.settings)
    assert dict(word.split("=", 1) for word in words[4::2]) == {name: str(value) for name, value in job.settings.items()}
    assert job.settings["data_root"] == "my data"


# rows


def test_rows_of_a_product(planned):
    noise = {"class_std": [0.3, 1], "pixel_std": [0, 0.3]}
    found = planned(teacher_networks=["recipe", FPN], student_networks=["recipe", RESNET], noise=noise, seeds=[0, 1])
    cells = [f"class_std={c}, pixel_std={p}" for c in (0.3, 1) for p in (0, 0.3)]
    teachers = rows(found.teachers, "teacher_network", "noise", "method")
    assert len(teachers) == len(set(teachers)) == 2 * (1 + 4)
    for network in (SMALLEST, FPN):
        assert {(network, "", "plain"), *((network, cell, "assisted") for cell in cells)} <= set(teachers)
    assert all(line.labels["student_network"] == "" and not line.baseline for line in found.teachers)
    students = rows(found.students, "student_network", "teacher_network", "noise", "method")
    assert len(students) == len(set(students)) == 2 * (1 + 1 + 2 * (1 + 4))
    for network in (SMALLEST, RESNET):
        assert (network, "", "", "alone") in students
        assert (network, "", "", "as long") in students
        for taught in (SMALLEST, FPN):
            assert (network, taught, "", "of plain") in students
            assert {(network, taught, cell, "of assisted") for cell in cells} <= set(students)
    assert {line.labels["method"] for line in found.students if line.baseline} == {"alone", "as long"}
    assert all(list(line.jobs) == [0, 1] for line in (*found.teachers, *found.students))
    assert len(found.jobs) == 2 * (len(found.teachers) + len(found.students))


def test_a_title_says_what_the_matrix_varies(planned):
    titles = by_title(planned(teacher_networks=["recipe", FPN], noise={"pixel_std": [0, 0.3]}, student_networks=[RESNET])).keys()
    assert {f"teacher assisted ({FPN}, pixel_std=0.3) s0", f"teacher plain ({FPN}) s0"} <= titles
    assert {f"of assisted ({FPN}, pixel_std=0) s0", "alone s0"} <= titles  # every student has the same network
    assert len(titles) == 2 * (1 + 2) + 2 + 2 + 4


def test_data_sets_are_rows_and_in_titles(planned):
    found = planned(datasets=["streets", "camvid"], settings={}, methods={"alone": {}})
    assert rows(found.students, "dataset", "method") == [("streets", "alone"), ("camvid", "alone")]
    assert {"alone (streets) s0", "alone (camvid) s0", "teacher plain (camvid) s0"} <= by_title(found).keys()


def test_noise_a_teacher_sets_itself_or_does_not_draw_is_not_told_of_it(planned):
    teachers = {"loud": {"pixel_std": 0.5}, "ramp": {"weights": "fixed"}, "plain": {"method": "none"}, "all": {}}
    methods = {name: {"teacher": name} for name in ("loud", "plain", "all")} | {"ramp": {"teacher": "ramp", "distill_weights": "fixed"}}
    found = planned(teachers=teachers, methods=methods, noise={"class_std": [0.3, 1], "pixel_std": [0.5, 0]})
    noises = {
        "loud": {"class_std=0.3", "class_std=1"},
        "ramp": {"pixel_std=0", "pixel_std=0.5"},
        "plain": {""},
        "all": {f"class_std={c}, pixel_std={p}" for c in (0.3, 1) for p in (0, 0.5)},
    }
    for lines in (found.teachers, found.students):
        told = {name: [line.labels["noise"] for line in lines if line.labels["method"] == name] for name in teachers}
        assert {name: set(values) for name, values in told.items()} == noises
        assert all(len(values) == len(set(values)) for values in told.values())
    loud = [line for line in found.teachers if line.labels["method"] == "loud"]
    assert {line.jobs[0].resolved.pixel_std for line in loud} == {0.5}
    everything = {line.labels["noise"]: line.jobs[0] for line in found.teachers if line.labels["method"] == "all"}
    assert everything["class_std=1, pixel_std=0.5"].key == loud[1].jobs[0].key  # one run, on both lines
    assert not any("ramp (class_std" in job.title or "plain (" in job.title for job in found.jobs)


# what a change touches


def test_another_seed_adds_its_own_jobs_alone(planned):
    before, after = planned(seeds=[0, 1]), planned(seeds=[0, 1, 2])
    assert changed(before, after) == {title.replace("s0", "s2") for title in keys(planned())}
    assert changed(before, planned(seeds=[1, 0])) == set()


def test_a_setting_of_one_method_touches_that_method_alone(planned):
    methods = BASE["methods"] | {"of plain": {"teacher": "plain", "learning_rate": 0.5}}
    assert changed(planned(), planned(methods=methods)) == {"of plain s0"}


def test_a_setting_of_a_teacher_touches_it_and_its_students_alone(planned):
    teachers = BASE["teachers"] | {"plain": {"method": "none", "learning_rate": 0.5}}
    assert changed(planned(), planned(teachers=teachers)) == {"teacher plain s0", "of plain s0"}
    teachers = BASE["teachers"] | {"assisted": {"method": "lad", "train_steps": 7}}
    assert changed(planned(), planned(teachers=teachers)) == {"teacher assisted s0", "of assisted s0", "as long s0"}


def test_what_changes_no_result_touches_nothing(planned):
    local = {"threads": 1, "workers": 2, "device": "cpu", "checkpoint_every_steps": 3, "data_root": "/data", "log_every_steps": 1}
    told = {"title": "other", "figures": "figures/x", "compare": [["alone", "as long"]]}
    assert changed(planned(), planned(settings=BASE["settings"] | local, **told)) == set()
    recipe_s_own = {"learning_rate": 2e-3, "class_std": 1.0}
    assert changed(planned(), planned(settings=BASE["settings"] | recipe_s_own)) == set()


def test_shared_settings_go_behind_a_role_s_and_those_behind_one_s_own(planned):
    settings = {"batch_size": 2, "student.batch_size": 3, "learning_rate": 0.1, "consistency_weight": 0.5}
    methods, teachers = {"alone": {}, "own": {"batch_size": 4}}, {"assisted": {"learning_rate": 0.2}}
    found = by_title(planned(settings=settings, methods=methods, teachers=teachers))
    values = {title: (job.resolved.batch_size, job.resolved.learning_rate) for title, job in found.items()}
    assert values == {"teacher assisted s0": (2, 0.2), "alone s0": (3, 0.1), "own s0": (4, 0.1)}
    assert found["teacher assisted s0"].resolved.consistency_weight == 0.5


def test_shared_settings_reach_only_whom_they_concern(planned):
    shared = {"label_scale": 2, "distillation_weight": 5, "distill_weights": "fixed", "pixel_std": 0.1}
    found = by_title(planned(settings=shared))
    given = {title: sorted(shared.keys() & job.values.keys()) for title, job in found.items()}
    assert given == {
        "teacher plain s0": [], "teacher assisted s0": ["label_scale", "pixel_std"], "alone s0": [], "as long s0": [],
        "of plain s0": ["distillation_weight"], "of assisted s0": ["distill_weights", "distillation_weight", "pixel_std"],
    }  # fmt: skip
    (ramp,) = planned(settings={"class_std": 2}, teachers={"ramp": {"weights": "fixed"}}, methods={}).jobs
    assert "class_std" not in ramp.values


# faults


def test_faults_are_told_with_the_name_they_belong_to_and_all_at_once(said):
    found = said(
        seeds=[0, 1],
        teachers={"plain": {"method": "none", "class_std": 2}, "assisted": {"learning_rate": -5}},
        methods={
            "alone": {"distillation_weight": 5},
            "of plain": {"teacher": "plain", "distance": "cvd"},
            "of assisted": {"teacher": "assisted", "batch_size": 0},
        },
    )
    assert [line.partition(" got")[0] for line in found] == [
        "matrix m.yaml, teacher plain: setting class_std:", "matrix m.yaml, teacher assisted: setting learning_rate:",
        "matrix m.yaml, method alone: setting distillation_weight:", "matrix m.yaml, method of plain: setting distance:",
        "matrix m.yaml, method of assisted: setting batch_size:",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"datasets": ["nowhere"]}, "setting dataset: got 'nowhere'; expected one of camvid, streets."),
        ({"teacher_networks": ["unett/resnet18"]}, "setting architecture: got 'unett'; expected one of unet, fpn, pspnet, deeplabv3."),
        ({"noise": {"class_std": [1, -1]}}, "setting class_std: got -1; expected"),
        ({"settings": {"height": "180px"}}, "setting height: got '180px'; expected"),
        ({"seeds": [2**31]}, "setting seed: got 2147483648; expected at most 2147483647"),
        ({"settings": {"teacher.train_steps": 0}}, "setting train_steps: got 0; expected at least 1"),
    ],
)
def test_values_are_checked_before_anything_is_planned(said, changes, words):
    found = said(teachers={"assisted": {}}, methods={}, **changes)
    assert len(found) == 1
    assert found[0].startswith(f"matrix m.yaml, teacher assisted: {words}")


@pytest.mark.parametrize(
    ("teacher", "method", "words"),
    [
        ({"weights": "fixed"}, {}, "got random; the teacher was trained with weights=fixed"),
        ({"label_channels": 2}, {"distill_weights": "fixed"}, "got fixed; the ramp is one code, and the teacher reads several"),
    ],
)
def test_class_weights_a_teacher_cannot_be_shown_are_refused(said, planned, teacher, method, words):
    teachers = {"assisted": teacher}
    (line,) = said(teachers=teachers, methods={"taught": {"teacher": "assisted"} | method})
    assert line.startswith(f"matrix m.yaml, method taught: setting distill_weights: {words}")
    other = "random" if method else "fixed"
    planned(teachers=teachers, methods={"taught": {"teacher": "assisted", "distill_weights": other}})


def test_planning_writes_nothing(planned, tmp_path):
    planned(seeds=[0, 1])
    assert [path.name for path in tmp_path.iterdir()] == ["m.yaml"]
