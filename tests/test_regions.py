"""Counts near boundaries and inside, of runs that were really trained."""

import numpy as np
import pytest
import torch

from labkit import experiments, studies
from labkit.files import write_json
from labkit.metrics import scores_from_confusion
from labkit.records import RecordError
from labkit.studies import Row, Study, regions
from tests.test_engine import student, teacher


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A complete student alone."""
    experiment = student(tmp_path_factory.mktemp("runs"), train_steps=2)
    experiments.fit(experiment)
    return experiment.run


def miou(counts):
    return scores_from_confusion(torch.from_numpy(counts.sum(0))).miou


def test_both_regions_together_score_what_the_record_says(run):
    found = studies.region_confusions(run, boundary_width=2)
    assert found.whole.shape == (4, 8, 8)
    assert round(miou(found.whole), 3) == run.metrics()["readings"]["image"]["miou"]
    assert min(found.boundary.sum(), found.interior.sum()) > 0


def test_counts_are_kept_until_checkpoint_or_width_change(run, monkeypatch):
    first = studies.region_confusions(run, boundary_width=2)
    wider = studies.region_confusions(run, boundary_width=4)
    assert wider.boundary.sum() > first.boundary.sum()
    np.testing.assert_array_equal(wider.whole, first.whole)
    monkeypatch.setattr(regions, "load_experiment", lambda *_, **__: pytest.fail("counted again"))
    row = Row(dict.fromkeys(studies.LABELS, ""), {0: run, 1: None})
    kept = studies.measure(Study("s", [], [row, row], []), boundary_width=4)[run.run_id]
    np.testing.assert_array_equal(kept.boundary, wider.boundary)
    monkeypatch.setattr(type(run), "checkpoint_hash", lambda _: "another")
    with pytest.raises(pytest.fail.Exception, match="counted again"):
        studies.region_confusions(run, boundary_width=4)


def test_a_run_that_reads_its_label_or_was_scored_on_other_frames_is_refused(tmp_path):
    assisted, other = teacher(tmp_path, train_steps=1), student(tmp_path, train_steps=1)
    for experiment in (assisted, other):
        experiments.fit(experiment)
    with pytest.raises(RecordError, match="reads a label"):
        studies.region_confusions(assisted.run, boundary_width=2)
    write_json(other.run.folder / "metrics.json", {"readings": {"image": {"miou": 99.0}}})
    with pytest.raises(RecordError, match=r"its record says 99.00. The frames are not those"):
        studies.region_confusions(other.run, boundary_width=2)
