"""What a teacher leans on, over frames and splits: known networks give known shares, and every table says what it holds."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F

from labkit import contribution, experiments
from labkit.attribution import BranchMaps, NoisedMaps, branch_layercam, branch_means, branch_shapley, label_share, share_of
from labkit.contribution import EVERY, OPINIONS, Request
from labkit.contribution.opinions import spread_batches
from labkit.datasets import Sample, frames_batch, open_split
from labkit.lnm import LabelNoising
from labkit.metrics import scores_from_confusion
from labkit.products import save_arrays
from labkit.steps import noised_by_frame, predict_with_foreign_label, predict_with_label, predict_with_zero_label
from tests.test_engine import teacher


class FewCars:
    """Ten frames of which the even ones hold 10 % of class 6."""

    def __len__(self):
        return 10

    def __getitem__(self, index):
        target = torch.zeros(10, 10, dtype=torch.int64)
        target[0] = 6 if index % 2 == 0 else 0
        return Sample(torch.zeros(3, 10, 10, dtype=torch.uint8), target)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """An assisted teacher after a few steps on small scenes."""
    experiment = teacher(tmp_path_factory.mktemp("runs"), train_steps=2, val_size=6)
    experiments.fit(experiment)
    return experiment


def test_frames_hold_the_class_and_are_spread_evenly():
    assert contribution.choose_frames(FewCars(), category=6, count=5) == [0, 2, 4, 6, 8]
    assert contribution.choose_frames(FewCars(), category=6, count=1) == [4]
    assert contribution.choose_frames(FewCars(), category=6, count=99) == [0, 2, 4, 6, 8]


def test_a_class_nobody_holds_is_an_error():
    with pytest.raises(ValueError, match="choose another category"):
        contribution.choose_frames(FewCars(), category=3, count=1)


def test_streets_holds_enough_cars_for_the_figures():
    split = open_split("streets", "val", root="", size=20, height=64, width=128)
    assert len(contribution.choose_frames(split, category=6, count=4)) == 4


def test_contribution_is_centred_over_training_images_and_flags_absent_classes(fitted):
    batch = frames_batch(fitted.val_split, fitted.info, [0, 2])
    for category in range(8):
        found = contribution.frame_contribution(fitted, batch, category=category, request=Request(noisings=2))
        held = found.region.flatten(1).any(1)
        assert (found.maps.present | ~held).all()
        assert torch.equal(found.maps.score.isnan(), ~found.maps.present)
        assert torch.equal(found.maps.image.isnan().flatten(1).all(1), ~found.maps.present)
        assert found.noised.share.shape == (2, 2)
        assert found.library["image"].shape == (2, 32, 64)
        assert (torch.from_numpy(found.library["label"]).isnan().flatten(1).all(1) == ~held).all()


def test_noisings_follow_from_the_seed_and_differ(fitted):
    batch = frames_batch(fitted.val_split, fitted.info, [0, 2])
    found = contribution.noised_labels(fitted, batch, Request(seed=5, noisings=2))
    for seed, shown in zip((5, 6), found, strict=True):
        assert torch.equal(shown, noised_by_frame(fitted.noising, batch.target, batch.index, seed=seed))
    assert not torch.equal(*found)
    assert len(contribution.noised_labels(fitted, batch, Request(noisings=2), count=1)) == 1


@pytest.mark.parametrize("layer", ["folded", "raw"])
def test_contribution_works_at_sizes_the_network_must_pad(tmp_path, layer):
    size = {"height": 45, "width": 60, "crop_height": 32, "crop_width": 32}
    experiment = teacher(tmp_path, train_steps=1, **size)
    experiments.fit(experiment)
    batch = frames_batch(experiment.val_split, experiment.info, [0])
    category = experiment.logits("true_label", batch).argmax(1).flatten().mode().values.item()
    request = Request(layer=layer)
    maps = contribution.frame_contribution(experiment, batch, category=category, request=request).maps
    assert maps.image.shape == (1, 23, 30)
    torch.testing.assert_close(maps.image_signed + maps.label_signed, maps.joint_signed, rtol=1e-4, atol=1e-7)
    layers = contribution.default_layers(experiment)
    joint = contribution.deep_contribution(experiment, batch, category=category, layers=layers, request=request)
    assert joint.combined.shape == (1, 45, 60)
    assert 0 <= joint.combined.min() <= joint.combined.max() <= 1


def test_the_table_of_opinions_is_what_it_says(fitted):
    """Against each method asked frame by frame."""
    request = Request(noisings=2, seed=3)
    table = contribution.split_opinions(fitted, fitted.val_split, frames=0, request=request)
    assert list(table["class"]) == [*fitted.info.class_names, EVERY]
    means = contribution.measured_means(fitted, seed=3)
    sums = torch.zeros(4, 2, 8)
    for i in range(len(fitted.val_split)):
        batch = frames_batch(fitted.val_split, fitted.info, [i])
        for number, shown in enumerate(contribution.noised_labels(fitted, batch, request)):
            maps = branch_layercam(fitted.network, batch.images, shown, category=range(8), means=means)
            shapley = branch_shapley(fitted.network, batch.images, shown, category=range(8))
            parts = (maps.image.sum((2, 3)), maps.label.sum((2, 3)), shapley.image.abs(), shapley.label.abs())
            sums[:, number] += torch.stack([part[0].nan_to_num() for part in parts])
    rows = table.iloc[:-1]
    np.testing.assert_allclose(rows.layercam, 100 * share_of(sums[1].sum(0), sums[0].sum(0)), rtol=1e-3)
    np.testing.assert_allclose(rows.shapley, 100 * share_of(sums[3].sum(0), sums[2].sum(0)), rtol=1e-3)
    np.testing.assert_allclose(rows.layercam_std, (100 * share_of(sums[1], sums[0])).std(0), rtol=1e-2, atol=1e-3)
    assert (rows.absent == rows[["layercam", "shapley"]].isna().all(axis=1)).all()
    assert not set(rows["class"][rows.absent]) & set(rows["class"][rows.frames > 0])


def test_removal_reads_what_the_named_predictors_read(fitted):
    table = contribution.split_opinions(fitted, fitted.val_split, frames=0, request=Request()).set_index("class")
    counts = torch.zeros(4, 8, 8, dtype=torch.int64)
    network, noising = fitted.network, fitted.noising
    for batch in spread_batches(fitted, fitted.val_split, 0):
        blank = batch._replace(images=torch.zeros_like(batch.images))
        answers = [
            predict_with_label(network, batch, noising, seed=0), predict_with_foreign_label(network, batch, noising, seed=0),
            predict_with_zero_label(network, batch), predict_with_label(network, blank, noising, seed=0),
        ]  # fmt: skip
        for count, answer in zip(counts, answers, strict=True):
            labelled = batch.target != 255
            pairs = 8 * batch.target[labelled] + answer.argmax(1)[labelled]
            count += torch.bincount(pairs, minlength=64).view(8, 8)
    names = ["iou_true_label", "iou_foreign_label", "iou_zero_label", "iou_blank_image"]
    scores = [scores_from_confusion(count) for count in counts]
    for name, score in zip(names, scores, strict=True):
        assert table.loc[EVERY, name] == pytest.approx(score.miou, abs=1e-3)
    assert len({tuple(count.flatten().tolist()) for count in counts}) == 4, "the four readings must differ for this to say anything"
    true, _, zero, blank = (table.loc[EVERY, name] for name in names)
    drops = max(true - zero, 0), max(true - blank, 0)
    assert table.loc[EVERY, "removal"] == pytest.approx(100 * drops[0] / sum(drops) if sum(drops) else np.nan, nan_ok=True)


def test_removal_shares_of_hand_made_scores():
    scores = {reading: scores_from_confusion(torch.eye(3, dtype=torch.int64)) for reading in ("true_label", "zero_label", "blank_image")}
    for reading, iou in (("true_label", [80.0, 50.0, 50.0]), ("zero_label", [60.0, 70.0, 50.0]), ("blank_image", [20.0, 10.0, 60.0])):
        scores[reading].iou[:] = iou
    assert contribution.removal_share(scores, "iou") == pytest.approx([25.0, 0.0, np.nan], nan_ok=True)


def test_rank_correlation_is_over_the_classes_that_all_three_judge():
    table = pd.DataFrame({"layercam": [1.0, 2, 3, np.nan], "shapley": [10.0, 20, 30, 5], "removal": [3.0, 2, 1, 0]})
    found = contribution.rank_correlations(table)
    assert found["rank_n"] == 3
    assert [found[f"rank_{pair}"] for pair in ("layercam_shapley", "layercam_removal", "shapley_removal")] == pytest.approx([1, -1, -1])


def test_void_frames_are_left_out_and_subsets_are_spread(fitted):
    class WithVoid:
        def __len__(self):
            return len(fitted.val_split)

        def __getitem__(self, index):
            image, target = fitted.val_split[index]
            return Sample(image, torch.full_like(target, 255) if index == 1 else target)

    assert [int(i) for batch in spread_batches(fitted, WithVoid(), 0) for i in batch.index] == [0, 2, 3, 4, 5]
    assert [int(i) for batch in spread_batches(fitted, WithVoid(), 3) for i in batch.index] == [3, 5]
    table = contribution.split_opinions(fitted, WithVoid(), frames=0, request=Request())
    assert table.frames.max() <= 5


def test_reliance_over_noise_marks_the_training_s_own_value(fitted):
    found = contribution.reliance_over_noise(fitted, fitted.val_split, pixel_stds=[0.5], label_scales=[0, 6], frames=4, request=Request())
    assert list(found.varied) == ["pixel_std"] * 2 + ["label_scale"] * 3
    assert found[found.trained][["varied", "value"]].values.tolist() == [["pixel_std", 0.03], ["label_scale", 3.0]]
    silent = found[(found.varied == "label_scale") & (found.value == 0)].iloc[0]
    assert silent.reliance == silent.label_gain == silent.shapley == 0
    trained = found[found.trained]
    assert trained.miou_true_label.nunique() == 1
    np.testing.assert_allclose(found.reliance, found.miou_true_label - found.miou_foreign_label)


def test_sanity_starts_from_the_untouched_maps(fitted):
    index = contribution.choose_frames(fitted.val_split, category=0, count=2)
    steps = contribution.sanity_steps(fitted, frames_batch(fitted.val_split, fitted.info, index), category=0, request=Request(), seed=0)
    kinds = contribution.steps_by_kind(steps)
    assert list(kinds) == ["weights", "label"]
    assert all(rows[0][3:] == pytest.approx((1, 1)) for rows in kinds.values())
    assert kinds["weights"][-1][0] == "encoder.conv_stem"
    assert [row[0] for row in kinds["label"]] == [
        "as it is",
        "10% permuted",
        "25% permuted",
        "50% permuted",
        "100% permuted",
        "foreign label",
    ]
    assert kinds["weights"][-1][3] < 0.9
    assert list(contribution.steps_table(steps).columns) == ["kind", "step", "image", "label"]


def test_integrated_gradients_come_with_their_error(fitted):
    found = contribution.gradient_contribution(fitted, fitted.val_split, [0, 3], category=0, request=Request(region="true"), steps=8)
    assert list(found.columns) == ["frame", "image", "label", "label_share", "difference", "error", "error_percent"]
    assert list(found.frame) == ["val_00000", "val_00003"]
    np.testing.assert_allclose(found.error, found.image + found.label - found.difference, atol=1e-5)


def test_raw_maps_are_kept_as_they_are(fitted, tmp_path):
    batch = frames_batch(fitted.val_split, fitted.info, [0])
    found = contribution.frame_contribution(fitted, batch, category=0, request=Request(region="true"))
    path = save_arrays(tmp_path / "new" / "maps.npz", contribution.raw_maps(found, ["val_00000"]))
    with np.load(path) as kept:
        assert kept["frames"].tolist() == ["val_00000"]
        np.testing.assert_array_equal(kept["label"], found.maps.label.numpy())
    assert [one.name for one in path.parent.iterdir()] == ["maps.npz"]
    assert contribution.maps_path(fitted, "car").parent.parent == fitted.run.folder


def test_shares_inside_and_outside_the_region_of_hand_made_maps():
    image, label = torch.tensor([[[3.0, 1.0]], [[0.0, 2.0]]]), torch.tensor([[[1.0, 1.0]], [[0.0, 2.0]]])
    region = torch.tensor([[[False, True, False, False]], [[True, False, False, False]]])  # at twice the maps' size
    maps = BranchMaps(image, label, image, label, image + label, torch.zeros(2), torch.ones(2).bool())
    found = contribution.share_by_place(contribution.Contribution(NoisedMaps(maps, image, label, image), {}, region))
    assert found.whole.tolist() == pytest.approx([100 / 3, 50])
    assert found.inside.tolist() == pytest.approx([25, np.nan], nan_ok=True)
    assert found.outside.tolist() == pytest.approx([50, 50])
    assert found.evidence_outside.tolist() == pytest.approx([100 / 3, 100])


def test_captions_name_run_noise_frames_and_limit(fitted):
    request = Request(noisings=3, seed=2)
    found = contribution.frame_contribution(fitted, frames_batch(fitted.val_split, fitted.info, [1]), category=0, request=request)
    said = contribution.captions.maps_caption(fitted, request, found, category="car", frames=["val_00007"], limit=0.1234)
    for fact in (fitted.run.run_id, "label scale 3", "pixel std 0.03", "val_00007", "0.123 logits", "seeds 2-4", "at least 3%"):
        assert fact in said
    assert "class std 1," in said
    ramp = replace(fitted, noising=replace(fitted.noising, weights="fixed"))
    assert "label scale 3, class weights the fixed ramp, pixel std 0.03" in contribution.captions.teacher_in_words(ramp)
    table = contribution.split_opinions(fitted, fitted.val_split, frames=2, request=Request())
    assert "over 2 frames" in contribution.captions.opinions_caption(fitted, Request(), table)
    assert "by removal" in contribution.verdict(table)


def trained_on_shuffled_images(tiny_network, make_target):
    """A small network whose images are another frame's: only the label (with fixed codes) can tell the class."""
    torch.manual_seed(0)
    network, noising = tiny_network(1).train(), LabelNoising(num_classes=4, weights="fixed", label_scale=3)
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-2)
    generator = torch.Generator().manual_seed(1)
    for step in range(400):
        images, label, target = shuffled_batch(make_target, noising, generator, seed=step)
        loss = F.cross_entropy(network.to_full_size(network(torch.cat([images, label], 1)), (32, 32)), target)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return network.eval(), shuffled_batch(make_target, noising, generator, seed=9999)


