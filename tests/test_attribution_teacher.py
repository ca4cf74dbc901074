"""What a trained teacher uses, over frames and splits: known networks give known shares, and every
table holds what it claims.
"""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from labkit.attribution import (
    BranchMaps,
    NoisedMaps,
    branch_layercam,
    branch_shapley,
    captions,
    estimates,
    frames,
    report,
    share_of,
)
from labkit.attribution.estimates import ALL_CLASSES, label_share_estimates
from labkit.attribution.noise_sweep import noise_sweep
from labkit.attribution.request import (
    Request,
    altered,
    labelled_batches,
    measured_means,
    noised_labels,
    scoring_batch,
    spread_index,
)
from labkit.attribution.sanity import sanity_steps, steps_table
from labkit.datasets import Sample
from labkit.errors import DataError, RecordError
from labkit.method import Counts, count_pixels, scores_from_counts
from labkit.settings import AttributionSettings
from labkit.training.fit import fit
from labkit.training.predict import label_size_logits, noise_by_frame
from tests.training import student, teacher

ROAD = 0  # of streets: in every frame


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """An assisted teacher after a few steps, scored on frames that are smaller than their labels."""
    experiment = teacher(tmp_path_factory.mktemp("runs"), train_steps=2, score_size="45x80")
    fit(experiment)
    return experiment


class WithSplit:
    """A split in which some frames are replaced."""

    def __init__(self, split, frames):
        self.split, self.frames = split, frames

    def __len__(self):
        return len(self.split)

    def __getitem__(self, index):
        return self.frames.get(index) or self.split[index]

    def size(self, index):
        return tuple(self[index].target.shape)

    def frame_name(self, index):
        return self.split.frame_name(index)


def with_val_split(experiment, split):
    other = altered(experiment)
    vars(other)["val_split"] = split
    return other


# frames


def test_frames_hold_the_class_and_are_spread_evenly():
    labelled = np.zeros((10, 3), dtype=np.int64)
    labelled[:, 0], labelled[::2, 2] = 97, 3
    assert frames.choose_frames(labelled, category=2, count=5) == [0, 2, 4, 6, 8]
    assert frames.choose_frames(labelled, category=2, count=1) == [4]
    assert frames.choose_frames(labelled, category=2, count=99) == [0, 2, 4, 6, 8]
    with pytest.raises(DataError, match="another class"):
        frames.choose_frames(labelled, category=1, count=1)


def test_the_run_s_record_gives_the_frames_that_the_labels_give(fitted):
    labelled = frames.class_pixels(fitted.val_split, 8)
    for category in (0, 2):
        expected = frames.choose_frames(labelled, category=category, count=3)
        assert frames.run_frames(fitted, category=category, count=3) == expected


def test_maps_are_at_the_stem_s_stride_and_absent_classes_are_flagged(fitted):
    for category in range(8):
        request = Request(noisings=2)
        for one in frames.frame_maps(fitted, [0, 2], category=category, request=request):
            assert one.maps.present.all() or not one.region.any()
            assert bool(one.image_map.isnan().all()) == (not one.maps.present[0])
            assert np.isnan(one.share) == (not one.maps.present[0])
            assert one.image.shape == (3, 45, 80)
            assert one.outline.shape == one.region.shape == (45, 80)
            assert one.image_map.shape == one.label_map.shape == (23, 40)
            assert one.noised.share.shape == (2, 1)


def test_frames_of_other_sizes_are_explained_too(fitted):
    image, target = fitted.val_split[1]
    tall = Sample(image.transpose(1, 2).contiguous(), target.T.contiguous())
    other = replace(
        fitted,
        run=replace(
            fitted.run, settings=fitted.settings.model_copy(update={"score_size": "native"})
        ),
    )
    other = with_val_split(other, WithSplit(fitted.val_split, {1: tall}))
    request = Request(region="true")
    maps = frames.frame_maps(other, [0, 1, 2], category=ROAD, request=request)
    assert [one.image_map.shape for one in maps] == [(32, 64), (64, 32), (32, 64)]
    assert [len(batch.images) for batch in labelled_batches(other, other.val_split, range(4))] == [
        1,
        1,
        2,
    ]
    assert (
        label_share_estimates(other, other.val_split, frames=0, request=request).frames.iloc[-1]
        == 4
    )


