import csv
import io

import pytest

from labkit.records import csv_text, figure_text, markdown_text, terminal_text


def test_a_terminal_gets_no_control_character():
    text = terminal_text("a\x1b[2Jb\nc\r\u202ed\udc80")
    assert text.isprintable()
    assert text == "a\\x1b[2Jb\\nc\\r\\u202ed\\udc80"
    assert terminal_text("Zürich, 3 %") == "Zürich, 3 %"


def test_markdown_shows_a_name_as_it_is():
    text = markdown_text("a|b\n<script>alert(1)</script> [x](http://y) `c` $d$")
    assert "\n" not in text
    assert "<" not in text
    assert text.replace("\\|", "").count("|") == 0
    assert "\\[x\\]" in text
    assert "\\$d\\$" in text


@pytest.mark.parametrize("name", ["=1+1", "+cmd|x", "-2+3", "@SUM(A1)", "\t=1", "\r=1", " =1"])
def test_a_spreadsheet_computes_no_name(name):
    assert csv_text(name).startswith("'")


@pytest.mark.parametrize("value", ["-1.5", "+0.9", "-1e-05", "12", "car", "", 3.5, -2])
def test_numbers_and_names_stay(value):
    assert csv_text(value) == str(value)


def test_a_csv_cell_with_a_newline_stays_one_row():
    text = io.StringIO()
    csv.writer(text).writerow([csv_text('a\nb,"c"')])
    assert text.getvalue().count("\n") == 1


def test_a_figure_draws_no_mathtext():
    assert figure_text("$\\frac{1}$") == "\\$\\\\frac{1}\\$"
