"""Frames chosen by the rule, and maps of one class on them, of any sizes."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from labkit.attribution import BranchMaps, NoisedMaps, compare, frames
from labkit.attribution.estimates import label_share_estimates
from labkit.attribution.request import Request, labelled_batches, noised_labels, scoring_batch
from labkit.datasets import Sample
from labkit.errors import DataError
from labkit.training.predict import noise_by_frame
from tests.trained_teacher import ROAD, WithSplit, trained_teacher, with_val_split


@pytest.fixture(scope="module")
def fitted():
    return trained_teacher()


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
    layers = compare.default_layers(fitted)
    (joint,) = compare.joint_maps(fitted, [0], category=ROAD, layers=layers, request=request)
    assert joint.combined.shape == (1, 45, 80)
    assert 0 <= joint.combined.min() <= joint.combined.max() <= 1
    assert joint.strides[layers[0]] == 2
    assert layers[0] == "encoder.model.conv_stem"
    assert layers[-1].startswith("decoder.")


def test_the_library_scales_each_map_by_itself(fitted):
    request = Request(layer="raw", region="true")
    (library,) = compare.library_maps(fitted, [0], category=ROAD, request=request)
    assert library["image"].shape == (45, 80)
    assert library["image"].max() == pytest.approx(1, abs=1e-3)
    image, target = fitted.val_split[0]
    roads = WithSplit(fitted.val_split, {0: Sample(image, 0 * target)})
    (nothing,) = compare.library_maps(
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