def test_noisings_follow_from_the_seed_and_differ(fitted):
    batch = scoring_batch(fitted, fitted.val_split, [0, 2])
    channels = noised_labels(fitted, batch, Request(seed=5, noisings=2))
    for seed, channel in zip((5, 6), channels, strict=True):
        assert torch.equal(
            channel, noise_by_frame(fitted.noising, batch.label, batch.index, seed=seed)
        )
    assert not torch.equal(*channels)
    assert len(noised_labels(fitted, batch, Request(noisings=2), count=1)) == 1


@pytest.mark.parametrize("layer", ["folded", "raw"])
def test_contribution_adds_up_at_sizes_the_network_must_pad(fitted, layer):
    request = Request(layer=layer, region="true")
    (one,) = frames.frame_maps(fitted, [0], category=ROAD, request=request)
    maps = one.maps
    torch.testing.assert_close(
        maps.image_signed + maps.label_signed, maps.joint_signed, rtol=1e-4, atol=1e-7
    )
    layers = frames.default_layers(fitted)
    (joint,) = frames.joint_maps(fitted, [0], category=ROAD, layers=layers, request=request)
    assert joint.combined.shape == (1, 45, 80)
    assert 0 <= joint.combined.min() <= joint.combined.max() <= 1
    assert joint.strides[layers[0]] == 2
    assert layers[0] == "encoder.model.conv_stem"
    assert layers[-1].startswith("decoder.")


def test_the_library_scales_each_map_by_itself(fitted):
    request = Request(layer="raw", region="true")
    (library,) = frames.library_maps(fitted, [0], category=ROAD, request=request)
    assert library["image"].shape == (45, 80)
    assert library["image"].max() == pytest.approx(1, abs=1e-3)
    image, target = fitted.val_split[0]
    roads = WithSplit(fitted.val_split, {0: Sample(image, 0 * target)})
    (nothing,) = frames.library_maps(
        with_val_split(fitted, roads), [0], category=1, request=request
    )
    assert np.isnan(nothing["label"]).all()


def frame_of(image, label, region):
    maps = BranchMaps(
        image, label, image, label, image + label, torch.zeros(1), torch.ones(1).bool()
    )
    noised = NoisedMaps(maps, image, label, torch.ones(1, 1))
    return frames.FrameMaps("frame", torch.zeros(3, 2, 4), region, region, noised)


def test_shares_inside_and_outside_the_region_of_hand_made_maps():
    image, label = (
        torch.tensor([[[3.0, 1.0]], [[0.0, 2.0]]]),
        torch.tensor([[[1.0, 1.0]], [[0.0, 2.0]]]),
    )
    region = torch.tensor(
        [[[False, True, False, False]], [[True, False, False, False]]]
    )  # at twice the maps' size
    table = frames.share_by_location(
        [frame_of(image[i : i + 1], label[i : i + 1], region[i]) for i in (0, 1)]
    )
    assert table.whole.tolist() == pytest.approx([100 / 3, 50])
    assert table.inside.tolist() == pytest.approx([25, np.nan], nan_ok=True)
    assert table.outside.tolist() == pytest.approx([50, 50])
    assert table.evidence_outside.tolist() == pytest.approx([100 / 3, 100])


# estimates over a split


