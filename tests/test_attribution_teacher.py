"""Estimates of the label share over a split, the noise sweep, sanity checks and gradients of a
teacher.
"""

import numpy as np
import pandas as pd
import pytest
import torch

from labkit.attribution import branch_layercam, branch_shapley, compare, estimates, share_of
from labkit.attribution.estimates import ALL_CLASSES, label_share_estimates
from labkit.attribution.noise_sweep import noise_sweep
from labkit.attribution.request import (
    Request,
    labelled_batches,
    measured_means,
    noised_labels,
    scoring_batch,
    spread_index,
)
from labkit.attribution.sanity import sanity_steps, steps_table
from labkit.datasets import Sample
from labkit.method import Counts, count_pixels, scores_from_counts
from labkit.training.predict import label_size_logits, noise_by_frame
from tests.trained_teacher import ROAD, WithSplit, trained_teacher


@pytest.fixture(scope="module")
def fitted():
    return trained_teacher()


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
                  "zero_label": (batch.images, 0 * true),
                  "blank_image": (0 * batch.images, true)}  # fmt: skip
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
    table = compare.gradient_table(
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
