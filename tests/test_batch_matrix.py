"""A matrix file is read whole or refused whole: every fault in one message, nothing planned."""

import pytest

from labkit.batch.matrix import read_matrix
from labkit.batch.plan import plan
from labkit.errors import SettingsError
from labkit.settings.paths import project_root

OURS = sorted((project_root() / "labkit" / "batch" / "matrices").glob("*.yaml"))
SOUND = {
    "title": "two methods",
    "seeds": "[0]",
    "teachers": "{assisted: {}, plain: {assisted: false}}",
    "methods": "{alone: {}, taught: {teacher: assisted}}",
}
BOMB = """title: &a [x, x, x, x, x, x, x, x, x]
datasets: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a]
seeds: &c [*b, *b, *b, *b, *b, *b, *b, *b, *b]
noise: &d [*c, *c, *c, *c, *c, *c, *c, *c, *c]
methods: &e [*d, *d, *d, *d, *d, *d, *d, *d, *d]
teachers: [*e, *e, *e, *e, *e, *e, *e, *e, *e]
"""


@pytest.fixture
def written(tmp_path):
    """(key=YAML text) -> a file that is sound but for these keys; None leaves one out."""

    def write(**changes):
        lines = [f"{name}: {text}" for name, text in (SOUND | changes).items() if text is not None]
        path = tmp_path / "bad.yaml"
        path.write_text("\n".join(lines), encoding="utf-8")
        return path

    return write


@pytest.fixture
def faults(written):
    """(key=YAML text) -> the lines of the refusal, each of which begins with the file's name."""

    def lines(**changes) -> list[str]:
        with pytest.raises(SettingsError) as caught:
            read_matrix(written(**changes))
        found = str(caught.value).splitlines()
        assert all(line.startswith("matrix bad.yaml: ") for line in found)
        assert all(len(line) < 2000 for line in found)
        return [line.removeprefix("matrix bad.yaml: ") for line in found]

    return lines


def test_a_sound_file_is_read_with_its_defaults(written):
    matrix = read_matrix(written())
    assert (matrix.title, matrix.datasets) == ("two methods", ["streets"])
    assert (matrix.teacher_networks, matrix.student_networks) == (["recipe"], ["recipe"])
    assert (matrix.noise, matrix.settings, matrix.compare) == ({}, {}, [])
    assert (matrix.attribution, matrix.report) == (False, False)
    assert matrix.runs_folder == project_root() / "runs"
    assert matrix.figures_folder == project_root() / "runs/figures/bad"


def test_folders_are_as_given_and_a_name_without_a_value_is_left_out(written, tmp_path):
    compare = "[[taught, alone]]"
    given = {"runs": tmp_path / "runs", "figures": "figures/there", "settings": ""}
    matrix = read_matrix(written(compare=compare, **given))
    assert matrix.runs_folder == tmp_path / "runs"
    assert matrix.figures_folder == project_root() / "figures/there"
    assert matrix.settings == {}
    assert matrix.compare == [("taught", "alone")]


def test_anchors_are_merged_and_own_values_go_first(written):
    methods = "{one: &one {teacher: assisted, seed_: 1}, two: {<<: *one, distillation: cwd}}"
    methods = methods.replace("seed_", "batch_size")
    two = read_matrix(written(methods=methods)).methods["two"]
    assert two == {"teacher": "assisted", "batch_size": 1, "distillation": "cwd"}


@pytest.mark.parametrize("path", OURS, ids=lambda path: path.name)
def test_our_own_files_are_read_and_planned_without_a_fault(path):
    matrix = read_matrix(path)
    planned = plan(matrix)
    lines = (*planned.teachers, *planned.students)
    assert {job.key for line in lines for job in line.jobs.values()} == {
        job.key for job in planned.jobs
    }
    assert {len(line.jobs) for line in lines} == {len(matrix.seeds)}