def test_the_table_of_estimates_is_what_it_says(fitted):
    """Against each method applied frame by frame."""
    request = Request(noisings=2, seed=3)
    table = label_share_estimates(fitted, fitted.val_split, frames=0, request=request)
    assert list(table["class"]) == [*fitted.info.class_names, ALL_CLASSES]
    means = measured_means(fitted, request)
    sums = torch.zeros(4, 2, 8)
    for i in range(len(fitted.val_split)):
        batch = scoring_batch(fitted, fitted.val_split, [i])
        for number, channel in enumerate(noised_labels(fitted, batch, request)):
            maps = branch_layercam(
                fitted.network, batch.images, channel, category=range(8), means=means
            )
            shapley = branch_shapley(fitted.network, batch.images, channel, category=range(8))
            parts = (
                maps.image.sum((2, 3)),
                maps.label.sum((2, 3)),
                shapley.image.abs(),
                shapley.label.abs(),
            )
            sums[:, number] += torch.stack([part[0].nan_to_num() for part in parts])
    rows = table.iloc[:-1]
    np.testing.assert_allclose(
        rows.layercam, 100 * share_of(sums[1].sum(0), sums[0].sum(0)), rtol=1e-3
    )
    np.testing.assert_allclose(
        rows.shapley, 100 * share_of(sums[3].sum(0), sums[2].sum(0)), rtol=1e-3
    )
    np.testing.assert_allclose(
        rows.layercam_std, (100 * share_of(sums[1], sums[0])).std(0), rtol=1e-2, atol=1e-3
    )
    assert (rows.absent == rows[["layercam", "shapley"]].isna().all(axis=1)).all()
    assert not set(rows["class"][rows.absent]) & set(rows["class"][rows.frames > 0])
    assert table.frames.iloc[-1] == len(fitted.val_split), "all frames, not the most of a class"


def test_removal_uses_the_readings_it_names_at_the_label_s_size(fitted):
    table = label_share_estimates(fitted, fitted.val_split, frames=0, request=Request()).set_index(
        "class"
    )
    names = ("true_label", "foreign_label", "zero_label", "blank_image")
    counts = {name: torch.zeros(3, 8, dtype=torch.int64) for name in names}
    for i in range(len(fitted.val_split)):
        batch = scoring_batch(fitted, fitted.val_split, [i], foreign=True)
        true, foreign = (
            noise_by_frame(fitted.noising, label, batch.index, seed=0)
            for label in (batch.label, batch.foreign_label)
        )
        inputs = {"true_label": (batch.images, true), "foreign_label": (batch.images, foreign),
                  "zero_label": (batch.images, 0 * true), "blank_image": (0 * batch.images, true)}  # fmt: skip
        for name, parts in inputs.items():
            with torch.no_grad():
                outputs = fitted.network(torch.cat(parts, 1))
            logits = label_size_logits(
                outputs.logits, outputs.stride, image_size=(45, 80), label_size=(64, 128)
            )
            counted = count_pixels(logits.argmax(1), batch.target, num_classes=8)
            counts[name] += torch.stack([part[0] for part in counted])
    miou = {name: scores_from_counts(Counts(*count)).miou for name, count in counts.items()}
    for name, score in miou.items():
        assert table.loc[ALL_CLASSES, f"iou_{name}"] == pytest.approx(score, abs=1e-3)
    assert len({tuple(count.flatten().tolist()) for count in counts.values()}) > 1
    drops = [max(miou["true_label"] - miou[name], 0) for name in ("zero_label", "blank_image")]
    expected = 100 * drops[0] / sum(drops) if sum(drops) else np.nan
    assert table.loc[ALL_CLASSES, "removal"] == pytest.approx(expected, nan_ok=True)


def test_removal_shares_of_hand_made_scores():
    ones = Counts(*(torch.ones(3, dtype=torch.int64),) * 3)
    iou = {
        "true_label": [80.0, 50.0, 50.0],
        "zero_label": [60.0, 70.0, 50.0],
        "blank_image": [20.0, 10.0, 60.0],
    }
    scores = {name: scores_from_counts(ones)._replace(iou=values) for name, values in iou.items()}
    assert estimates.removal_share(scores, "iou").tolist() == pytest.approx(
        [25.0, 0.0, np.nan], nan_ok=True
    )


