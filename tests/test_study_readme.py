"""figures/README.md from manifests and findings."""

import pytest

from labkit.records.artifacts import FORMAT, record_artifact
from labkit.records.files import write_json, write_text
from labkit.settings.paths import project_root
from labkit.study.readme import main, manifest_entries, readme, write_readme

NOTE = "Scores: 3 frames."


@pytest.fixture
def figures(tmp_path):
    """A folder made here, and one of another data set made by another version."""
    new, old = tmp_path / "streets", tmp_path / "camvid" / "study"
    write_text(new / "gains.md", f"| method | gain |\n|---|---|\n| cwd | +1.0 |\n\n* {NOTE}\n")
    write_text(new / "students.md", f"| method |\n|---|\n| cwd |\n\n* Own.\n* {NOTE}\n")
    write_text(new / "gains.csv", "method,gain\ncwd,1.0\n")
    write_text(new / "share.csv", f"class,share,run_id\ncar,20,{'r' * 50}\na|b,30,x\n")
    write_text(new / "long.csv", "x\n" + "1\n" * 30)
    (new / "gains.png").write_bytes(b"png")
    (new / "gains.pdf").write_bytes(b"pdf")
    names = ("share.csv", "gains.md", "gains.csv", "students.md", "long.csv")
    for name in (*names, "gains.png", "gains.pdf"):
        caption = f"About {name}. {NOTE} More."
        record_artifact(new / name, caption=caption, alt="A [plot].", runs=[], parameters={})
    write_text(new / "FINDINGS.md", "**Asked:** is it better?\n")
    write_text(tmp_path / "FINDINGS.md", "# Results\n\nRead this first.\n")
    entry = {"caption": "Old.", "alt": "", "runs": [], "labkit": "0.1.0"}
    entry["parameters"] = {"matrix": "a_b.yaml"}
    write_text(old / "students.md", "There is no such row.\n\n* note\n")
    write_text(old / "records" / "run.json", "{}")
    names = ("students.md", "here.png", "predictions.png", "../outside.csv", ".hidden.csv")
    (old / "here.png").write_bytes(b"not for the repository")
    files = dict.fromkeys(names, entry)
    write_json(old / "MANIFEST.json", {"made_by": FORMAT, "files": files, "records": []})
    return tmp_path


def test_sections_hold_findings_tables_and_figures_with_captions(figures):
    text = readme(figures)
    assert text.index("# Results\n\nRead this first.") < text.index("## streets")
    section = text[text.index("## streets") : text.index("## camvid/study")]
    assert "**Asked:** is it better?" in section
    assert "**Gains** ([gains.md](streets/gains.md))\n\n| method | gain |" in section
    assert "gains.csv" not in section  # its Markdown table is shown
    assert "| class | share |\n|---|---|\n| car | 20 |\n| a\\|b | 30 |" in section
    assert "**Long** ([long.csv](streets/long.csv)): About long.csv." in section
    assert "| 1 |" not in section
    figure = "![A \\[plot\\].](streets/gains.png)\n\n*gains*: About gains.png. More. "
    assert f"{figure}([PDF](streets/gains.pdf))" in section
    assert section.index("**Gains**") < section.index("**Long**") < section.index("**Share**")


def test_a_note_stands_once_in_a_section(figures):
    section = readme(figures).split("## streets")[1].split("## camvid/study")[0]
    assert section.count(NOTE) == 1
    assert f"| cwd |\n\n* Own.\n* {NOTE}\n\n**Gains**" in section
    assert "| cwd | +1.0 |\n\n**Long**" in section


def test_absent_pictures_are_named_and_another_version_too(figures):
    text = readme(figures)
    old = text[text.index("## camvid/study") :]
    assert "no such row" not in old
    assert "Matrix: a\\_b.yaml. Run records (1)" in old
    assert "files made by labkit 0.1.0" in old
    assert "Pictures that are not in the repository: here.png, predictions.png." in old


def test_names_that_leave_the_folder_are_left_out(figures):
    entries = manifest_entries(figures / "camvid" / "study")
    assert list(entries) == ["students.md", "here.png", "predictions.png"]


def test_the_same_files_give_the_same_bytes(figures):
    first = write_readme(figures).read_bytes()
    assert write_readme(figures).read_bytes() == first


def test_a_missing_folder_is_named_without_a_traceback(tmp_path, capsys):
    assert main([str(tmp_path / "nothing_here")]) == 1
    assert "nothing_here: no such folder" in capsys.readouterr().err


def test_the_committed_page_is_made_from_the_committed_files():
    figures = project_root() / "figures"
    committed = (figures / "README.md").read_text(encoding="utf-8")
    assert committed == readme(figures), "run python -m labkit.study.readme"