def test_a_relative_name_is_found_from_any_folder(tmp_path, monkeypatch, written):
    monkeypatch.chdir(tmp_path)
    ours = "labkit/batch/matrices/tiny.yaml"
    assert read_matrix(ours).path == project_root() / ours
    written()
    assert read_matrix("bad.yaml").path == tmp_path / "bad.yaml"


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"sedes": "[0]"}, "setting sedes: no such setting of Matrix; did you mean seeds?"),
        ({"path": "here"}, "setting path: no such setting of Matrix;"),
        ({"title": None}, "setting title: is missing;"),
        ({"seeds": None}, "setting seeds: is missing;"),
        ({"seeds": "[]"}, "setting seeds: got []"),
        ({"seeds": "[yes]"}, "setting seeds: got"),
        ({"seeds": "[0, 1, 0]"}, "seeds: got [0, 1, 0]; expected each value once"),
        ({"seeds": "[1, -1]"}, "seeds: got -1;"),
        ({"seeds": "[99999999999]"}, "seeds: got 99999999999;"),
        ({"noise": "{class_std: []}"}, "noise 'class_std': got []; expected each value once"),
        ({"noise": "{class_std: [1, 1.0]}"}, "noise 'class_std': got [1, 1.0];"),
        ({"teachers": None, "methods": None}, "no teachers and no methods"),
        ({"teachers": "{assisted: 3}"}, "setting teachers: got 3"),
        ({"methods": "{taught: {teacher: asisted}}"}, "method 'taught': teacher is 'asisted'; did"),
        (
            {"methods": "{long: {as_long_as: nobody}}"},
            "method 'long': as_long_as is 'nobody'; know",
        ),
        ({"methods": "{both: {teacher: plain, as_long_as: plain}}"}, "method 'both': has both"),
        (
            {"methods": "{a: {as_long_as: plain, train_steps: 3}}"},
            "method 'a': has both as_long_as",
        ),
        ({"compare": "[[taught, alon]]"}, "compare: no method 'alon'; did you mean alone?"),
        ({"compare": "[[taught]]"}, "setting compare: "),
        ({"teacher_networks": "[unet]"}, "network 'unet': expected architecture/encoder"),
        (
            {"teachers": "{assisted: {pixl_std: 1}, plain: {}}"},
            "teacher 'assisted': no setting 'pi",
        ),
        ({"methods": "{alone: {class_std: 1}}"}, "method 'alone': no setting 'class_std';"),
        (
            {"settings": "{trian_steps: 4}"},
            "settings: no setting 'trian_steps'; did you mean train",
        ),
        ({"settings": "{student.class_std: 4}"}, "settings: no setting 'class_std';"),
        ({"settings": "{tutor.train_steps: 4}"}, "settings: no setting 'tutor.train_steps';"),
        ({"noise": "{distillation_codes: [random]}"}, "noise: no setting 'distillation_codes';"),
        ({"noise": "{assisted: [true, false]}"}, "noise: assisted is not a setting here;"),
        ({"settings": "{assisted: false}"}, "settings: assisted is not a setting here;"),
        ({"settings": "{teacher.assisted: false}"}, "settings: assisted is not a setting here;"),
        ({"settings": "{student.assisted: false}"}, "settings: assisted is not a setting here;"),
        (
            {"train_sizes": "{50: {assisted: false}}"},
            "train_sizes 50: assisted is not a setting here;",
        ),
        ({"title": '"a \\e[31mred"'}, "setting title: got"),
        ({"methods": '{"a\\nb": {}}'}, "method 'a\\nb': expected one line of printable letters"),
        ({"runs": '"a\\nb"'}, "setting runs: got"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_one_fault_is_one_line(faults, changes, line):
    (found,) = faults(**changes)
    assert found.startswith(line)


@pytest.mark.parametrize("name", ["dataset", "seed", "teacher", "runs"])
def test_a_setting_that_the_matrix_gives_itself_is_refused(faults, name):
    line = f"{name} is not a setting here"
    for changes in (
        {"settings": f"{{{name}: 1}}"},
        {"settings": f"{{student.{name}: 1}}"},
        {"teachers": f"{{assisted: {{{name}: 1}}, plain: {{}}}}"},
    ):
        (found,) = faults(**changes)
        assert line in found


def test_faults_of_every_kind_come_in_one_message(faults):
    found = faults(
        seeds="[0, 0, -1]",
        settings="{seed: 1, lr: 2}",
        teacher_networks="[unet]",
        noise="{threads: [1]}",
        methods="{taught: {teacher: nobody, learning: 1}, a: {teacher: plain, as_long_as: plain}}",
        compare="[[taught, teached]]",
    )
    for words in (
        "seeds: got [0", "seeds: got -1", "settings: seed is", "settings: no setting 'lr'",
        "network 'unet'", "noise: no setting 'threads'", "method 'taught': teacher is 'nobody'",
        "method 'taught': no setting 'learning'", "method 'a': has both", "compare: no method",
    ):  # fmt: skip
        assert sum(line.startswith(words) for line in found) == 1, words


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"title: [1", "got no YAML (while parsing a flow sequence"),
        (b"title: \xff\xfe", "got no YAML ("),
        (b"title: a\nseeds: [0]\ntitle: b\n", "got no YAML ('title' is given twice"),
        (b"- title", "got a list; expected one mapping"),
        (b"title", "got a str; expected one mapping"),
        (b"", "got a NoneType; expected one mapping"),
        (b"!!python/object/apply:os.system [ls]", "got no YAML (could not determine a constructor"),
        (b"[" * 5000, "got values nested too deeply"),
        (b"a: &a [*a]", "got values nested too deeply"),
        (b"a: " + b"x" * 1_000_001, "got a file of more than 1000000 bytes"),
        (BOMB.encode(), "got more than 100000 values by its aliases"),
    ],
    ids=range(11),
)
def test_a_file_that_is_no_plain_mapping_is_refused_in_one_short_line(tmp_path, content, words):
    path = tmp_path / "bad.yaml"
    path.write_bytes(content)
    with pytest.raises(SettingsError) as caught:
        read_matrix(path)
    assert str(caught.value).startswith(f"matrix bad.yaml: {words}")
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("name", ["none.yaml", "", "a\0b", "x" * 300, "~/none.yaml"])
def test_a_file_that_is_not_there_is_explained(tmp_path, name):
    with pytest.raises(SettingsError, match="no such file; expected a YAML file such as"):
        read_matrix(tmp_path / name if name else tmp_path)
