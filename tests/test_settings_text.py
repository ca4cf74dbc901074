import subprocess
import sys

import pytest

from labkit.errors import SettingsError
from labkit.settings import parse_overrides, parse_sets


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("", {}),
        ("  ", {}),
        ("batch_size=16, learning_rate=0.01", {"batch_size": "16", "learning_rate": "0.01"}),
        ("pixel_stds=0, 0.5, 1, seed=3", {"pixel_stds": "0, 0.5, 1", "seed": "3"}),
        (
            "cwd.temperature = 2,distillation=cwd:3+kd",
            {"cwd.temperature": "2", "distillation": "cwd:3+kd"},
        ),
        ("data_root=/a=b", {"data_root": "/a=b"}),
    ],
)
def test_overrides(text, values):
    assert parse_overrides(text) == values


def test_every_fault_of_a_list_is_listed():
    with pytest.raises(SettingsError) as caught:
        parse_sets(["seed=1", "batch_size", "=3", "seed=2", "x" * 100_000])
    assert len(str(caught.value).splitlines()) == 4
    assert "setting seed: is given twice" in str(caught.value)
    assert len(str(caught.value)) < 600


def test_settings_and_their_table_import_no_torch():
    code = "import sys, labkit.settings as s; s.settings_table('teacher')"
    code += "; print('torch' in sys.modules)"
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert answer.stdout == "False\n"
