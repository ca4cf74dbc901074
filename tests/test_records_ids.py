"""Ids of runs: those of older revisions stay, and settings that came later enter only when set."""

import json

from labkit.records import load_run
from labkit.settings import resolve
from tests.runs import made, planned

OLDER = {  # kind -> hash in the id of its run with default settings, before any later setting
    "assisted": "63e4b00a",
    "plain": "a65f5d68",
    "alone": "b6e76057",
    "of-plain": "0dd1dd1d",
    "of-assisted": "e447900a",
}


def test_runs_of_older_revisions_keep_their_ids(tmp_path):
    assisted, plain = made(tmp_path), made(tmp_path, assisted=False)
    taught = [planned(tmp_path, "student", teacher=teacher) for teacher in (plain, assisted)]
    runs = [assisted, plain, planned(tmp_path, "student"), *taught]
    assert {run.kind: run.run_id.rpartition("-")[2] for run in runs} == OLDER


def test_a_later_setting_is_written_where_it_is_not_the_default(tmp_path, monkeypatch):
    monkeypatch.setattr(resolve, "LATER_FIELDS", {"void_policy"})
    usual, other = made(tmp_path), made(tmp_path, void_policy="zero")
    written = [json.loads((run.folder / "config.json").read_text()) for run in (usual, other)]
    assert ["void_policy" in config["settings"] for config in written] == [False, True]
    loaded = [load_run(run.folder).settings.void_policy for run in (usual, other)]
    assert loaded == ["own", "zero"]


def test_every_later_setting_exists():
    assert resolve.LATER_FIELDS <= resolve.ALL_FIELDS
