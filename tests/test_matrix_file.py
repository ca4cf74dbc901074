"""A matrix file is read whole or refused whole: every fault in one message, before anything is planned."""

import re

import pytest

from labkit.config import SettingsError
from labkit.matrix import plan, read_matrix
from labkit.records import project_root

OURS = sorted((project_root() / "labkit" / "workflow").glob("*.yaml"))
SOUND = {
    "title": "two methods",
    "seeds": "[0]",
    "teachers": "{assisted: {method: lad}, plain: {method: none}}",
    "methods": "{alone: {}, taught: {teacher: assisted}}",
}
HERE = "is not a setting here; the matrix says it itself (datasets, seeds, teachers, runs)."


@pytest.fixture
def written(tmp_path):
    """(key=YAML text) -> a file that is sound but for these keys; None leaves one out."""

    def write(**changes):
        lines = [f"{name}: {text}" for name, text in (SOUND | changes).items() if text is not None]
        path = tmp_path / "bad.yaml"
        path.write_text("\n".join(lines))
        return path

    return write


@pytest.fixture
def said(written):
    """(key=YAML text) -> the lines of the refusal; every line begins with the file's name."""

    def lines(**changes) -> list[str]:
        with pytest.raises(SettingsError) as caught:
            read_matrix(written(**changes))
        found = str(caught.value).splitlines()
        assert all(line.startswith("matrix bad.yaml: ") for line in found)
        return [line.removeprefix("matrix bad.yaml: ") for line in found]

    return lines


def test_a_sound_file_is_read_with_its_defaults(written):
    matrix = read_matrix(written())
    assert matrix.title == "two methods"
    assert (matrix.datasets, matrix.teacher_networks, matrix.student_networks) == (["streets"], ["recipe"], ["recipe"])
    assert (matrix.noise, matrix.settings, matrix.compare) == ({}, {}, [])
    assert matrix.runs_folder == project_root() / "runs/matrix"
    assert matrix.book == project_root() / "runs/matrix/.matrix"
    assert matrix.figures_folder == project_root() / "runs/matrix/figures/bad"


def test_folders_are_as_given_and_a_name_without_a_value_is_left_out(written, tmp_path):
    matrix = read_matrix(written(runs=tmp_path / "runs", figures="figures/there", settings="", compare="[[taught, alone]]"))
    assert matrix.runs_folder == tmp_path / "runs"
    assert matrix.figures_folder == project_root() / "figures/there"
    assert matrix.settings == {}
    assert matrix.compare == [("taught", "alone")]


def test_anchors_are_merged_and_own_values_go_first(written):
    methods = "{alone: {}, one: &one {teacher: assisted, distance: kd, pixel_std: 0}, two: {<<: *one, distance: cwd}}"
    assert read_matrix(written(methods=methods)).methods["two"] == {"teacher": "assisted", "distance": "cwd", "pixel_std": 0}


@pytest.mark.parametrize("path", OURS, ids=lambda path: path.name)
def test_our_own_files_are_read_and_planned_without_a_fault(path):
    matrix = read_matrix(path)
    planned = plan(matrix)
    jobs = [job for line in (*planned.teachers, *planned.students) for job in line.jobs.values()]
    assert {job.key for job in jobs} == {job.key for job in planned.jobs}
    assert {len(line.jobs) for line in (*planned.teachers, *planned.students)} == {len(matrix.seeds)}


def test_a_relative_name_is_found_from_any_folder(tmp_path, monkeypatch, written):
    monkeypatch.chdir(tmp_path)
    assert read_matrix("labkit/workflow/tiny.yaml").path == project_root() / "labkit/workflow/tiny.yaml"
    written()
    assert read_matrix("bad.yaml").path == tmp_path / "bad.yaml"


# one fault


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"sedes": "[0]"}, "setting sedes: no such setting of Matrix; did you mean seeds?"),
        ({"path": "here"}, "setting path: no such setting of Matrix;"),
        ({"1": "2"}, "setting 1: no such setting of Matrix;"),
        ({"title": None}, "setting title: is missing; expected a value (one line, above the tables)."),
        ({"seeds": None}, "setting seeds: is missing; expected a value (every run is made for each)."),
        ({"seeds": "[]"}, "setting seeds: got []; expected List should have at least 1 item"),
        ({"seeds": "0"}, "setting seeds: got 0; expected a valid list"),
        ({"seeds": "[yes]"}, "setting seeds.0: got True; expected a valid integer"),
        ({"seeds": "[0, 1, 0]"}, "seeds: got [0, 1, 0]; expected each value once, and at least one."),
        ({"seeds": "[1, -1]"}, "seeds: got -1; expected whole numbers of at least 0."),
        ({"datasets": "[streets, streets]"}, "datasets: got ['streets', 'streets']; expected each value once, and at least one."),
        ({"noise": "{class_std: []}"}, "class_std: got []; expected each value once, and at least one."),
        ({"noise": "{class_std: [1, 1.0]}"}, "class_std: got [1, 1.0]; expected each value once"),
        ({"teachers": None, "methods": None}, "no teachers and no methods; expected some of either."),
        ({"teachers": "{assisted: 3}"}, "setting teachers.assisted: got 3; expected a valid dictionary."),
        ({"methods": "{taught: {teacher: asisted}}"}, "method taught: teacher is 'asisted'; did you mean assisted?"),
        ({"methods": "{long: {as_long_as: nobody}}"}, "method long: as_long_as is 'nobody'; known: assisted, plain."),
        ({"methods": "{both: {teacher: plain, as_long_as: plain}}"}, "method both: has both teacher and as_long_as; expected one:"),
        ({"methods": "{long: {as_long_as: plain, train_steps: 3}}"}, "method long: has both as_long_as and train_steps; expected one,"),
        ({"compare": "[[taught, alon]]"}, "compare: no method 'alon'; did you mean alone?"),
        ({"compare": "[[taught]]"}, "setting compare.0.1: got ['taught']; expected"),
        ({"teacher_networks": "[unet]"}, "network 'unet': expected architecture/encoder, such as unet/resnet18, or recipe."),
        ({"student_networks": "[a/b/c]"}, "network 'a/b/c': expected architecture/encoder,"),
        ({"teachers": "{assisted: {metod: lad}, plain: {}}"}, "teacher assisted: no setting metod; did you mean method?"),
        ({"methods": "{alone: {lerning_rate: 1}}"}, "method alone: no setting lerning_rate; did you mean learning_rate?"),
        ({"methods": "{alone: {class_std: 1}}"}, "method alone: no setting class_std;"),
        ({"settings": "{trian_steps: 4}"}, "settings: no setting trian_steps; did you mean train_steps?"),
        ({"settings": "{student.class_std: 4}"}, "settings: no setting student.class_std;"),
        ({"settings": "{tutor.train_steps: 4}"}, "settings: no setting tutor.train_steps;"),
        ({"noise": "{distill_weights: [random]}"}, "noise: no setting distill_weights;"),
        ({"noise": "{method: [none, lad]}"}, "noise: no setting method;"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)  # fmt: skip
