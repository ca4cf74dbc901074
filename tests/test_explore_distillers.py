"""The distiller explorer: its map, its push and its tables, for every distiller."""

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch

from labkit import plots
from labkit.batch.matrix import read_matrix
from labkit.distillers import available
from labkit.explore import distiller_field, distiller_map, distiller_tables
from labkit.explore.distiller_map import DistillerState, gradient_field, toy_changes
from labkit.settings import DistillersSettings

EACH = pytest.mark.parametrize("name", available())


@EACH
def test_a_step_along_the_push_lowers_the_value(name):
    state = DistillerState(distiller=name)
    field = gradient_field(state)
    assert field.push.shape == (3, 6, 8)
    distiller, teacher = distiller_map.toy_distiller(state), distiller_map.toy_teacher(state)
    step = 1e-4 * field.push / field.push.abs().max()
    moved = distiller_map.toy_outputs((field.student + step)[None])
    after = sum(distiller(moved, teacher, distiller_map.LABEL[None]).values()).item()
    assert after < field.value


@EACH
def test_every_state_is_drawn_with_its_value_and_table(name):
    explorer = distiller_field.distiller(DistillersSettings(distiller=name))
    view = explorer.draw(explorer.state)
    assert len(view.panels) == 5
    assert view.readout[0].startswith(f"{name} = ")
    assert len(view.tables[0].rows) == len(toy_changes(explorer.state))
    assert "labelled void" in view.look(0.99, 0.99)


def test_the_same_state_has_the_same_picture_and_another_temperature_another():
    explorer = distiller_field.distiller(DistillersSettings(distiller="kd"))
    one, again = (explorer.draw(explorer.state) for _ in range(2))
    other = explorer.draw(replace(explorer.state, temperature=4.0))
    assert [panel.content for panel in one.panels] == [panel.content for panel in again.panels]
    assert one.readout[0] != other.readout[0]
    assert explorer.unused(explorer.state) == ()
    assert explorer.unused(replace(explorer.state, distiller="at")) == ("temperature",)


def test_the_student_s_line_holds_the_temperature_of_a_distiller_that_has_one():
    explorer = distiller_field.distiller(DistillersSettings(distiller="kd"))
    lines = [explorer.commands(replace(explorer.state, distiller=name, temperature=2.5))
             ["a student taught by it"] for name in ("kd", "at")]  # fmt: skip
    assert lines[0].endswith("--set distillation=kd --set kd.temperature=2.5")
    assert "temperature" not in lines[1]


def test_a_click_chooses_the_cell_under_it():
    explorer = distiller_field.distiller(DistillersSettings())
    chosen = explorer.choose(explorer.state, 0.999, 0.51)
    assert chosen == {"row": 3, "column": 7}
    assert explorer.point(replace(explorer.state, **chosen)) == ((7.5) / 8, 3.5 / 6)


def test_a_bump_is_pushed_down_and_an_offset_of_a_class_costs_cwd_nothing():
    plain = DistillerState(distiller="kd", noise=0.0, shift=0)
    bumped = replace(plain, row=0, column=0, bump=6.0, bump_class="pole")
    pole = distiller_map.NAMES.index("pole")
    assert gradient_field(bumped).push[pole, 0, 0] < 5 * gradient_field(plain).push[pole].min()
    offset = {"offset": 3.0, "bump_class": "sky"}
    for name, sees in (("cwd", False), ("kd", True)):
        state = replace(plain, distiller=name)
        value, moved = (gradient_field(one).value for one in (state, replace(state, **offset)))
        assert (moved == pytest.approx(value, rel=1e-9)) != sees


@pytest.mark.parametrize(
    ("name", "sums"),
    [("kd", {"classes": 0}), ("dkd", {"classes": 0}), ("cwd", {"positions": 0})],
)
def test_the_push_sums_to_zero_where_a_constant_costs_nothing(name, sums):
    found = distiller_field.push_sums(gradient_field(DistillerState(distiller=name)))
    for over in ("classes", "positions"):
        assert (found[over] < 1e-9) == (over in sums)


def test_the_table_of_changes_has_the_invariances_that_the_docstrings_state():
    table = distiller_tables.changes_table()
    unseen = {name: set(row[row == ""].index) for name, row in table.iterrows()}
    position, channel = (f"student: plus a number per {what}" for what in ("position", "channel"))
    doubled = "student: doubled"
    assert {name for name, unseens in unseen.items() if position in unseens} == {
        "kd", "standardised_kd", "dkd", "dist",
    }  # fmt: skip
    assert {name for name, unseens in unseen.items() if channel in unseens} == {
        "cwd", "pkd",
    }  # fmt: skip
    assert {"at", "ickd", "ifvd", "skd", "cirkd", "pkd"} <= {
        name for name, unseens in unseen.items() if doubled in unseens
    }
    classes = "both: classes in another order"
    assert all(classes in unseens for unseens in unseen.values())


def test_cost_is_measured_and_its_memory_grows_with_the_map():
    table = distiller_tables.cost_table(sizes=((8, 16), (16, 32)))
    assert list(table.index) == available()
    assert (table > 0).all(axis=None)
    assert table.loc["kd", "16 x 32, MB"] == pytest.approx(
        4 * table.loc["kd", "8 x 16, MB"], rel=0.1
    )


def test_gains_come_from_the_matrix_s_table(tmp_path):
    assert distiller_tables.gains_table(tmp_path).empty
    rows = [
        ("kd of plain", "alone", -0.5),
        ("kd of assisted", "alone", 1.25),
        ("kd of assisted", "kd of plain", 9.0),
        ("dist of assisted", "alone", 2.0),
    ]
    pd.DataFrame(rows, columns=["method", "over", "gain"]).to_csv(tmp_path / "gains.csv")
    table = distiller_tables.gains_table(tmp_path)
    assert set(table.index) == {"kd", "dist"}
    assert table.loc["kd"].to_dict() == {"plain": -0.5, "assisted": 1.25}
    assert pd.isna(table.loc["dist", "plain"])


def test_the_matrix_has_both_students_of_every_distiller_by_the_names_that_the_table_reads():
    methods = read_matrix("labkit/batch/matrices/distillers.yaml").methods
    taught = {
        f"{name} of {teacher}": {"teacher": teacher, "distillation": f"{name}:calibrated"}
        for name in available()
        for teacher in distiller_tables.TEACHERS
    }
    assert methods == {"alone": {}} | taught


def test_the_figure_of_gains_leaves_out_runs_that_are_not_there():
    gains = pd.DataFrame({"plain": [0.5, float("nan")], "assisted": [1.0, 2.0]}, ["kd", "dist"])
    figure = plots.teachers_figure(gains)
    figure.canvas.draw()
    drawn = {line.get_label(): line.get_xdata() for line in figure.axes[0].lines}
    np.testing.assert_array_equal(drawn["plain teacher"], [0.5, np.nan])
    np.testing.assert_array_equal(drawn["assisted teacher"], [1, 2])
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == ["kd", "dist"]
    plt.close(figure)


def test_the_map_leaves_randomness_and_gradients_as_they_were():
    before = torch.get_rng_state()
    gradient_field(DistillerState(distiller="mgd"))
    assert torch.equal(before, torch.get_rng_state())
    assert torch.is_grad_enabled()
