import html.parser
import io
import math
import shlex
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from labkit import explorers, headless
from labkit.config import AnalysisSettings, NoisingSettings, TeacherSettings
from labkit.contribution import measured_means
from labkit.experiments import fit, load_experiment, prepare
from labkit.explorers import best_threshold_decoder, decode, decode_jointly, largest_region, region_at
from labkit.records import find_run

TINY = {
    "train_size": 8, "val_size": 6, "height": 32, "width": 64, "crop_height": 32, "crop_width": 64, "batch_size": 2, "train_steps": 3,
    "log_every_steps": 1, "device": "cpu", "threads": 1, "precision": "fp32",
}  # fmt: skip


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("explorers")
    for method in ("lad", "none"):
        fit(prepare(TeacherSettings(**TINY, method=method, runs=str(folder))))
    return str(folder)


# the decoder


def codes_and_shares(seed, count):
    rng = np.random.default_rng(seed)
    shares = rng.dirichlet(np.ones(count))
    return rng.normal(size=count), shares


def density(x, codes, shares, std):
    """shares[k] times the density of class k at x: (K, X)."""
    return shares[:, None] * np.exp(-(((x - codes[:, None]) / std) ** 2) / 2) / (std * math.sqrt(2 * math.pi))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("std", [0.02, 0.3, 2.0])
def test_the_best_decoder_s_accuracy_is_the_integral_of_the_largest_density(seed, std):
    codes, shares = codes_and_shares(seed, 9)
    x = np.linspace(-12 * max(std, 1), 12 * max(std, 1), 400_001)
    brute = np.trapezoid(density(x, codes, shares, std).max(0), x)
    assert best_threshold_decoder(codes, shares, std).accuracy == pytest.approx(brute, abs=2e-5)


@pytest.mark.parametrize("seed", range(4))
def test_no_other_thresholds_on_a_fine_grid_are_right_more_often(seed):
    """Every way to give each of many small bins to one class is bounded by the best class of each bin; thresholds reach it."""
    codes, shares = codes_and_shares(seed, 5)
    decoder = best_threshold_decoder(codes, shares, 0.4)
    x = np.linspace(-6, 6, 6001)
    dense = density(x, codes, shares, 0.4)
    answers = decode(decoder, x)
    away = np.abs(x[:, None] - decoder.thresholds).min(1, initial=1) > 1e-3
    assert (answers == dense.argmax(0))[away].all()
    for k in range(len(decoder.thresholds)):
        for shift in (-0.05, 0.05):
            moved = decoder._replace(thresholds=decoder.thresholds + shift * (np.arange(len(decoder.thresholds)) == k))
            if (np.diff(moved.thresholds) > 0).all():
                assert dense[decode(moved, x), np.arange(len(x))].sum() <= dense[answers, np.arange(len(x))].sum()


def test_simulated_pixels_agree_with_the_expected_accuracy():
    codes, shares = codes_and_shares(3, 8)
    rng = np.random.default_rng(0)
    ids = rng.choice(8, size=200_000, p=shares)
    values = codes[ids] + 0.2 * rng.normal(size=len(ids))
    decoder = best_threshold_decoder(codes, shares, 0.2)
    assert (decode(decoder, values) == ids).mean() == pytest.approx(decoder.accuracy, abs=0.004)
    assert (decode_jointly(values[None], codes[None], shares, 0.2) == decode(decoder, values)).mean() > 0.9999


def test_without_noise_distinct_codes_are_all_read_and_equal_ones_as_the_more_frequent():
    assert best_threshold_decoder(np.array([0.1, -1.0, 0.4]), np.array([0.2, 0.5, 0.3]), 0).accuracy == pytest.approx(1)
    decoder = best_threshold_decoder(np.array([1.0, 1.0, 3.0]), np.array([0.5, 0.2, 0.3]), 0)
    assert decoder.accuracy == pytest.approx(0.8)
    assert decoder.classes.tolist() == [0, 2]


def test_in_boundless_noise_only_the_most_frequent_class_is_answered():
    codes, shares = codes_and_shares(1, 6)
    assert best_threshold_decoder(codes, shares, 1e6).accuracy == pytest.approx(shares.max(), abs=1e-5)
    assert best_threshold_decoder(0 * codes, shares, 0).accuracy == pytest.approx(shares.max())


def test_two_channels_tell_more_than_one():
    rng = np.random.default_rng(2)
    codes, ids = rng.normal(size=(2, 8)), rng.integers(8, size=20_000)
    values = codes[:, ids] + 0.3 * rng.normal(size=(2, len(ids)))
    shares = np.full(8, 1 / 8)
    joint = (decode_jointly(values, codes, shares, 0.3) == ids).mean()
    brute = ((values[:, None] - codes[:, :, None]) ** 2).sum(0).argmin(0)
    assert joint == (brute == ids).mean()
    assert joint > (decode(best_threshold_decoder(codes[0], shares, 0.3), values[0]) == ids).mean()


