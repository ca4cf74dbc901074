"""The one door to a matrix: what it says before anything is started, and how Snakemake is called."""

import importlib.util
import shlex

import pytest
from typer.testing import CliRunner

from labkit import workflow
from labkit.cli import app
from labkit.config import StudentSettings, TeacherSettings
from labkit.matrix import plan, read_matrix, study_files
from labkit.planning import checked
from labkit.records import project_root
from labkit.workflow import _schedule
from tests import matrices
from tests.matrices import TITLES, open_titles

TINY = "labkit/workflow/tiny.yaml"
KINDS = {"teacher": TeacherSettings, "student": StudentSettings}
CLOSING = "step 1\n\nlabkit: 01_teacher_training: it broke\n  | cell\nGo on with: labkit run\n"


def call(*arguments):
    return CliRunner().invoke(app, ["matrix", *map(str, arguments)])


# before anything is started


def test_a_dry_run_lists_what_is_open_and_writes_nothing(fresh, tmp_path):
    lines = list(workflow.dry_run(str(fresh)))
    assert lines[0] == "small: 5 runs, 0 done, 5 to do, then the tables"
    assert [line.strip() for line in lines[1:6]] == open_titles(fresh) == TITLES
    assert lines[6] == "  tables and figures"
    assert lines[-1] == f"labkit run study --set matrix={fresh}"
    assert list(tmp_path.iterdir()) == [fresh]


def test_a_dry_run_s_plain_commands_are_whole_and_teachers_come_first(fresh, tmp_path):
    path = matrices.write(fresh, runs=tmp_path / "my runs", seeds=[1, 0], noise={"pixel_std": [0, 0.3]})
    lines = list(workflow.dry_run(str(path)))
    commands = [shlex.split(line) for line in lines if line.startswith("labkit run ")]
    *runs, last = commands
    assert last == ["labkit", "run", "study", "--set", f"matrix={path}"]
    by_key, made = {job.key: job for job in plan(read_matrix(path)).jobs}, []
    for command, (key, job) in zip(runs, by_key.items(), strict=True):
        values = dict(word.split("=", 1) for word in command[4::2])
        teacher = values.pop("teacher", "")
        assert (command[2], bool(teacher)) == (job.role, job.teacher is not None)
        assert not teacher or teacher in made
        assert checked(KINDS[job.role], values, taught_by=job.teacher.method if teacher else None) == KINDS[job.role](**job.values)
        made.append(key)


def test_a_dry_run_of_what_is_made_offers_the_tables_and_then_nothing(complete_matrix):
    assert list(workflow.dry_run(str(complete_matrix))) == [
        "small: 5 runs, 5 done, 0 to do, then the tables", "  tables and figures",
        "\nthe same without Snakemake, in order:", f"labkit run study --set matrix={complete_matrix}",
    ]  # fmt: skip
    matrices.make_tables(complete_matrix)
    assert list(workflow.dry_run(str(complete_matrix), profile="slurm")) == ["small: 5 runs, 5 done, 0 to do"]


def test_a_dry_run_for_a_cluster_shows_gpu_time_and_memory(fresh):
    *_, heading, teacher, student, analysis = workflow.dry_run(str(fresh), profile="slurm")
    assert heading == "\nas the cluster is asked:"
    asked = {"teacher": teacher, "student": student, "analysis": analysis}
    for rule, minutes in {"teacher": 960, "student": 480, "analysis": 120}.items():
        words = shlex.split(asked[rule])
        assert words[0] == "sbatch"
        assert f"rule_{rule}" in words
        assert words[words.index("-t") + 1] == str(minutes)
        assert words[words.index("--mem") + 1] == "32000"
        assert "--gpus=1" in words
        assert "--cpus-per-gpu=8" in words
        assert "--requeue" in words


def test_a_cluster_is_asked_only_for_what_is_open(complete_matrix):
    left = list(workflow.dry_run(str(complete_matrix), profile="slurm"))
    assert [line.split("rule_")[1].split()[0] for line in left if "rule_" in line] == ["analysis"]


def test_a_profile_of_one_s_own_is_taken_by_its_folder(fresh, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "config.yaml").write_text("default-resources: {gres: 'gpu:a100:2', runtime: 7, mem_mb: 5}\n")
    asked = list(workflow.dry_run(str(fresh), profile=str(tmp_path / "mine")))[-1]
    assert "--gres=gpu:a100:2" in asked
    assert "-t 7 --mem 5" in asked


