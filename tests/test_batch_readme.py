"""The guide of unattended runs: every test it names exists, and its example is a sound matrix."""

import re

from labkit.batch.matrix import read_matrix
from labkit.batch.plan import plan
from labkit.settings.paths import project_root

GUIDE = project_root() / "labkit" / "batch" / "README.md"


def test_every_promise_names_a_test_that_exists():
    names = set(re.findall(r"\b(test_\w+?)(?:\.py)?\b", GUIDE.read_text(encoding="utf-8")))
    tests = list((project_root() / "tests").glob("test_*.py"))
    known = {path.stem for path in tests}
    for path in tests:
        known |= set(re.findall(r"def (test_\w+)", path.read_text(encoding="utf-8")))
    assert len(names) > 20
    assert names <= known


def test_its_example_is_a_sound_matrix(tmp_path):
    (text,) = re.findall(r"```yaml\n(.*?)```", GUIDE.read_text(encoding="utf-8"), flags=re.DOTALL)
    path = tmp_path / "readme.yaml"
    path.write_text(text, encoding="utf-8")
    planned = plan(read_matrix(path))
    assert len(planned.teachers) == 1 + 3
    assert len(planned.students) == 2 + 1 + 3
