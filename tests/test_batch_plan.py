"""From a matrix to its runs: which there are, under which keys, and what a change touches."""

import shlex

import pytest
import yaml

from labkit.batch.matrix import read_matrix
from labkit.batch.plan import plan
from labkit.errors import SettingsError
from labkit.settings.resolve import make_settings

BASE = {
    "title": "t", "seeds": [0],
    "settings": {
        "train_size": 8, "val_size": 4, "batch_size": 2, "precision": "fp32",
        "teacher.train_steps": 6, "student.train_steps": 4,
    },
    "teachers": {"plain": {"assisted": False}, "assisted": {}},
    "methods": {
        "alone": {}, "as long": {"as_long_as": "assisted"}, "of plain": {"teacher": "plain"},
        "of assisted": {"teacher": "assisted", "distillation": "kd:1"},
    },
}  # fmt: skip
SMALLEST, FPN = "unet/tu-mobilenetv3_small_100", "fpn/tu-mobilenetv3_small_100"
RESNET = "unet/resnet18"


@pytest.fixture
def planned(tmp_path):
    """(changes) -> the plan of BASE with them."""

    def make(**changes):
        path = tmp_path / "m.yaml"
        values = BASE | {"runs": str(tmp_path)} | changes
        path.write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
        return plan(read_matrix(path))

    return make


@pytest.fixture
def faults(planned):
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
    titles = before.keys() | after.keys()
    return {title for title in titles if before.get(title) != after.get(title)}


def rows(lines, *names):
    return [tuple(line.labels[name] for name in names) for line in lines]


def test_every_method_and_teacher_is_a_job_and_teachers_come_first(planned):
    names = ("teacher plain", "teacher assisted", "alone", "as long", "of plain", "of assisted")
    titles = [job.title for job in planned(seeds=[3, 1]).jobs]
    assert titles == [f"{name} s{seed}" for seed in (3, 1) for name in names]


def test_a_job_s_settings_are_those_of_its_command(planned):
    for job in planned(seeds=[1]).jobs:
        words = shlex.split(job.command("a-teacher"))
        assert words[:3] == ["labkit", "train", job.role]
        values = dict(word.split("=", 1) for word in words[4::2])
        final = make_settings(job.role, values, taught_by=job.taught_by)
        local = {"teacher"} if job.teacher else set()
        assert final.model_dump(exclude=local) == job.resolved.model_dump(exclude=local)
        assert ("teacher" in values) == (job.teacher is not None)


def test_two_noisings_a_step_are_twice_the_work(planned):
    found = by_title(planned())
    assert {title: job.work for title, job in found.items()} == {
        "teacher plain s0": 6, "teacher assisted s0": 12, "alone s0": 4, "as long s0": 10,
        "of plain s0": 4, "of assisted s0": 4,
    }  # fmt: skip


def test_the_compute_matched_student_trains_for_teacher_and_student(planned):
    assert by_title(planned())["as long s0"].values["train_steps"] == 6 + 4
    teachers, methods = {"t": {"train_steps": 11}}, {"as long": {"as_long_as": "t"}}
    longer = by_title(planned(teachers=teachers, methods=methods))["as long s0"]
    assert longer.resolved.train_steps == 11 + 4


def test_the_same_computation_under_two_names_is_one_job_on_two_lines(planned):
    found = planned(
        teachers={"assisted": {}, "again": {"pixel_std": 0.03}},
        methods={"a": {"teacher": "assisted"}, "b": {"teacher": "again", "train_steps": 4}},
        student_networks=["recipe", SMALLEST],
    )
    assert [job.title for job in found.jobs] == ["teacher assisted s0", "a s0"]
    assert rows(found.teachers, "method") == [("assisted",), ("again",)]
    assert rows(found.students, "method") == [("a",), ("b",)]
    assert found.students[0].jobs == found.students[1].jobs == {0: found.jobs[1]}