def test_an_unknown_profile_is_named(fresh):
    for arguments in ((fresh, "--profile", "slum"), (fresh, "--profile", "slum", "--dry-run")):
        done = call(*arguments)
        assert done.exit_code == 2
        assert "--profile slum: no such profile; expected local, slurm, or a folder that holds a config.yaml." in done.stderr


def test_without_snakemake_a_run_says_how_to_install_it_and_a_dry_run_works(fresh, monkeypatch, tmp_path):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name.startswith("snakemake") else find(name))
    done = call(fresh)
    assert done.exit_code == 2
    assert "Snakemake is not installed; expected the extra batch. Install it: pip install 'labkit[batch]'" in done.stderr
    assert f"labkit matrix {fresh} --dry-run" in done.stderr
    assert list(tmp_path.iterdir()) == [fresh]
    assert call(fresh, "--dry-run").stdout == "\n".join(workflow.dry_run(str(fresh))) + "\n"
    done = call(fresh, "--dry-run", "--profile", "slurm")
    assert (done.exit_code, "the SLURM executor is not installed" in done.stderr) == (2, True)


@pytest.mark.parametrize("arguments", [("a.yaml", "b.yaml"), ("stauts", TINY)])
def test_two_files_are_refused(arguments):
    done = call(*arguments)
    assert done.exit_code == 2
    assert f"labkit matrix {arguments[0]} {arguments[1]}: expected one file, or: labkit matrix status FILE." in done.stderr


@pytest.mark.parametrize("before", [(), ("status",)])
def test_a_bad_file_is_told_in_words_and_nothing_is_started(before, fresh, ended):
    called = ended()
    fresh.write_text("title: t\nseeds: [0]\nteachers: {a: {metod: lad}}\n")
    for path, words in ((fresh, "matrix small.yaml: teacher a: no setting metod"), ("none.yaml", "matrix none.yaml: no such file")):
        done = call(*before, path)
        assert (done.exit_code, called) == (2, [])
        assert words in done.stderr
        assert "Traceback" not in done.output


def test_data_are_looked_through_before_anything_is_started(fresh, tmp_path, ended):
    called = ended()
    settings = {"data_root": str(tmp_path / "nowhere")}
    done = call(matrices.write(fresh, runs=tmp_path / "runs", datasets=["camvid"], settings=settings))
    assert (done.exit_code, called) == (2, [])
    assert "camvid: no folder" in done.stderr
    assert not (tmp_path / "runs" / ".matrix").exists()


def test_snakemake_is_called_with_the_file_the_folder_and_the_cores(complete_matrix, ended, monkeypatch, tmp_path):
    called = ended(what=lambda: matrices.make_tables(complete_matrix))
    monkeypatch.setattr(_schedule.os, "cpu_count", lambda: 8)
    monkeypatch.setattr(_schedule.torch.cuda, "is_available", lambda: False)
    monkeypatch.chdir(tmp_path)
    assert workflow.run_matrix(complete_matrix.name, keep_going=True) == []
    words = called[0]
    after = {name: words[words.index(name) + 1] for name in ("--snakefile", "--directory", "--profile", "--cores")}
    ours = project_root() / "labkit" / "workflow"
    assert after == {
        "--snakefile": str(ours / "Snakefile"), "--directory": str(tmp_path / "runs" / ".matrix"),
        "--profile": str(ours / "profiles" / "local"), "--cores": "8",
    }  # fmt: skip
    assert {f"matrix={complete_matrix}", f"folder={tmp_path}", "threads=4"} < set(words)
    assert "--keep-going" in words
    study_files(read_matrix(complete_matrix)).receipt.unlink()
    workflow.run_matrix(str(complete_matrix), jobs=4)
    assert ("threads=2" in called[1], "--keep-going" in called[1]) == (True, False)
    study_files(read_matrix(complete_matrix)).receipt.unlink()
    workflow.run_matrix(str(complete_matrix), jobs=3, profile="slurm")
    assert called[2][called[2].index("--jobs") + 1] == "3"
    assert "--cores" not in called[2]
