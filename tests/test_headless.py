import json
import os
import re
import subprocess
import sys
import time

import nbformat
import pandas as pd
import pytest
from nbconvert import HTMLExporter
from PIL import Image

from labkit import headless, tables
from labkit.config import SettingsError
from labkit.datasets import DataError
from labkit.files import file_hash
from labkit.headless import HeadlessError, _runs, _thread
from labkit.records import complete_runs, project_root

TINY = {
    "train_size": 8, "val_size": 6, "height": 32, "width": 64, "crop_height": 32, "crop_width": 64,
    "batch_size": 2, "train_steps": 3, "log_every_steps": 1, "frames": 2,
}  # fmt: skip


@pytest.fixture(scope="module")
def thread(tmp_path_factory):
    """The whole thread, as `labkit run all` makes it, at the smallest size."""
    runs, temporary = tmp_path_factory.mktemp("thread"), tmp_path_factory.mktemp("t")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(temporary))
        assert headless.run_all(TINY | {"runs": str(runs)}, seeds=[0], jobs=2) == []
    assert list(temporary.glob("labkit-*")) == [], "a kernel's folder is left behind"
    return runs


def test_the_thread_makes_five_complete_runs(thread):
    found = sorted((run.role, run.method) for run in complete_runs(thread))
    assert found == [("student", "kd"), ("student", "lad"), ("student", "none"), ("teacher", "lad"), ("teacher", "none")]


def test_every_run_keeps_its_executed_notebook(thread):
    for run in complete_runs(thread):
        (path,) = run.folder.glob("*.ipynb")
        notebook = nbformat.read(path, as_version=4)
        assert all(cell.execution_count for cell in notebook.cells if cell.cell_type == "code")


def test_the_analysis_makes_every_output_with_its_recipe(thread):
    folder = thread / "figures" / "streets"
    made = json.loads((folder / "MANIFEST.json").read_text())
    figures = ("noising", "curves", "predictions", "contribution_car", "layers_car", "opinions", "reliance", "sanity")
    listed = ("table.csv", "table.md", "contribution.csv", "integrated_gradients.csv", "reliance.csv", "sanity.csv")
    for name in [*listed, *(f"{figure}{suffix}" for figure in figures for suffix in (".png", ".pdf"))]:
        assert made[name]["sha256"] == file_hash(folder / name)
        assert made[name]["caption"]
    with Image.open(folder / "contribution_car.png") as picture:
        assert "label share" in picture.info["Description"]
    assert len(list((folder / "records").glob("*.json"))) == 5
    (teacher,) = [run for run in complete_runs(thread) if (run.role, run.method) == ("teacher", "lad")]
    assert (teacher.folder / "attribution" / "car.npz").is_file()
    assert teacher.run_id in made["contribution.csv"]["caption"]


def test_the_table_is_the_one_asked_for(thread):
    table = pd.read_csv(thread / "figures" / "streets" / "table.csv", keep_default_na=False)
    assert list(table.columns) == tables.COLUMNS
    rows = set(zip(table.role, table.method, table.reads, strict=True))
    assert rows == {
        ("teacher", "none", "image"), ("teacher", "lad", "true_label"), ("teacher", "lad", "foreign_label"),
        ("teacher", "lad", "zero_label"), ("student", "none", "image"), ("student", "kd", "image"), ("student", "lad", "image"),
    }  # fmt: skip


def test_no_output_names_a_folder_of_this_machine(thread):
    folder = thread / "figures" / "streets"
    for path in [*folder.glob("*.json"), *folder.glob("*.csv"), *folder.glob("*.md"), *(folder / "records").iterdir()]:
        assert str(thread) not in path.read_text(), path.name


def test_what_is_complete_is_skipped(thread, monkeypatch, capsys):
    monkeypatch.setattr(_runs, "execute", lambda *args, **options: pytest.fail("a complete run was executed again"))
    settings = headless.check_settings("teacher", {k: v for k, v in TINY.items() if k != "frames"} | {"runs": str(thread)})
    headless.run_notebook("teacher", settings)
    assert "complete, skipped" in capsys.readouterr().out


def test_the_thread_again_starts_no_training(thread, monkeypatch, capsys):
    started = []
    monkeypatch.setattr(_thread, "_run_job", lambda job, *_: started.append(job.title))
    assert headless.run_all(TINY | {"runs": str(thread)}, seeds=[0], jobs=2) == []
    assert started == ["noising", "analysis"]
    assert capsys.readouterr().out.count("complete, skipped") == 5


