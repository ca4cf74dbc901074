"""Captions name what was done, and every report saves its figure, table and caption in one call."""

import json
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from labkit import plots
from labkit.attribution import captions, frames, report
from labkit.attribution.estimates import ALL_CLASSES
from labkit.attribution.hero import hero_report, save_hero
from labkit.attribution.request import Request
from labkit.errors import RecordError
from labkit.settings import AttributionSettings
from labkit.training.fit import fit
from tests.trained_teacher import ROAD, trained_teacher
from tests.training import student


@pytest.fixture(scope="module")
def fitted():
    return trained_teacher()


def test_captions_name_run_noise_frames_and_limit(fitted):
    request = Request(noisings=3, seed=2, layer="raw")
    maps = frames.frame_maps(fitted, [1], category=ROAD, request=request)
    text = captions.maps_caption(fitted, request, maps, category="road", limit=0.1234)
    scale = f"label scale {fitted.settings.label_scale:g}"
    for fact in (
        fitted.run.run_id,
        scale,
        "pixel std 0.03",
        maps[0].name,
        "0.123 logits",
        "seeds 2-4",
        "at least 3%",
    ):
        assert fact in text
    assert "class std 1," in text
    ramp = replace(fitted, noising=replace(fitted.noising, class_codes="fixed"))
    assert "the fixed ramp of class codes, pixel std 0.03" in captions.teacher_caption(ramp)


def test_the_summary_states_differences_as_they_are():
    names = ["road", "pole", "car", "fence", ALL_CLASSES]
    shares = {
        "layercam": [20.0, 30, 25, np.nan, 22],
        "shapley": [25.0, 70, 26, np.nan, 24],
        "removal": [10.0, 60, 24, np.nan, 17],
    }
    ranks = {
        name: [np.nan] * 4 + [0.5]
        for name in ("rank_layercam_shapley", "rank_layercam_removal", "rank_shapley_removal")
    }
    facts = {"absent": [False, False, False, True, False], "iou_true_label": [80.0, 0.4, 70, 0, 50]}
    text = captions.summary(pd.DataFrame({"class": names, **shares, **ranks, **facts}))
    assert (
        "**22 %** by LayerCAM at the stem, **24 %** by Shapley values and **17 %** by removal"
        in text
    )
    assert "differ most on **pole**: LayerCAM 30 %, Shapley 70 %, removal 60 %" in text
    assert "differ least on **car**" in text
    assert "means little for pole:" in text
    assert "No map for fence" in text


@pytest.fixture
def subject(fitted):
    settings = AttributionSettings(
        runs=str(fitted.run.folder.parent), category="road", frames=2, noisings=1,
        device="cpu", threads=1,
        split_frames=2, curve_frames=2, pixel_stds="0.5", label_scales="0", gradient_steps=2,
        attribution_layer="raw",
    )  # fmt: skip
    return report.open_subject(settings)


@pytest.mark.parametrize(
    ("made", "draw", "table"),
    [
        ("maps_report", "contribution_figure", True),
        ("library_report", "library_figure", False),
        ("layers_report", "layers_figure", False),
        ("estimates_report", "label_share_figure", True),
        ("gradients_report", None, True),
        ("sweep_report", "noise_sweep_figure", True),
        ("sanity_report", "sanity_figure", True),
    ],
)
def test_every_report_saves_figure_table_and_caption_in_one_call(
    subject, tmp_path, made, draw, table
):
    one = getattr(report, made)(subject)
    path = one.save(tmp_path, getattr(plots, draw) if draw else None)
    assert path.suffix == (".png" if draw else ".csv")
    plt.close("all")
    names = {path.name for path in tmp_path.iterdir()}
    wanted = {f"{one.name}.csv"} if table else set()
    wanted |= {f"{one.name}.png", f"{one.name}.pdf"} if draw else set()
    assert wanted <= names
    entries = json.loads((tmp_path / "MANIFEST.json").read_text(encoding="utf-8"))
    assert one.caption in json.dumps(entries, ensure_ascii=False)
    assert subject.experiment.run.run_id in one.caption


def test_raw_maps_are_kept_in_the_run_s_folder(subject, tmp_path):
    one = report.maps_report(subject)
    one.save(tmp_path)
    with np.load(subject.experiment.run.folder / "attribution" / "contribution_road.npz") as kept:
        assert kept["frames"].tolist() == subject.frame_names
        np.testing.assert_array_equal(kept["0.label"], one.figure["label_maps"][0].numpy())


def test_a_teacher_is_found_or_named(fitted, tmp_path):
    runs = str(fitted.run.folder.parent)
    assert report.find_teacher(AttributionSettings(runs=runs)).run_id == fitted.run.run_id
    with pytest.raises(RecordError, match="no complete assisted teacher"):
        report.find_teacher(AttributionSettings(runs=str(tmp_path)))
    alone = student(tmp_path, train_steps=1)
    fit(alone)
    with pytest.raises(RecordError, match="expected an assisted teacher"):
        report.find_teacher(AttributionSettings(runs=str(tmp_path), teacher=alone.run.run_id))
    other = AttributionSettings(runs=runs, teacher=fitted.run.run_id, dataset="camvid")
    with pytest.raises(RecordError, match=r"data set streets; expected camvid\. .*dataset=streets"):
        report.find_teacher(other)


def test_a_class_name_stays_inside_the_figures_folder(subject):
    assert subject.report("contribution_../bus stop", caption="").name == "contribution_.._bus stop"


def test_the_hero_shows_a_teacher_with_and_without_its_label_and_its_student(fitted, tmp_path):
    runs = str(fitted.run.folder.parent)
    pupil = student(runs, train_steps=1, teacher=fitted.run.run_id)
    fit(pupil)
    hero = hero_report(pupil.run, category="road")
    assert list(hero.figure["predictions"]) == [
        "teacher, with label",
        "teacher, empty label",
        "its student",
    ]
    assert {tuple(ids.shape) for ids in hero.figure["predictions"].values()} == {(64, 128)}
    options = {"category": "road", "parameters": {}}
    shown = {"plain": fitted.run, "pupil": pupil.run}
    assert save_hero(shown, tmp_path, plots.hero_figure, **options) == "hero.png"
    assert "not drawn" in save_hero({}, tmp_path, plots.hero_figure, **options)
    plt.close("all")
    alone = student(tmp_path / "runs", train_steps=1)
    with pytest.raises(RecordError, match="no assisted teacher"):
        hero_report(alone.run, category="road")