def test_rows_of_a_product(planned):
    noise = {"class_std": [0.3, 1], "pixel_std": [0, 0.3]}
    networks = {"teacher_networks": ["recipe", FPN], "student_networks": ["recipe", RESNET]}
    found = planned(noise=noise, seeds=[0, 1], **networks)
    cells = [f"class_std={c}, pixel_std={p}" for c in (0.3, 1) for p in (0, 0.3)]
    teachers = rows(found.teachers, "teacher_network", "noise", "method")
    assert len(teachers) == len(set(teachers)) == 2 * (1 + 4)
    for network in (SMALLEST, FPN):
        assisted = {(network, cell, "assisted") for cell in cells}
        assert {(network, "", "plain"), *assisted} <= set(teachers)
    students = rows(found.students, "student_network", "teacher_network", "noise", "method")
    assert len(students) == len(set(students)) == 2 * (1 + 1 + 2 * (1 + 4))
    assert {line.labels["method"] for line in found.students if line.baseline} == {
        "alone",
        "as long",
    }
    assert all(list(line.jobs) == [0, 1] for line in (*found.teachers, *found.students))
    assert len(found.jobs) == 2 * (len(found.teachers) + len(found.students))


def test_a_title_names_what_the_matrix_varies(planned):
    noise = {"pixel_std": [0, 0.3]}
    found = planned(teacher_networks=["recipe", FPN], noise=noise, student_networks=[RESNET])
    titles = by_title(found).keys()
    assert {f"teacher assisted ({FPN}, pixel_std=0.3) s0", f"teacher plain ({FPN}) s0"} <= titles
    assert {f"of assisted ({FPN}, pixel_std=0) s0", "alone s0"} <= titles


def test_training_sizes_are_an_axis_of_teachers_and_students(planned):
    sizes = {20: {}, 40: {"train_steps": 7}}
    found = planned(train_sizes=sizes, settings={"val_size": 4, "precision": "fp32"})
    assert {"teacher plain (20 images) s0", "of assisted (40 images) s0"} <= by_title(found).keys()
    for line in (*found.teachers, *found.students):
        sizes = {job.resolved.train_size for job in line.jobs.values()}
        sizes |= {job.teacher.resolved.train_size for job in line.jobs.values() if job.teacher}
        assert {str(size) for size in sizes} == {line.labels["train_size"]}
    assert by_title(found)["of assisted (40 images) s0"].resolved.train_steps == 7
    assert by_title(found)["as long (40 images) s0"].resolved.train_steps == 7 + 7


def test_training_sizes_beside_a_training_size_are_refused(planned):
    with pytest.raises(SettingsError, match="train_size: given beside train_sizes"):
        planned(train_sizes={20: {}, 40: {}})
    with pytest.raises(SettingsError, match="train_size: given beside train_sizes"):
        planned(train_sizes={20: {"train_size": 30}}, settings={"val_size": 4})


def test_noise_that_does_not_reach_a_teacher_is_not_in_its_row(planned):
    teachers = {
        "loud": {"pixel_std": 0.5}, "ramp": {"class_codes": "fixed"}, "plain": {"assisted": False},
        "all": {},
    }  # fmt: skip
    noise = {"class_std": [0.3, 1], "pixel_std": [0.5, 0]}
    found = planned(teachers=teachers, methods={}, noise=noise)
    noises = {name: set() for name in teachers}
    for line in found.teachers:
        noises[line.labels["method"]].add(line.labels["noise"])
    assert noises == {
        "loud": {"class_std=0.3", "class_std=1"},
        "ramp": {"pixel_std=0", "pixel_std=0.5"},
        "plain": {""},
        "all": {f"class_std={c}, pixel_std={p}" for c in (0.3, 1) for p in (0, 0.5)},
    }


def test_another_seed_adds_its_own_jobs_alone(planned):
    before, after = planned(seeds=[0, 1]), planned(seeds=[0, 1, 2])
    assert changed(before, after) == {title.replace("s0", "s2") for title in keys(planned())}
    assert changed(before, planned(seeds=[1, 0])) == set()


def test_a_setting_touches_its_own_runs_and_those_taught_by_them(planned):
    methods = BASE["methods"] | {"of plain": {"teacher": "plain", "learning_rate": 0.5}}
    assert changed(planned(), planned(methods=methods)) == {"of plain s0"}
    teachers = BASE["teachers"] | {"plain": {"assisted": False, "learning_rate": 0.5}}
    assert changed(planned(), planned(teachers=teachers)) == {"teacher plain s0", "of plain s0"}