# regions


def test_a_region_is_what_a_flood_reaches():
    rng = np.random.default_rng(0)
    for _ in range(20):
        ids = rng.integers(2, size=(12, 15))
        y, x = rng.integers(12), rng.integers(15)
        reached, ahead = set(), [(y, x)]
        while ahead:
            here = ahead.pop()
            if here not in reached and 0 <= here[0] < 12 and 0 <= here[1] < 15 and ids[here] == ids[y, x]:
                reached.add(here)
                ahead += [(here[0] + 1, here[1]), (here[0] - 1, here[1]), (here[0], here[1] + 1), (here[0], here[1] - 1)]
        assert {tuple(map(int, place)) for place in np.argwhere(region_at(ids, y, x))} == {tuple(map(int, place)) for place in reached}


def test_the_largest_region_is_pointed_at_inside_it():
    ids = np.zeros((8, 12), dtype=np.int64)
    ids[1:3, 1:3] = 5
    ids[4:7, 5:11] = 5
    y, x = largest_region(ids, 5)
    assert region_at(ids, y, x).sum() == 18
    assert largest_region(ids, 7) is None


# views


def every_explorer(runs):
    where = {"runs": runs}
    return [
        explorers.noising(NoisingSettings(**where)),
        explorers.teacher(TeacherSettings(**TINY, **where)),
        explorers.contribution(AnalysisSettings(**where, device="cpu")),
    ]


@pytest.mark.parametrize("number", range(3))
def test_a_view_is_a_function_of_its_state_and_every_control_is_one_of_its_fields(number, runs, rng_untouched):
    explorer = every_explorer(runs)[number]
    with rng_untouched():
        first, again = explorer.draw(explorer.state), explorer.draw(explorer.state)
    assert first == again
    assert {one.name for one in explorer.controls} == set(vars(explorer.state))
    for control in explorer.controls:
        value = getattr(explorer.state, control.name)
        assert value in control.options if control.kind == "choice" else control.low <= value <= control.high
    for one in first.panels:
        with Image.open(io.BytesIO(one.content)) as picture:
            assert picture.format == "PNG"
            assert picture.size == one.size
        assert one.size[0] <= 480
        assert any(letter.isdigit() for letter in one.alt), f"{one.title}: no number in {one.alt!r}"


@pytest.mark.parametrize("number", range(3))
def test_every_control_matters(number, runs):
    explorer = every_explorer(runs)[number]
    start = replace(explorer.state, **({"noisings": 2} if number == 2 else {}))
    before = explorer.draw(start)
    for control in explorer.controls:
        value = getattr(start, control.name)
        numbers = [value + control.step, control.low, control.high] if control.kind == "number" else []
        others = [one for one in (*control.options, *numbers) if one != value]
        changed = [explorer.draw(replace(start, **{control.name: other})) for other in others]
        assert any(one != before for one in changed) or not others, control.name


@pytest.mark.parametrize("number", range(3))
def test_the_line_to_paste_holds_settings_the_notebook_has(number, runs):
    explorer = every_explorer(runs)[number]
    name = ("noising", "teacher", "analysis")[number]
    state = replace(explorer.state, seed=7, pixel_std=0.5)
    flags = shlex.split(explorer.commands(state)["labkit"])
    assert flags[:3] == ["labkit", "run", name]
    given = dict(pair.split("=", 1) for pair in flags[4::2])
    settings = headless.check_settings(name, given)
    assert settings.seed == 7
    papermill = shlex.split(explorer.commands(state)["papermill"])
    assert dict(zip(papermill[4::3], papermill[5::3], strict=True)) == given
    if number == 0:
        assert explorers.noising(settings).state == state
    if number == 1:
        assert prepare(TeacherSettings(**{**TINY, "seed": 7, "pixel_std": 0.5})).run.recipe_hash == prepare(settings).run.recipe_hash


def test_the_noised_label_shown_is_the_one_the_notebook_computes(runs):
    explorer = explorers.noising(NoisingSettings(runs=runs, pixel_std=0.3))
    view = explorer.draw(explorer.state)
    with Image.open(io.BytesIO(view.panels[2].content)) as picture:
        shown = np.asarray(picture)[::3, ::3].astype(float)
    from labkit.datasets import open_split
    from labkit.lnm import LabelNoising
    from labkit.streams import stream_generator

    target = open_split("streets", "val", root="", size=1, height=64, width=128)[0].target
    channel = LabelNoising(num_classes=8, pixel_std=0.3)(target[None], generator=stream_generator("explore noise", 0))[0, 0]
    assert np.corrcoef(shown.ravel(), channel.numpy().ravel())[0, 1] > 0.999


