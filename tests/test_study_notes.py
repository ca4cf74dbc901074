"""What is said below tables and in short."""

import pytest

from labkit.study.build import study_tables
from labkit.study.rows import Study
from tests.small_study import DRAWS, small_study


@pytest.fixture
def study(tmp_path):
    return small_study(tmp_path)


def test_one_seed_says_so_in_words_and_has_no_deviation(study):
    alone, plain = (row._replace(runs={0: row.runs[0]}) for row in study.students[:2])
    single = study_tables(Study("", [], [alone, plain]), draws=DRAWS)
    assert "| nobody | alone | 1 | 60.00 | 60.00 |" in single.markdown("students")
    assert "One seed" in single.markdown("gains")
    assert "One seed" in single.margins()
    assert "One seed" not in study_tables(study, draws=DRAWS).margins()


def test_teachers_that_differ_in_noise_are_told_apart_in_words(study):
    (plain, assisted), noises = study.teachers, ("class_std=1", "class_std=3")
    rows = [assisted._replace(labels=assisted.labels | {"noise": noise}) for noise in noises]
    text = study_tables(Study("", [plain, *rows], []), draws=DRAWS).margins()
    assert all(f"assisted, {noise}" in text.replace("\\_", "_") for noise in noises)