def test_settings_that_change_no_result_touch_nothing(planned):
    local = {"threads": 1, "workers": 2, "checkpoint_every_steps": 3, "log_every_steps": 1}
    other = {"title": "other", "figures": "figures/x", "compare": [["alone", "as long"]]}
    assert changed(planned(), planned(settings=BASE["settings"] | local, **other)) == set()


def test_shared_settings_reach_only_the_runs_they_apply_to(planned):
    shared = {"label_scale": 2, "distillation_pixel_std": 0.1, "kd.temperature": 3}
    found = by_title(planned(settings=BASE["settings"] | shared))
    given = {title: sorted(shared.keys() & job.values.keys()) for title, job in found.items()}
    assert given == {
        "teacher plain s0": [], "teacher assisted s0": ["label_scale"], "alone s0": [],
        "as long s0": [], "of plain s0": [],
        "of assisted s0": ["distillation_pixel_std", "kd.temperature"],
    }  # fmt: skip


def test_a_role_s_settings_go_before_shared_ones_and_own_ones_before_both(planned):
    settings = {"batch_size": 2, "student.batch_size": 3, "learning_rate": 0.1, "train_steps": 2}
    methods, teachers = {"alone": {}, "own": {"batch_size": 4}}, {"t": {"learning_rate": 0.2}}
    found = by_title(planned(settings=settings, methods=methods, teachers=teachers))
    values = {t: (j.resolved.batch_size, j.resolved.learning_rate) for t, j in found.items()}
    assert values == {"teacher t s0": (2, 0.2), "alone s0": (3, 0.1), "own s0": (4, 0.1)}


def test_faults_name_what_they_belong_to_and_come_all_at_once(faults):
    found = faults(
        seeds=[0, 1],
        teachers={"plain": {"assisted": False, "class_std": 2}, "t": {"learning_rate": -5}},
        methods={
            "alone": {"distillation": "kd:5"},
            "of plain": {"teacher": "plain", "distillation": "cvd"},
            "of t": {"teacher": "t", "batch_size": 0},
        },
    )
    begins = [
        "teacher plain: setting class_std", "teacher t: setting learning_rate",
        "method alone: setting distillation", "method of plain: distillation",
        "method of t: setting batch_size",
    ]  # fmt: skip
    assert len(found) == len(begins)
    for line, begin in zip(found, begins, strict=True):
        assert line.startswith(f"matrix m.yaml, {begin}"), line


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"datasets": ["nowhere"]}, "nowhere"),
        ({"teacher_networks": ["unett/resnet18"]}, "unett"),
        ({"noise": {"class_std": [1, -1]}}, "setting class_std: got -1"),
        ({"settings": {"train_steps": 0}}, "setting train_steps: got 0"),
        ({"settings": {"encoder_weights": "no/file"}}, "setting encoder_weights: got 'no/file'"),
    ],
)
def test_values_are_checked_before_anything_is_planned(faults, changes, words):
    (found,) = faults(teachers={"assisted": {}}, methods={}, **changes)
    assert found.startswith("matrix m.yaml, teacher assisted: ")
    assert words in found


@pytest.mark.parametrize(
    ("teacher", "method"),
    [({"class_codes": "fixed"}, {}), ({"label_channels": 2}, {"distillation_codes": "fixed"})],
)
def test_codes_that_a_teacher_cannot_read_are_refused(faults, planned, teacher, method):
    teachers = {"t": teacher}
    (line,) = faults(teachers=teachers, methods={"taught": {"teacher": "t"} | method})
    assert line.startswith("matrix m.yaml, method taught: setting distillation_codes: got")
    other = "random" if method else "fixed"
    planned(teachers=teachers, methods={"a": {"teacher": "t", "distillation_codes": other}})


def test_planning_writes_nothing(planned, tmp_path):
    planned(seeds=[0, 1])
    assert [path.name for path in tmp_path.iterdir()] == ["m.yaml"]


def test_keys_are_plain_file_names(planned):
    for job in planned(teacher_networks=["unet/tu-mobilenetv3_small_100"]).jobs:
        assert all(letter.isascii() and (letter.isalnum() or letter in "._-") for letter in job.key)
