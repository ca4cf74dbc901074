"""Hostile matrix files on the command line: refused in words, and nothing is written."""

import yaml
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from labkit.cli import app
from tests import matrices
from tests.hostile import FAST, RAW, changed, listing

AXES = {
    "datasets": ["streets"],
    "teacher_networks": ["recipe", "fpn/resnet18"],
    "noise": {"pixel_std": [0.1, 0.2]},
    "compare": [["of assisted", "alone"]],
    "attribution": True,
    "report": False,
    "figures": "",
}


def call(*arguments):
    return CliRunner().invoke(app, ["matrix", *map(str, arguments)])


@given(data=st.data())
@FAST
def test_a_stranger_s_matrix_file_is_planned_or_refused_and_writes_nothing(tmp_path, data):
    file = tmp_path / "small.yaml"
    values = matrices.SMALL | AXES | {"runs": str(tmp_path / "runs")}
    for _ in range(data.draw(st.integers(1, 3))):
        values = data.draw(changed(values))
    content = yaml.safe_dump(values, sort_keys=False).encode("utf-8", "surrogatepass")
    if data.draw(st.integers(0, 3)) == 0:
        cut = data.draw(st.integers(0, len(content)))
        content = content[:cut] + data.draw(RAW) + content[cut:]
    file.write_bytes(content)
    before = listing(tmp_path)
    for done in (call(file, "--dry-run"), call("status", file)):
        assert done.exit_code in (0, 2), done.output
        assert "Traceback" not in done.output
        assert "fault of labkit" not in done.output
        assert all(line.isprintable() for line in done.output.splitlines()), done.output
        if done.exit_code:
            assert file.name in done.stderr
            assert len(done.output) < 20_000
    assert listing(tmp_path) == before