def test_plain_papermill_runs_a_notebook_from_any_folder(tmp_path):
    out = tmp_path / "out.ipynb"
    command = [sys.executable, "-m", "papermill", project_root() / "notebooks" / "00_label_noising.ipynb", out]
    command += ["-p", "pixel_std", "0.2", "-p", "runs", tmp_path / "runs"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "unknown parameter" not in done.stderr
    assert (tmp_path / "runs" / "figures" / "streets" / "noising.png").is_file()


def test_bad_data_is_told_before_a_kernel_starts(tmp_path, monkeypatch):
    monkeypatch.setattr(_runs, "execute", lambda *args, **options: pytest.fail("a kernel started"))
    settings = headless.check_settings("teacher", {"runs": str(tmp_path), "dataset": "camvid", "data_root": str(tmp_path)})
    with pytest.raises(DataError, match="camvid: no folder"):
        headless.run_notebook("teacher", settings)
    with pytest.raises(DataError, match="camvid: no folder"):
        headless.run_all({"runs": str(tmp_path), "dataset": "camvid", "data_root": str(tmp_path)}, seeds=[0], jobs=1)


@pytest.mark.parametrize("name", headless.NOTEBOOKS)
def test_settings_are_checked_before_a_kernel_starts(name, monkeypatch):
    monkeypatch.setattr(_runs, "execute", lambda *args, **options: pytest.fail("a kernel started"))
    with pytest.raises(SettingsError, match="did you mean data_root"):
        headless.check_settings(name, {"data_rot": "streets"})
    if "dataset" in headless.NOTEBOOKS[name][1].model_fields:
        with pytest.raises(SettingsError, match="expected one of camvid, streets"):
            headless.check_settings(name, {"dataset": "nowhere"})


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"architecture": "foo"}, "expected one of unet, fpn, pspnet, deeplabv3"),
        ({"encoder": "resnet81"}, "did you mean resnet18"),
        ({"encoder": "tu-mobilenetv3_smal_100"}, "did you mean mobilenetv3_small_100"),
        ({"consistency_distance": "cvd"}, "expected one of cwd, kd"),
        ({"scale_min": "3", "scale_max": "2"}, "expected at most scale_max"),
    ],
)
def test_names_of_parts_are_checked_before_a_kernel_starts(values, says):
    with pytest.raises(SettingsError, match=says):
        headless.check_settings("teacher", values)


def test_a_notebook_that_ends_without_its_product_is_no_success(tmp_path, monkeypatch):
    monkeypatch.setattr(_runs, "execute", lambda *args, **options: None)
    with pytest.raises(HeadlessError, match=r"ended without writing .*noising\.png"):
        headless.run_notebook("noising", headless.check_settings("noising", {"runs": str(tmp_path)}))
    with pytest.raises(HeadlessError, match="ended with the run absent; expected complete"):
        headless.run_notebook("teacher", headless.check_settings("teacher", {"runs": str(tmp_path)}))


def test_all_routes_a_setting_to_whom_it_concerns():
    values = {"train_steps": "9", "student.train_steps": "5", "distillation_weight": "2"}
    assert headless.route("teacher", values) == {"train_steps": "9"}
    assert headless.route("student", values) == {"train_steps": "5", "distillation_weight": "2"}
    assert headless.route("analysis", values) == {}


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("method", "sets it itself"),
        ("teacher.seed", "use --seeds"),
        ("teacher.distilation_weight", "did you mean"),
        ("tutor.frames", "no notebook"),
    ],
)
def test_all_refuses_what_it_cannot_route(name, says):
    with pytest.raises(SettingsError, match=says):
        headless.route("teacher", {name: "1"})


def test_a_failed_teacher_leaves_out_its_students_and_nothing_else(tmp_path, monkeypatch):
    started = []
    monkeypatch.setattr(_thread, "_run_job", lambda job, values, *_: started.append(job.title) or job.title == "plain teacher s0")
    monkeypatch.setattr(_thread, "planned_run", lambda settings: type("Run", (), {"run_id": "x", "state": "absent"}))
    failed = headless.run_all({"runs": str(tmp_path)}, seeds=[0, 0], jobs=2)
    assert failed == ["plain teacher s0", "student of plain s0"]
    assert sorted(started[:4]) == ["assisted teacher s0", "plain teacher s0", "student alone s0", "student of assisted s0"]
    assert started[4:] == ["noising", "analysis"]


