"""What a record says about the program that made it."""

import shutil
import subprocess
import sys

import pytest

from labkit.records import project_root, provenance, source_revision
from labkit.records.provenance import package_hash

ASK = """
import sys; sys.path.insert(0, "")
from labkit.records.provenance import source_revision
print(source_revision()["revision"], source_revision()["dirty"])
"""


def git(folder, *arguments):
    author = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *author, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def copied(tmp_path):
    """A copy of the package that a process can be asked about."""
    root = project_root()
    for name in ("records", "settings"):
        shutil.copytree(root / "labkit" / name, tmp_path / "labkit" / name)
    for name in ("__init__.py", "errors.py"):
        shutil.copy(root / "labkit" / name, tmp_path / "labkit")
    shutil.copy(root / ".gitignore", tmp_path)
    (tmp_path / "pyproject.toml").touch()
    return tmp_path


def ask(folder) -> list[str]:
    command = [sys.executable, "-c", ASK]
    answer = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    return answer.stdout.split()


def test_a_checkout_has_a_revision_and_a_dirty_flag(copied):
    git(copied, "init", "-q")
    git(copied, "add", ".")
    git(copied, "commit", "-qm", "x")
    revision, dirty = ask(copied)
    assert (len(revision), dirty) == (40, "False")
    (copied / "labkit" / "new.py").touch()
    assert ask(copied) == [revision, "True"]


def test_a_package_without_a_repository_has_the_hash_of_its_files(copied):
    before = ask(copied)
    assert before[0].startswith("package-")
    assert ask(copied) == before
    with (copied / "labkit" / "errors.py").open("a") as file:
        file.write("# changed\n")
    assert ask(copied)[0] != before[0]


def test_a_package_inside_another_project_s_repository_is_not_that_project(copied):
    (copied / ".gitignore").write_text("labkit/\n")
    git(copied, "init", "-q")
    git(copied, "add", ".gitignore")
    git(copied, "commit", "-qm", "x")
    assert ask(copied)[0].startswith("package-")


def test_no_path_and_no_host_name():
    import platform

    text = str(provenance("cpu"))
    assert str(project_root()) not in text
    assert platform.node() not in text
    assert source_revision()["package"] == package_hash()
    assert provenance("cpu")["device"] == "cpu"