def test_more_noise_is_read_back_worse():
    explorer = explorers.noising(NoisingSettings())
    read = []
    for std in (0.0, 0.1, 0.5, 2.0):
        line = explorer.draw(replace(explorer.state, pixel_std=std)).readout[0]
        read.append(float(line.split("thresholds: ")[1].split(" %")[0]))
    assert read == sorted(read, reverse=True)
    assert read[0] == 100
    assert read[-1] < 60


def test_predictions_are_those_the_run_is_scored_by(runs):
    explorer = explorers.teacher(TeacherSettings(**TINY, runs=runs))
    from labkit.explorers._teacher import answer
    from labkit.explorers._teachers import find_teachers, one_frame

    run = find_teachers(TeacherSettings(**TINY, runs=runs), assisted=True)[0]
    experiment = load_experiment(run, device="cpu")
    _, batch = one_frame(experiment, 3)
    answers = answer(experiment, batch, batch.target[0], pixel_std=explorer.state.pixel_std, seed=explorer.state.seed)
    for reading in ("true_label", "foreign_label", "zero_label"):
        torch.testing.assert_close(answers[reading.replace("_", " ")], experiment.logits(reading, batch).argmax(1)[0])
    assert torch.equal(answers["operated label"], answers["true label"])


def test_a_teacher_of_the_fixed_ramp_is_shown_its_ramp(tmp_path):
    settings = TeacherSettings(**TINY, weights="fixed", pixel_std=0, runs=str(tmp_path))
    fit(prepare(settings))
    explorer = explorers.teacher(TeacherSettings(**TINY, runs=str(tmp_path)))
    view = explorer.draw(explorer.state)
    assert "Two noisings (seeds 0 and 1) disagree on 0.0 % of the labelled pixels." in view.readout
    other = explorer.draw(replace(explorer.state, seed=5))
    assert [one.content for one in other.panels] == [one.content for one in view.panels]  # nothing is drawn at random
    given = dict(pair.split("=", 1) for pair in shlex.split(explorer.commands(explorer.state)["labkit"])[4::2])
    assert (given["weights"], "class_std" in given) == ("fixed", False)
    assert prepare(headless.check_settings("teacher", given)).run.recipe_hash == prepare(settings).run.recipe_hash


def test_a_plain_teacher_is_shown_without_a_label(runs):
    explorer = explorers.teacher(TeacherSettings(**TINY, runs=runs))
    plain = next(one for one in explorer.controls[0].options if "-none-" in one)
    view = explorer.draw(replace(explorer.state, run=plain))
    assert "reads the image alone" in view.readout[0]


def test_a_class_that_is_not_predicted_is_told_in_words(runs):
    explorer = explorers.contribution(AnalysisSettings(runs=runs, device="cpu"))
    experiment = load_experiment(find_run(explorer.state.run, runs), device="cpu")
    with torch.no_grad():
        list(experiment.network.parameters())[-1][experiment.info.class_id("car")] = -1e4  # the bias of its logit
    means = measured_means(experiment, seed=0)
    view = explorers.draw_contribution(replace(explorer.state, category="car"), experiment, means)
    assert view.readout == ("car: no pixel is predicted as it in this frame, so there is no evidence to split.",)


def test_without_a_teacher_there_is_an_offer_in_words(tmp_path):
    found = explorers.contribution(AnalysisSettings(runs=str(tmp_path)))
    assert isinstance(found, explorers.Missing)
    assert "no finished assisted teacher of streets" in found.sentence
    assert found.progress() == 0
    assert isinstance(found.then(), explorers.Missing)


class _Pictures(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.found, self.scripts = [], 0

    def handle_starttag(self, tag, attributes):
        self.scripts += tag in ("script", "style")
        if tag == "img":
            self.found.append(dict(attributes))


def test_html_needs_no_script_and_escapes_what_it_shows(runs):
    view = explorers.View(
        (explorers.Panel('a<b"', b"x", (1, 1), 'alt "<1>"'),), ("<script>",), (explorers.Table("<t>", ("<h>",), (("<r>",),)),)
    )
    pictures = _Pictures()
    pictures.feed(explorers.view_html(view, name="n", renders=3))
    assert pictures.scripts == 0
    assert pictures.found[0]["alt"] == 'alt "<1>"'
    assert pictures.found[0]["src"].startswith("data:image/png;base64,")