def shuffled_batch(make_target, noising, generator, *, seed):
    target = make_target(8, seed=seed, void=False)
    colours = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1]])
    images = colours[target].movedim(-1, 1) + 0.1 * torch.randn(8, 3, 32, 32, generator=generator)
    return images.roll(1, 0), noising(target, generator=generator), target


def test_a_network_trained_with_shuffled_images_leans_on_its_label(tiny_network, make_target, record_property):
    with torch.random.fork_rng():
        network, (images, label, target) = trained_on_shuffled_images(tiny_network, make_target)
    with torch.no_grad():
        right = (network.to_full_size(network(torch.cat([images, label], 1)), (32, 32)).argmax(1) == target).float().mean()
    assert right > 0.8
    options = {"category": range(4), "region": "true", "target": target}
    shapley = branch_shapley(network, images, label, **options)
    by_shapley = share_of(shapley.label.abs().nansum(), shapley.image.abs().nansum()).item()
    maps = branch_layercam(network, images, label, means=branch_means(network, [(images, label)]), **options)
    by_layercam = label_share(type(maps)(*(part.nan_to_num().sum((0, 1))[None] for part in maps[:5]), maps.score, maps.present)).item()
    record_property("shares", json.dumps({"shapley": by_shapley, "layercam": by_layercam, "pixels right": right.item()}))
    print(f"\nlabel share: Shapley {by_shapley:.3f}, LayerCAM {by_layercam:.3f}; {100 * right:.0f} % of pixels right")
    assert by_shapley > 0.9


def test_opinions_are_the_three(fitted):
    assert OPINIONS == ("layercam", "shapley", "removal")


def test_the_verdict_smooths_nothing_over():
    names = ["road", "pole", "car", "fence", EVERY]
    shares = {"layercam": [20.0, 30, 25, np.nan, 22], "shapley": [25.0, 70, 26, np.nan, 24], "removal": [10.0, 60, 24, np.nan, 17]}
    ranks = {name: [np.nan] * 4 + [0.5] for name in ("rank_layercam_shapley", "rank_layercam_removal", "rank_shapley_removal")}
    facts = {"absent": [False, False, False, True, False], "iou_true_label": [80.0, 0.4, 70, 0, 50]}
    said = contribution.verdict(pd.DataFrame({"class": names, **shares, **ranks, **facts}))
    assert "**22 %** by LayerCAM at the stem, **24 %** by Shapley values and **17 %** by removal" in said
    assert "differ most on **pole**: LayerCAM 30 %, Shapley 70 %, removal 60 %" in said
    assert "differ least on **car**" in said
    assert "says little for pole:" in said
    assert "No map for fence" in said
