import pandas as pd
import pytest

from labkit import tables
from labkit.files import write_json
from tests.test_records import finished, planned


def scored(run, **readings):
    finished(run)
    values = {reading: {"miou": miou} for reading, miou in readings.items()}
    write_json(run.folder / "metrics.json", {"readings": values, "split": "val", "steps": run.settings.train_steps})
    run.complete()
    return run


@pytest.fixture
def runs(tmp_path):
    found = []
    for seed, shift in enumerate((0.0, 2.0)):
        plain = scored(planned(tmp_path, method="none", seed=seed), image=60 + shift)
        assisted = scored(planned(tmp_path, seed=seed), true_label=70 + shift, foreign_label=50.0, zero_label=55.0)
        found += [plain, assisted, scored(planned(tmp_path, student=True, seed=seed), image=58.0)]
        found += [scored(planned(tmp_path, teacher=assisted, seed=seed), image=59 + shift)]
    return found


def test_the_table_has_the_columns_asked_for_and_a_row_per_reading(runs):
    table = tables.results_table(runs)
    assert list(table.columns) == tables.COLUMNS
    assert list(table.reads) == ["image", "true_label", "foreign_label", "zero_label", "image", "image"]
    assert list(table.method) == ["none", "lad", "lad", "lad", "none", "lad"]
    assert set(table.n_seeds) == {2}


def test_mean_and_deviation_over_seeds(runs):
    row = tables.results_table(runs).iloc[0]
    assert row.miou_mean == 61
    assert row.miou_std == pytest.approx(2**0.5)  # ddof 1 of 60 and 62


def test_deviation_is_blank_for_one_run(runs):
    table = tables.results_table(runs[:1])
    assert pd.isna(table.miou_std[0])


def test_runs_of_another_recipe_are_not_averaged_in(runs, tmp_path):
    other = scored(planned(tmp_path, method="none", learning_rate=1e-3), image=10.0)
    table = tables.results_table([*runs, other])
    assert sorted(table[(table.role == "teacher") & (table.method == "none")].miou_mean) == [10, 61]


def test_only_students_of_assisted_teachers_have_distill_weights(runs):
    table = tables.results_table(runs)
    assert list(table[table.role == "student"].distill_weights) == ["", "random"]


def test_margins_are_differences_of_the_rows(runs):
    margins = tables.margins_table(tables.results_table(runs)).set_index("comparison").miou
    assert margins["assisted teacher over plain teacher"] == 10
    assert margins["reliance: assisted teacher, true minus foreign label"] == 21
    assert "student of the plain teacher over student alone" not in margins


def test_a_summary_says_how_many_seeds(runs):
    assert "Means over 2 seeds" in tables.summary(tables.results_table(runs))
    assert "One seed" in tables.summary(tables.results_table(runs[:2]))


def test_tables_are_byte_identical_when_rebuilt(runs, tmp_path):
    table = tables.results_table(runs)
    first = [path.read_bytes() for path in tables.write_tables(table, tmp_path / "a", protocol="p")]
    again = [path.read_bytes() for path in tables.write_tables(tables.results_table(runs[::-1]), tmp_path / "b", protocol="p")]
    assert first == again


def test_settings_that_mean_nothing_make_no_row_of_their_own(runs, tmp_path):
    same = scored(planned(tmp_path, student=True, distillation_weight=2), image=58.0)
    alone = tables.results_table([*runs, same]).query("role == 'student' and method == 'none'")
    assert list(alone.n_seeds) == [2]
    assert len(alone.run_ids.iloc[0].split(";")) == 2


def test_a_margin_over_several_recipes_is_left_blank(runs, tmp_path):
    other = scored(planned(tmp_path, method="none", learning_rate=1e-3), image=10.0)
    table = tables.results_table([*runs, other])
    margins = tables.margins_table(table).set_index("comparison").miou
    assert pd.isna(margins["assisted teacher over plain teacher"])
    assert "several recipes" in tables.summary(table)


def test_trials_show_the_settings_in_which_runs_differ(runs, tmp_path):
    other = scored(planned(tmp_path, method="none", learning_rate=1e-3), image=10.0)
    table = tables.trials_table([*runs, other])
    assert len(table) == len(runs) + 1
    assert {"role", "method", "learning_rate", "seed", "teacher", "image", "true_label", "run_id"} <= set(table.columns)
    assert "batch_size" not in table
    assert table.set_index("run_id").loc[other.run_id, "learning_rate"] == 1e-3


def test_trials_tell_teachers_of_the_ramp_from_those_of_drawn_weights(runs, tmp_path):
    fixed = scored(planned(tmp_path, weights="fixed"), true_label=80.0, foreign_label=40.0, zero_label=50.0)
    assert "weights" not in tables.trials_table(runs)
    weights = tables.trials_table([*runs, fixed]).set_index("run_id").weights
    assert weights[fixed.run_id] == "fixed"
    assert weights.dropna().value_counts().to_dict() == {"random": 2, "fixed": 1}


def test_no_runs_make_an_empty_table_with_the_same_columns():
    assert list(tables.results_table([]).columns) == tables.COLUMNS