def test_one_fault_is_one_line(said, changes, line):
    (found,) = said(**changes)
    assert found.startswith(line)


@pytest.mark.parametrize("name", ["dataset", "seed", "teacher", "runs"])
def test_what_the_matrix_says_itself_is_no_setting(said, name):
    assert said(settings=f"{{{name}: 1}}") == [f"settings: {name} {HERE}"]
    assert said(settings=f"{{student.{name}: 1}}") == [f"settings: student.{name} {HERE}"]
    assert said(teachers=f"{{assisted: {{{name}: 1}}, plain: {{}}}}") == [f"teacher assisted: {name} {HERE}"]
    if name != "teacher":
        assert said(methods=f"{{alone: {{{name}: 1}}}}") == [f"method alone: {name} {HERE}"]


def test_noise_that_changes_no_result_is_refused(said):
    unknown, idle = said(noise="{workers: [0, 2]}")
    assert unknown.startswith("noise: no setting workers; known: class_std")
    assert idle == "noise: workers changes no result; expected settings that do."


# every fault at once


def test_faults_of_every_kind_come_in_one_message(said):
    found = said(
        seeds="[0, 0, -1]",
        settings="{seed: 1, lr: 2}",
        teacher_networks="[unet]",
        noise="{threads: [1]}",
        teachers="{assisted: {metod: lad}}",
        methods="{taught: {teacher: nobody, learning: 1}, long: {teacher: assisted, as_long_as: assisted}}",
        compare="[[taught, teached]]",
    )
    begins = [
        "method taught: teacher is 'nobody'", "method long: has both", "compare: no method 'teached'", "network 'unet'",
        "settings: seed is not", "settings: no setting lr;", "noise: no setting threads", "teacher assisted: no setting metod",
        "method taught: no setting learning", "seeds: got [0, 0, -1]", "seeds: got -1", "noise: threads changes no result",
    ]  # fmt: skip
    assert len(found) == len(begins)
    assert all(line.startswith(begin) for line, begin in zip(found, begins, strict=True)), found


def test_faults_of_form_come_in_one_message(said):
    found = said(title="[a]", seeds="x", sedes="[0]", methods="3")
    assert [line.partition(":")[0] for line in found] == ["setting title", "setting seeds", "setting methods", "setting sedes"]


# no matrix at all


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"title: [1", "found no YAML (while parsing a flow sequence"),
        (b"title: \xff\xfe", "found no YAML ("),
        (b"title: a\nseeds: [0]\ntitle: b\n", "found no YAML ('title' is given twice"),
        (b"title: a\nteachers:\n  assisted: {}\n  plain: {}\n  assisted: {}\n", "found no YAML ('assisted' is given twice"),
        (b"- title", "found a list; expected one mapping of names to values."),
        (b"title", "found a str; expected one mapping of names to values."),
        (b"", "found a NoneType; expected one mapping of names to values."),
    ],
)
def test_what_is_no_mapping_is_refused_by_name(tmp_path, content, words):
    path = tmp_path / "bad.yaml"
    path.write_bytes(content)
    with pytest.raises(SettingsError) as caught:
        read_matrix(path)
    assert str(caught.value).startswith(f"matrix {path}: {words}")


def test_the_readme_s_example_is_a_sound_matrix(tmp_path):
    (text,) = re.findall(r"```yaml\n(.*?)```", (project_root() / "README.md").read_text(encoding="utf-8"), flags=re.DOTALL)
    path = tmp_path / "readme.yaml"
    path.write_text(text, encoding="utf-8")
    found = plan(read_matrix(path))
    assert len(found.teachers) == 1 + 3
    assert len(found.students) == 2 + 1 + 3


def test_a_file_that_is_not_there_is_told_in_words(tmp_path):
    for path in (tmp_path / "none.yaml", tmp_path):
        with pytest.raises(SettingsError, match=rf"matrix {path}: no such file; expected a YAML file such as labkit/workflow/tiny\.yaml"):
            read_matrix(path)
