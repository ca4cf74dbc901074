"""`labkit distillers` lists them, and `calibrate` proposes the weights a run would measure."""

import pytest

from labkit.batch.distillers import calibration_lines, distiller_lines
from labkit.distillers import available, distiller_settings
from labkit.errors import SettingsError
from labkit.training.fit import fit
from tests.training import SMALL, student, teacher, tiny_networks  # noqa: F401


@pytest.fixture(scope="module")
def taught_by(tmp_path_factory):
    """A complete plain teacher."""
    experiment = teacher(tmp_path_factory.mktemp("runs"), assisted=False, train_steps=2)
    fit(experiment)
    return experiment.run


def rows_of(lines):
    """First word of a line -> the others."""
    return {words[0]: words[1:] for words in (line.split() for line in lines)}


def test_every_distiller_has_a_line_with_its_weight_and_what_it_compares():
    lines = list(distiller_lines())
    rows = rows_of(lines[: len(available()) + 1])
    for name in available():
        assert str(distiller_settings(name)["weight"]) in rows[name]
    assert "  cwd: weight=3.0, temperature=4.0, stride=1, void=True" in lines
    assert rows["cwd"][:2] == ["logits", "logits"]
    assert " ".join(rows["at"]).startswith("features encoder stage -1 1.22 Compares where")


def test_proposed_weights_are_those_a_run_measures(taught_by):
    runs = taught_by.folder.parent
    values = SMALL | {"teacher": taught_by.run_id, "runs": str(runs)}
    before = sorted(runs.iterdir())
    all_rows = rows_of(calibration_lines(values))
    assert all_rows.keys() >= set(available())
    measured = student(runs, teacher=taught_by.run_id, distillation="at:calibrated").distiller
    rows = rows_of(calibration_lines(values | {"distillation": "at:9+kd", "kd.weight": "2"}))
    assert rows.keys() & set(available()) == {"at", "kd"}
    assert rows["at"] == all_rows["at"]
    assert float(rows["at"][-1]) == measured.weights["at"]
    assert sorted(runs.iterdir()) == before


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, "no teacher"),
        ({"teacher": "RUN", "distillation": "cwdd"}, "did you mean cwd"),
        ({"teacher": "RUN", "distillation": "at", "at.stage": "0"}, "give its weight as a number"),
        ({"teacher": "RUN", "distillation": "at", "cwd.temperature": "1"}, "cwd.temperature"),
    ],
)
def test_what_cannot_be_calibrated_is_refused(taught_by, values, words):
    values = SMALL | {"runs": str(taught_by.folder.parent)} | values
    if "teacher" in values:
        values["teacher"] = taught_by.run_id
    with pytest.raises(SettingsError, match=words):
        list(calibration_lines(values))
