"""Output that nobody reads is dropped and never stops a training."""

import io
import subprocess
import sys

import pytest

from labkit.training.progress import Progress, report

PROGRAM = """
from labkit.training.progress import Progress, report
with Progress(start=0, steps=200) as progress:
    for step in range(200):
        progress.advance()
        progress.show(loss="1.0")
        report(f"line {step} " + 1000 * "x")
open("done", "w").write("yes")
"""


def test_a_reader_that_goes_away_does_not_stop_the_program(tmp_path):
    command = f"set -o pipefail; {sys.executable} -c '{PROGRAM}' | head -1"
    finished = subprocess.run(
        ["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert finished.returncode == 0, finished.stderr
    assert "BrokenPipe" not in finished.stderr
    assert (tmp_path / "done").read_text() == "yes"


@pytest.mark.parametrize("redirection", [">&-", "> /dev/full"])
def test_a_closed_or_full_output_does_not_stop_the_program(tmp_path, redirection):
    command = f"{sys.executable} -c '{PROGRAM}' {redirection}"
    finished = subprocess.run(
        ["bash", "-c", command], cwd=tmp_path, capture_output=True, check=False
    )
    assert finished.returncode == 0, finished.stderr
    assert (tmp_path / "done").is_file()


def test_a_closed_stream_object_is_tolerated(monkeypatch):
    stream = io.StringIO()
    stream.close()
    monkeypatch.setattr(sys, "stdout", stream)
    report("nobody reads this")
    monkeypatch.setattr(sys, "stdout", None)
    report("nor this")


def test_progress_shows_steps_and_fields(capsys):
    with Progress(start=2, steps=4) as progress:
        progress.show(loss="0.5")
        progress.advance()
        progress.show(waiting="3%")
        progress.advance()
    output = capsys.readouterr().out
    assert "4/4" in output
    assert "loss=0.5" in output
    assert "waiting=3%" in output
