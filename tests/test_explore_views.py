"""Views are pure functions of their states, and agree with the notebooks' numbers."""

import html.parser
import io
import shlex
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from labkit import explore
from labkit.attribution.frames import choose_frames, class_pixels, frame_maps, share_by_location
from labkit.attribution.request import measured_means
from labkit.datasets import dataset_info, open_split
from labkit.explore.edits import edit_label
from labkit.explore.pictures import SCALAR
from labkit.explore.readback import RANGE
from labkit.explore.readings import read_frame
from labkit.explore.teachers import Teachers, find_teachers
from labkit.method import LabelNoising, stream_generator
from labkit.settings import AttributionSettings, NoisingSettings, TeacherSettings, parse_sets
from labkit.training.experiment import load_experiment, plan_run
from labkit.training.fit import fit
from tests.small_networks import rng_untouched
from tests.training import teacher

SIZES = {"train_steps": 3, "val_size": 6, "resize": "32x64", "crop_height": 32, "crop_width": 64}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A folder with an assisted and a plain teacher, barely trained; images are half their labels'
    size.
    """
    folder = tmp_path_factory.mktemp("explore")
    for assisted in (True, False):
        fit(teacher(folder, assisted=assisted, score_size="32x64", **SIZES))
    return str(folder)


def settings_of(kind, runs):
    return kind(runs=runs, dataset="streets")


def every_explorer(runs):
    return [
        explore.noising(settings_of(NoisingSettings, runs)),
        explore.teacher(settings_of(AttributionSettings, runs)),
        explore.contribution(settings_of(AttributionSettings, runs)),
    ]


def contribution(runs):
    return explore.contribution(settings_of(AttributionSettings, runs))


def experiment_of(explorer, runs):
    run = next(
        one
        for one in find_teachers(settings_of(AttributionSettings, runs), assisted=True)
        if one.run_id == explorer.state.run
    )
    return load_experiment(run, device="cpu")


@pytest.mark.parametrize("number", range(3))
def test_a_view_is_a_function_of_its_state_and_every_control_is_one_of_its_fields(number, runs):
    explorer = every_explorer(runs)[number]
    with rng_untouched():
        first, again = explorer.draw(explorer.state), explorer.draw(explorer.state)
    assert first == again
    assert {one.name for one in explorer.controls} == set(vars(explorer.state))
    for control in explorer.controls:
        value = getattr(explorer.state, control.name)
        if control.kind == "file":
            assert value == ""
        elif control.kind == "choice":
            assert value in control.options
        else:
            assert control.low <= value <= control.high
    for one in first.panels:
        with Image.open(io.BytesIO(one.content), formats=("PNG",)) as picture:
            assert picture.size == one.size
        assert one.size[0] <= 480
        assert any(letter.isdigit() for letter in one.alt), f"{one.title}: no number in {one.alt!r}"


@pytest.mark.parametrize("number", range(3))
def test_every_control_changes_the_view(number, runs):
    explorer = every_explorer(runs)[number]
    start = replace(explorer.state, **({"noisings": 2} if number == 2 else {}))
    before = explorer.draw(start)
    for control in explorer.controls:
        value = getattr(start, control.name)
        candidates = control.options
        if control.kind in ("number", "point"):
            candidates = (value + control.step, control.low, control.high)
        others = [one for one in candidates if one != value]
        changed = (explorer.draw(replace(start, **{control.name: other})) for other in others)
        assert any(one != before for one in changed) or not others, control.name


def command_values(explorer, state):
    line = list(explorer.commands(state).values())[-1]
    words = shlex.split(line)
    return words[:3], parse_sets(words[4::2])


def test_the_noising_line_holds_the_state(runs):
    explorer = explore.noising(settings_of(NoisingSettings, runs))
    state = replace(explorer.state, seed=7, pixel_std=0.5)
    words, values = command_values(explorer, state)
    assert words == ["labkit", "run", "noising"]
    assert explore.noising(NoisingSettings(**values)).state == state


def test_the_contribution_line_names_the_teacher_and_its_class(runs):
    explorer = contribution(runs)
    words, values = command_values(explorer, replace(explorer.state, seed=7, category="road"))
    settings = AttributionSettings(**values)
    assert words == ["labkit", "run", "attribution"]
    assert (settings.teacher, settings.category, settings.seed) == (explorer.state.run, "road", 7)


def test_the_teacher_line_trains_the_same_recipe(runs):
    explorer = explore.teacher(settings_of(AttributionSettings, runs))
    for run in find_teachers(settings_of(AttributionSettings, runs), assisted=False):
        state = replace(explorer.state, run=run.run_id)
        words, values = command_values(explorer, state)
        assert words == ["labkit", "train", "teacher"]
        assert plan_run("teacher", values | {"runs": runs}).run_id == run.run_id


def test_the_noised_label_drawn_is_the_one_the_notebook_computes(runs):
    settings = NoisingSettings(runs=runs, pixel_std=0.3)
    explorer = explore.noising(settings)
    panel = explorer.draw(explorer.state).panels[2]
    with Image.open(io.BytesIO(panel.content), formats=("PNG",)) as picture:
        drawn = np.asarray(picture)[::3, ::3].astype(float)
    target = open_split("streets", "val", root="", size=1)[0].target
    noising = LabelNoising(num_classes=8, pixel_std=0.3, label_scale=settings.label_scale)
    channel = noising(target[None], generator=stream_generator("explore noise", 0))[0, 0].numpy()
    expected = (channel.clip(-RANGE, RANGE) + RANGE) * 255 / (2 * RANGE)
    assert np.abs(drawn - expected).max() <= 1
    assert len(SCALAR) == 256


def test_the_grey_range_is_fixed_so_that_a_louder_label_has_more_contrast():
    explorer = explore.noising(NoisingSettings(label_scale=0.5))
    spread = []
    for scale in (0.5, 3.0):
        panel = explorer.draw(replace(explorer.state, label_scale=scale)).panels[2]
        with Image.open(io.BytesIO(panel.content), formats=("PNG",)) as picture:
            spread.append(np.asarray(picture).std())
    assert spread[1] > 4 * spread[0]


def test_more_noise_is_read_back_worse():
    explorer = explore.noising(NoisingSettings())
    read = []
    for std in (0.0, 0.1, 0.5, 2.0):
        line = explorer.draw(replace(explorer.state, pixel_std=std)).readout[0]
        read.append(float(line.split("read ")[1].split(" %")[0]))
    assert read == sorted(read, reverse=True)
    assert read[0] == 100
    assert read[-1] < 60


def test_predictions_are_those_the_run_is_scored_by(runs):
    explorer = explore.teacher(settings_of(AttributionSettings, runs))
    experiment, state = experiment_of(explorer, runs), explorer.state
    one = read_frame(experiment, 3, pixel_std=state.pixel_std, seed=state.seed)
    assert one.answers["true label"].ids.shape == (64, 128)
    for reading in ("true_label", "foreign_label", "zero_label"):
        expected = experiment.logits(reading, one.batch).argmax(1)[0]
        ids = one.answers[reading.replace("_", " ")].ids
        assert (ids != expected).float().mean() < 1e-3


def test_an_edited_region_gets_its_class_or_becomes_void(runs):
    info = dataset_info("streets")
    truth = torch.zeros(10, 20, dtype=torch.int64)
    truth[2:6, 4:12] = 6
    region, edited = edit_label(truth, info, x=30, y=40, edit="road")
    assert torch.equal(region, truth == 6)
    assert (edited == 0).all()
    _, void = edit_label(truth, info, x=30, y=40, edit="removed (void)")
    assert (void[region] == 255).all()


def test_a_teacher_of_the_fixed_ramp_reads_its_ramp(tmp_path):
    run = fit_ramp(tmp_path)
    explorer = explore.teacher(settings_of(AttributionSettings, str(tmp_path)))
    view = explorer.draw(explorer.state)
    assert view.panels[-1].title == "two noisings disagree"
    assert "0.0 % of the pixels" in view.panels[-1].note
    other = explorer.draw(replace(explorer.state, seed=5))
    assert [one.content for one in other.panels] == [one.content for one in view.panels]
    _, values = command_values(explorer, explorer.state)
    assert values["class_codes"] == "fixed"
    assert plan_run("teacher", values | {"runs": str(tmp_path)}).run_id == run.run_id


def fit_ramp(folder):
    experiment = teacher(folder, class_codes="fixed", pixel_std=0, **SIZES | {"train_steps": 1})
    fit(experiment)
    return experiment.run


def test_a_plain_teacher_is_drawn_without_a_label(runs):
    explorer = explore.teacher(settings_of(AttributionSettings, runs))
    plain = next(one for one in explorer.controls[0].options if "-plain-" in one)
    view = explorer.draw(replace(explorer.state, run=plain))
    assert "reads the image alone" in view.readout[0]


def test_the_run_given_comes_first(runs):
    settings = settings_of(AttributionSettings, runs)
    plain = next(run for run in find_teachers(settings, assisted=False) if run.kind == "plain")
    assert explore.teacher(settings, run=plain).state.run == plain.run_id


def test_the_explorer_draws_the_notebook_s_frame_shares_and_limits(runs):
    explorer = contribution(runs)
    experiment = experiment_of(explorer, runs)
    names = experiment.info.class_names
    labelled = class_pixels(experiment.val_split, len(names))
    category = names.index(explorer.state.category)
    assert [explorer.state.frame] == choose_frames(labelled, category=category, count=1)
    state = replace(explorer.state, category="road", region="true", frame=2, noisings=1)
    maps = frame_maps(experiment, [2], category=0, request=state.request())
    row = share_by_location(maps).iloc[0]
    readout = explorer.draw(state).readout
    assert f"Label share for road: {row.whole:.1f} %" in readout[0]
    assert (
        f"Inside the explained region: {row.inside:.1f} %; outside: {row.outside:.1f} %"
        in readout[1]
    )


def test_a_class_that_is_not_predicted_is_explained_in_a_sentence(runs):
    explorer = contribution(runs)
    experiment = experiment_of(explorer, runs)
    car = experiment.info.class_id("car")
    with torch.no_grad():
        list(experiment.network.parameters())[-1][car] = -1e4  # the bias of its logit
    means = measured_means(experiment, explorer.state.request())
    state = replace(explorer.state, category="car", region="predicted")
    view = explore.draw_contribution(state, experiment, means)
    sentence = "car: no pixel is predicted as it in this frame, so there is no evidence to split."
    assert view.readout == (sentence,)


def test_loaded_teachers_are_kept(runs):
    found = find_teachers(settings_of(AttributionSettings, runs), assisted=True)
    teachers = Teachers(found, data_root="")
    assert teachers.experiment(found[0].run_id) is teachers.experiment(found[0].run_id)


def test_without_a_teacher_there_is_an_offer(tmp_path):
    missing = explore.contribution(AttributionSettings(runs=str(tmp_path)))
    assert isinstance(missing, explore.Missing)
    assert "no complete assisted teacher of streets" in missing.sentence
    assert missing.progress() == 0
    assert isinstance(missing.then(), explore.Missing)


class _Pictures(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.pictures, self.scripts = [], 0

    def handle_starttag(self, tag, attributes):
        self.scripts += tag in ("script", "style")
        if tag == "img":
            self.pictures.append(dict(attributes))


def test_html_needs_no_script_and_escapes_its_texts():
    view = explore.View(
        (explore.Panel('a<b"', b"x", (1, 1), 'alt "<1>"'),),
        ("<script>",),
        (explore.Table("<t>", ("<h>",), (("<r>",),)),),
    )
    page = _Pictures()
    page.feed(explore.view_html(view, name="n", renders=3))
    assert page.scripts == 0
    assert page.pictures[0]["alt"] == 'alt "<1>"'
    assert page.pictures[0]["src"].startswith("data:image/png;base64,")


def test_teacher_settings_open_the_explorer_of_a_teacher_notebook(runs):
    settings = TeacherSettings(runs=runs, dataset="streets")
    assert isinstance(explore.teacher(settings), explore.Explorer)