def test_rank_correlation_is_over_the_classes_with_all_three_estimates():
    table = pd.DataFrame(
        {"layercam": [1.0, 2, 3, np.nan], "shapley": [10.0, 20, 30, 5], "removal": [3.0, 2, 1, 0]}
    )
    ranks = estimates.rank_correlations(table)
    assert ranks["rank_n"] == 3
    pairs = ("layercam_shapley", "layercam_removal", "shapley_removal")
    assert [ranks[f"rank_{pair}"] for pair in pairs] == pytest.approx([1, -1, -1])
    assert np.isnan(estimates.rank_correlations(table.iloc[:1])["rank_layercam_shapley"])


def test_void_frames_are_left_out_and_subsets_are_spread(fitted):
    image, target = fitted.val_split[1]
    void = WithSplit(fitted.val_split, {1: Sample(image, torch.full_like(target, 255))})
    assert [int(i) for batch in labelled_batches(fitted, void, range(4)) for i in batch.index] == [
        0,
        2,
        3,
    ]
    assert spread_index(2, 8) == [2, 6]
    assert spread_index(0, 3) == spread_index(9, 3) == [0, 1, 2]
    assert label_share_estimates(fitted, void, frames=0, request=Request()).frames.iloc[-1] == 3


def test_the_noise_sweep_marks_the_training_s_own_value(fitted):
    table = noise_sweep(
        fitted,
        fitted.val_split,
        pixel_stds=[0.5],
        label_scales=[0, 6],
        frames=2,
        request=Request(layer="raw"),
    )
    assert list(table.varied) == ["pixel_std"] * 2 + ["label_scale"] * 3
    scale = fitted.settings.label_scale
    assert table[table.trained][["varied", "value"]].values.tolist() == [
        ["pixel_std", 0.03],
        ["label_scale", scale],
    ]
    silent = table[(table.varied == "label_scale") & (table.value == 0)].iloc[0]
    assert silent.reliance == silent.label_gain == silent.shapley == 0
    assert table[table.trained].miou_true_label.nunique() == 1
    np.testing.assert_allclose(table.reliance, table.miou_true_label - table.miou_foreign_label)


def test_sanity_starts_from_the_trained_maps(fitted):
    steps = sanity_steps(fitted, [0, 1], category=ROAD, request=Request(layer="raw"), seed=0)
    weights, label = (
        [step for step in steps if step.kind == kind] for kind in ("weights", "label")
    )
    assert weights[0][4:] == label[0][4:] == pytest.approx((1, 1))
    assert weights[-1].name == "encoder.model.conv_stem"
    assert weights[-1].image < 0.9
    permuted = [f"{share}% permuted" for share in (10, 25, 50, 100)]
    assert [step.name for step in label] == ["true label", *permuted, "foreign label"]
    assert list(steps_table(steps).columns) == ["kind", "step", "image", "label"]


def test_integrated_gradients_come_with_their_error(fitted):
    table = frames.gradient_table(
        fitted, [0, 3], category=ROAD, request=Request(region="true"), steps=4
    )
    assert list(table.columns) == [
        "frame",
        "image",
        "label",
        "label_share",
        "difference",
        "error",
        "error_percent",
    ]
    assert list(table.frame) == [fitted.val_split.frame_name(i) for i in (0, 3)]
    np.testing.assert_allclose(table.error, table.image + table.label - table.difference, atol=1e-5)


# captions and reports


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
        runs=str(fitted.run.folder.parent), category="road", frames=2, noisings=1, device="cpu", threads=1,
        split_frames=2, curve_frames=2, pixel_stds="0.5", label_scales="0", gradient_steps=2, attribution_layer="raw",
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
    import json

    import matplotlib.pyplot as plt

    from labkit import plots

    one = getattr(report, made)(subject)
    figure = one.save(tmp_path, getattr(plots, draw) if draw else None)
    assert (figure is None) == (draw is None)
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
