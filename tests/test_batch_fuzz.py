"""Matrix files of strangers: a plan or a short SettingsError, and nothing written."""

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from labkit.batch.matrix import read_matrix
from labkit.batch.plan import plan
from labkit.errors import SettingsError

SOUND = {
    "title": "t",
    "datasets": ["streets"],
    "seeds": [0],
    "settings": {"train_steps": 2, "precision": "fp32"},
    "noise": {"class_std": [1, 2]},
    "teachers": {"t": {"pixel_std": 0.1}, "p": {"assisted": False}},
    "methods": {"a": {}, "of t": {"teacher": "t", "cwd.temperature": 1}},
    "compare": [["of t", "a"]],
}
NAMES = st.sampled_from([*SOUND, "figures", "teacher_networks", "attribution", "x", "assisted"])
WORDS = st.sampled_from(
    ["t", "train_steps", "student.seed", "cwd.weight", "a/b", "../x", "{x}", "\x1b[31m", "²", "~"]
)
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-(10**12), 10**12), st.floats(), WORDS, st.text()
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.one_of(WORDS, SCALARS), inner, max_size=3)
    ),
    max_leaves=8,
)
QUICK = settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "in").mkdir()
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "in")
    return tmp_path


def check(folder, content: bytes) -> None:
    path = folder / "in" / "m.yaml"
    path.write_bytes(content)
    try:
        plan(read_matrix(path))
    except SettingsError as error:
        lines = str(error).splitlines()
        assert all(line.startswith("matrix m.yaml") for line in lines)
        assert all(line.isprintable() and len(line) < 3000 for line in lines)
    assert sorted(p.name for p in folder.rglob("*")) == ["home", "in", "m.yaml"]


@QUICK
@given(changes=st.dictionaries(NAMES, VALUES, min_size=1, max_size=3))
def test_a_changed_file_is_planned_or_refused(folder, changes):
    text = yaml.safe_dump(SOUND | changes, sort_keys=False, allow_unicode=True)
    check(folder, text.encode("utf-8", errors="surrogatepass"))


@QUICK
@given(part=st.sampled_from(["settings", "teachers", "methods", "noise"]), given_=VALUES)
@example(part="noise", given_={"\x1b[31m": []})
def test_a_changed_part_is_planned_or_refused(folder, part, given_):
    values = SOUND[part] | (given_ if isinstance(given_, dict) else {"x": given_})
    text = yaml.safe_dump(SOUND | {part: values}, sort_keys=False, allow_unicode=True)
    check(folder, text.encode("utf-8", errors="surrogatepass"))


@QUICK
@given(content=st.one_of(st.binary(max_size=200), st.text(max_size=200).map(str.encode)))
def test_any_bytes_are_refused(folder, content):
    check(folder, content)


@QUICK
@given(start=st.integers(0, 300), stop=st.integers(0, 300), content=st.binary(max_size=20))
def test_a_damaged_file_is_planned_or_refused(folder, start, stop, content):
    sound = yaml.safe_dump(SOUND, sort_keys=False).encode()
    check(folder, sound[:start] + content + sound[stop:])