def test_ctrl_c_starts_nothing_more(tmp_path, monkeypatch):
    started = []

    def interrupted(job, *_):
        started.append(job.title)
        time.sleep(0.3)  # on a loaded machine the others must not be through before the first is heard
        raise KeyboardInterrupt

    monkeypatch.setattr(_thread, "_run_job", interrupted)
    with pytest.raises(KeyboardInterrupt):
        headless.run_all({"runs": str(tmp_path)}, seeds=[0, 1, 2], jobs=1)
    assert len(started) < 4


def test_a_relative_data_folder_reaches_the_kernel_as_absolute(tmp_path, monkeypatch):
    seen = {}
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LABKIT_DATA", "data")
    monkeypatch.setattr(_runs, "execute", lambda source, executed, parameters, **options: seen.update(parameters))
    with pytest.raises(HeadlessError):
        headless.run_notebook("noising", headless.check_settings("noising", {"runs": str(tmp_path), "data_root": "data"}))
    assert seen["data_root"] == os.environ["LABKIT_DATA"] == str(tmp_path / "data")


def test_all_tells_the_faults_of_every_notebook_at_once(tmp_path):
    values = {"runs": str(tmp_path), "teacher.label_scale": "-3", "student.distance": "cvd", "category": "cow", "brightness": "30%"}
    with pytest.raises(SettingsError) as caught:
        headless.run_all(values, seeds=[0], jobs=1)
    for words in ("label_scale: got", "distance: got 'cvd'; expected one of cwd, kd", "streets has road", "Give the number alone"):
        assert words in str(caught.value)


@pytest.mark.parametrize(("values", "words"), [
    ({"weights": "fixed"}, "got random; the teacher was trained with weights=fixed"),
    ({"label_channels": 2, "distill_weights": "fixed"}, "got fixed; the ramp is one code, and the teacher reads several"),
])  # fmt: skip
def test_all_refuses_class_weights_its_assisted_teacher_could_not_be_shown(tmp_path, values, words):
    with pytest.raises(SettingsError, match=f"^setting distill_weights: {words}[^\n]*$"):
        headless.run_all(values | {"runs": str(tmp_path)}, seeds=[0], jobs=1)
    assert list(tmp_path.iterdir()) == []


def test_all_gives_no_run_a_setting_that_means_nothing_to_it():
    values = {"seed": 1, "label_scale": 2, "distillation_weight": 5, "pixel_std": 0.1, "batch_size": 4}
    student = {name: values[name] for name in ("seed", "distillation_weight", "pixel_std", "batch_size")}
    job = _thread._Job("", "student", student, "teacher", "none")
    assert _thread._concerning(job).values == {"seed": 1, "distillation_weight": 5, "batch_size": 4}
    assert _thread._concerning(_thread._Job("", "student", student)).values == {"seed": 1, "batch_size": 4}
    plain = {"method": "none", "seed": 1, "label_scale": 2, "batch_size": 4}
    assert _thread._concerning(_thread._Job("", "teacher", plain)).values == {"method": "none", "seed": 1, "batch_size": 4}
    assert _thread._concerning(_thread._Job("", "teacher", plain | {"method": "lad"})).values["label_scale"] == 2
    assert "weights" not in _thread._concerning(_thread._Job("", "teacher", plain | {"weights": "fixed"})).values


def test_a_failed_jobs_own_report_is_shown(tmp_path):
    log = tmp_path / "log"
    log.write_text("step 1\r step 2\n\nlabkit: 01: it broke\n  | cell\nGo on with: labkit run\n")
    assert headless.report(log).splitlines() == ["    01: it broke", "      | cell", "    Go on with: labkit run"]
    log.write_text("one\n" * 30 + "10 %\r20 %\n")
    assert headless.report(log).splitlines() == ["    one"] * 19 + ["    20 %"]
    assert headless.report(log, 1) == "    20 %"
    assert headless.report(tmp_path / "nothing") == ""


def test_executed_notebooks_are_small_and_their_export_shows_the_explorers_without_a_script(thread):
    (teacher,) = [run for run in complete_runs(thread) if (run.role, run.method) == ("teacher", "lad")]
    executed = {"noising": thread / "streets-noising", "teacher": teacher.folder, "contribution": thread / "streets-analysis"}
    for name, folder in executed.items():
        (path,) = folder.glob("*.ipynb")
        assert path.stat().st_size < 5e6
        page = HTMLExporter().from_filename(str(path))[0]
        (view,) = re.findall(rf'<div class="labkit-view" data-explorer="{name}".*?</ul>', page, re.DOTALL)
        stills = re.findall(r"<img [^>]*>", view)
        assert len(stills) >= 4
        assert all('src="data:image/png;base64,' in still and re.search(r'alt="[^"]*\d', still) for still in stills)
        assert "widget-view" not in path.read_text()
