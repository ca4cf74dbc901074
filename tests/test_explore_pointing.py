"""What explorers say of a point, what a click chooses, own pictures, comparisons and films."""

import io
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from labkit.datasets import dataset_info
from labkit.errors import DataError
from labkit.explore.film import Still, gif_of
from labkit.explore.own import keep_upload, open_own
from labkit.explore.ranking import PICKS, frame_ious, picked_frame, ranking_table
from labkit.explore.readings import read_frame
from labkit.explore.teachers import find_runs
from labkit.method.outputs import full_size
from labkit.settings import AttributionSettings
from labkit.training.experiment import load_experiment
from labkit.training.fit import fit
from tests.explorers import OF_FRAMES, ROAD, SIZES, SKY, png, train_two_teachers
from tests.explorers import explorer_of as opened
from tests.training import teacher


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A folder with an assisted and a plain teacher, barely trained."""
    return train_two_teachers(tmp_path_factory.mktemp("pointing"))


def explorer_of(name, runs):
    explorer = opened(name, runs)
    return replace(explorer, state=replace(explorer.state, frame=0))


@pytest.mark.parametrize("name", OF_FRAMES)
def test_a_click_chooses_what_the_line_names(name, runs):
    explorer = explorer_of(name, runs)
    view = explorer.draw(explorer.state)
    assert "labelled sky" in view.look(*SKY)
    assert "labelled road" in view.look(*ROAD)
    changes = explorer.choose(explorer.state, *ROAD)
    if name == "teacher":
        assert changes == {"x": 50, "y": 85}
        clicked = explorer.draw(replace(explorer.state, **changes))
        assert "the road region of" in clicked.readout[1]
    else:
        assert changes == {"category": "road"}


def test_probabilities_at_a_point_are_those_of_the_logits_at_full_size(runs):
    (run,) = [run for run in find_runs(AttributionSettings(runs=runs)) if run.kind == "assisted"]
    one = read_frame(load_experiment(run, device="cpu"), 0, pixel_std=0.03, seed=0)
    answer = one.answers["zero label"]
    expected = full_size(answer.logits[None], answer.stride, answer.image_size)[0].softmax(0)
    for row, column in ((0, 0), (13, 40), (31, 63)):
        found = answer.probabilities((column + 0.5) / 64, (row + 0.5) / 32)
        assert torch.allclose(found, expected[:, row, column], atol=1e-5)


@pytest.mark.parametrize("name", OF_FRAMES)
def test_an_own_image_is_drawn_with_and_without_its_label(name, runs):
    explorer = explorer_of(name, runs)
    rng = np.random.default_rng(0)
    image = explorer.keep(png(rng.integers(0, 256, (32, 64, 3), np.uint8)))
    label = explorer.keep(png(np.repeat(np.arange(2, dtype=np.uint8), 16)[:, None].repeat(64, 1)))
    state = replace(explorer.state, image=image)
    assert "frame" in explorer.unused(state)
    view = explorer.draw(state)
    assert "labelled void" in view.look(*SKY)
    texts = " ".join((*view.readout, *(one.note for one in view.panels)))
    assert "nan" not in re.findall(r"[a-z]+", texts)
    labelled = replace(state, label=label)
    view = explorer.draw(labelled)
    assert "labelled road" in view.look(*SKY)
    assert "labelled pavement" in view.look(*ROAD)
    if name != "teacher":
        assert explorer.choose(labelled, *ROAD) == {"category": "pavement"}


def test_an_own_image_is_upright(tmp_path):
    pixels = np.zeros((8, 9, 3), np.uint8)
    pixels[:, :4] = 200
    tags = Image.Exif()
    tags[0x0112] = 6  # displayed turned by 90 degrees clockwise
    path = tmp_path / "turned.png"
    Image.fromarray(pixels).rotate(90, expand=True).save(path, exif=tags)
    frame = open_own(str(path), "", dataset_info("streets"))
    assert frame.size(0) == (8, 9)
    assert (frame[0].image.permute(1, 2, 0).numpy() == pixels).all()


def test_a_bad_upload_is_explained(runs, tmp_path):
    with pytest.raises(DataError, match="neither PNG nor JPEG"):
        keep_upload(b"no picture", runs=runs)
    explorer = explorer_of("noising", runs)
    image = explorer.keep(png(np.zeros((8, 9, 3), np.uint8)))
    for ids, text in (
        (np.zeros((9, 8), np.uint8), "expected the picture's"),
        (np.full((8, 9), 40, np.uint8), "expected 0-7"),
    ):
        label = explorer.keep(png(ids))
        with pytest.raises(DataError, match=text):
            explorer.draw(replace(explorer.state, image=image, label=label))


def test_a_frame_is_picked_by_the_class_s_iou():
    first = np.array([[10.0], [90.0], [np.nan], [50.0]])
    second = np.array([[10.0], [95.0], [np.nan], [20.0]])
    ious = {"A": first, "B": second}
    assert [picked_frame(pick, 2, ious, 0) for pick in PICKS] == [2, 0, 1, 3, 1]
    nothing = {"A": first * np.nan, "B": second}
    assert picked_frame(PICKS[1], 2, nothing, 0) == 2
    rows = ranking_table(ious, 0, "car").rows
    assert rows[0] == ("A", "1 (90), 3 (50), 0 (10)", "0 (10), 3 (50), 1 (90)")
    assert rows[2][1].startswith("3 (30)")


def test_ious_of_frames_are_those_of_the_picture(runs):
    explorer = explorer_of("compare", runs)
    run = next(one for one in find_runs(AttributionSettings(runs=runs))
               if one.run_id == explorer.state.first)  # fmt: skip
    table = {row[0]: row[1] for row in explorer.draw(explorer.state).tables[0].rows}
    ious = frame_ious(run)[0]
    for number, name in enumerate(load_experiment(run, device="cpu").info.class_names):
        if not np.isnan(ious[number]):
            assert float(table[name]) == pytest.approx(ious[number], abs=0.3)


def test_a_run_compared_with_itself_differs_nowhere(runs):
    explorer = explorer_of("compare", runs)
    state = replace(explorer.state, second=explorer.state.first, confusion="on")
    view = explorer.draw(state)
    assert "differ on 0.0 %" in view.readout[0]
    assert "0.0 points" in view.readout[0]
    matrices = [one for one in view.panels if one.title.startswith("confusion")]
    assert matrices[0].content == matrices[1].content
    swiped = next(one for one in view.panels if one.over)
    assert swiped.over == swiped.content


def test_runs_of_other_validation_sizes_are_compared_on_one_frame(tmp_path):
    for seed, size in enumerate((4, 2)):
        fit(teacher(tmp_path, assisted=False, seed=seed, **SIZES | {"val_size": size}))
    explorer = explorer_of("compare", str(tmp_path))
    first, second = sorted(find_runs(AttributionSettings(runs=str(tmp_path))),
                           key=lambda run: -run.settings.val_size)  # fmt: skip
    state = replace(
        explorer.state, first=first.run_id, second=second.run_id, frame=3, confusion="on"
    )
    swapped = replace(state, first=second.run_id, second=first.run_id)
    alone = replace(state, second=first.run_id)
    shown, expected = ({one.title: one.content for one in explorer.draw(each).panels}
                       for each in (state, alone))  # fmt: skip
    assert shown["label"] == expected["label"]
    notes = [one.note for one in explorer.draw(state).panels if one.title.startswith("confusion")]
    assert [note.split("% of ")[1].split(" frames")[0] for note in notes] == ["4", "2"]
    assert shown["image"] != explorer.draw(swapped).panels[0].content  # B's own last frame


def test_frames_of_another_split_are_not_paired(tmp_path):
    for seed, split in enumerate(("val", "test")):
        fit(teacher(tmp_path, assisted=False, seed=seed, score_split=split, **SIZES))
    explorer = explorer_of("compare", str(tmp_path))
    runs = {one.settings.score_split: one.run_id
            for one in find_runs(AttributionSettings(runs=str(tmp_path)))}  # fmt: skip
    state = replace(explorer.state, first=runs["val"], second=runs["test"], category="road")
    view = explorer.draw(replace(state, frame=1, pick=PICKS[3]))
    assert [row[0] for row in view.tables[1].rows] == ["A"]
    assert view.panels[0].note == "frame 1"
    assert "B is scored on other frames than A (test split)" in view.readout[-1]
    assert "frame" not in explorer.unused(replace(state, pick=PICKS[3]))
    alike = explorer.draw(replace(state, second=runs["val"]))
    assert [row[0] for row in alike.tables[1].rows] == ["A", "B", "A - B"]


@pytest.mark.parametrize("name", ["teacher", "contribution", "compare"])
def test_a_frame_beyond_the_split_is_the_last_one_and_called_so(name, runs):
    explorer = explorer_of(name, runs)
    beyond = replace(explorer.state, frame=99)
    last = replace(explorer.state, frame=5)
    assert explorer.draw(beyond) == explorer.draw(last)
    assert explorer.choose(beyond, *ROAD) == explorer.choose(last, *ROAD)


def test_a_film_grows_noisier_and_becomes_a_gif(runs):
    explorer = explorer_of("noising", runs)
    film = explorer.film(explorer.state)
    read = [float(caption.split("read ")[1].split(" %")[0]) for caption, _ in film]
    assert read == sorted(read, reverse=True)
    with Image.open(io.BytesIO(gif_of([Still(*one) for one in film])), formats=("GIF",)) as gif:
        assert gif.n_frames == len(film)


def test_names_and_outlines_are_switched_off(runs):
    explorer = explorer_of("noising", runs)
    bare = explorer.draw(replace(explorer.state, names="off", outlines="off")).panels[1]
    with Image.open(io.BytesIO(bare.content), formats=("PNG",)) as picture:
        colours = {colour for _, colour in picture.convert("RGB").getcolors(100000)}
    assert len(colours) <= 9  # of the classes and void
