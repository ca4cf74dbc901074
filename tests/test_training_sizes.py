"""Frames of any size train, resume and are scored at native size; memory of scoring is bounded."""

import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from labkit import datasets
from labkit.datasets import frames_batch
from labkit.datasets.base import DatasetInfo
from labkit.datasets.files import FileSplit, Frame, LabelFormat, id_table
from labkit.method import count_pixels, stream_generator
from labkit.training import loop
from labkit.training.evaluate import score_split
from labkit.training.experiment import load_experiment
from labkit.training.fit import fit
from labkit.training.predict import label_size_logits, predicted_classes
from tests.tiny import block_target, random_images
from tests.training import Interrupted, equal, stop_at, teacher, weights

SIZES = ((40, 90), (64, 67), (90, 40), (90, 40), (51, 51), (77, 62))  # height, width
CLASSES = 4


def write_frames(folder) -> None:
    for i, (height, width) in enumerate(SIZES):
        target = block_target(1, height, width, seed=i, side=10)[0]
        image = 50 * target + random_images(1, height, width, seed=i)[0] * 5 + 30
        pixels = image.clamp(0, 255).to(torch.uint8).movedim(0, 2).numpy()
        Image.fromarray(pixels).save(folder / f"{i}.image.png")
        Image.fromarray(target.to(torch.uint8).numpy()).save(folder / f"{i}.label.png")


def mixed_module() -> ModuleType:
    """A data set module of frames of mixed sizes below data_root."""
    module = ModuleType("labkit.datasets.mixed")
    labels = LabelFormat(id_table({**{i: i for i in range(CLASSES)}, 255: 255}), "0-3, 255")

    def open_split(split, *, root, size):
        paths = [f"{root}/{{}}.{kind}.png" for kind in ("image", "label")]
        frames = [
            Frame(str(i), *(Path(p.format(i)) for p in paths), labels) for i in range(len(SIZES))
        ]
        return FileSplit(frames[: size or None])

    module.INFO = DatasetInfo(
        name="mixed",
        class_names=tuple("abcd"),
        palette=((0, 0, 0),) * CLASSES,
        mean=(0.5, 0.5, 0.5),
        std=(0.2, 0.2, 0.2),
        recipes={"default": {"crop_height": 32, "crop_width": 48, "scale_max": 1.5}},
        is_video=False,
    )
    module.open_split = open_split
    return module


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """Settings that train an assisted teacher on frames of mixed sizes, with a real network."""
    folder = tmp_path_factory.mktemp("mixed")
    write_frames(folder)
    known = datasets.available()
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "labkit.datasets.mixed", mixed_module())
        patch.setattr(datasets, "available", lambda: [*known, "mixed"])
        yield {
            "dataset": "mixed",
            "data_root": str(folder),
            "train_size": 0,
            "val_size": 0,
            "crop_height": 32,
            "crop_width": 48,
            "learning_rate": 0.01,
            "warmup_steps": 0,
            "evaluate_every_steps": 4,
        }


def slow_miou(experiment, folder, reading) -> float:
    """mIoU by a plain loop over frames, classes and pixels of the files, one frame at a time."""
    frames = [
        tuple(np.array(Image.open(folder / f"{i}.{kind}.png")) for kind in ("image", "label"))
        for i in range(len(SIZES))
    ]
    intersection, union = np.zeros(CLASSES), np.zeros(CLASSES)
    for i, (image, label) in enumerate(frames):
        height, width = label.shape
        pixels = (torch.from_numpy(image).permute(2, 0, 1) / 255 - 0.5) / 0.2
        shown = label
        if reading == "foreign_label":
            other = torch.from_numpy(frames[(i + 3) % 6][1])[None, None].float()
            shown = F.interpolate(other, (height, width), mode="nearest-exact")[0, 0].numpy()
        generator = stream_generator("evaluation noise", experiment.settings.seed, i)
        target = torch.from_numpy(shown.astype(np.int64))[None]
        channel = experiment.noising(target, generator=generator)
        if reading == "zero_label":
            channel = torch.zeros_like(channel)
        with torch.no_grad():
            outputs = experiment.network.eval()(torch.cat([pixels[None].float(), channel], 1))
        logits = outputs.logits
        assert outputs.stride == 1
        prediction = logits[0, :, :height, :width].argmax(0).numpy()
        for category in range(CLASSES):
            a = (prediction == category) & (label != 255)
            b = label == category
            intersection[category] += (a & b).sum()
            union[category] += (a | b).sum()
    present = union > 0
    return 100 * float(np.mean(intersection[present] / union[present]))


@pytest.fixture(scope="module")
def trained(mixed, tmp_path_factory):
    experiment = teacher(tmp_path_factory.mktemp("runs"), **mixed)
    fit(experiment)
    return experiment


def test_mixed_sizes_are_scored_at_native_size_as_a_slow_score_does(trained, mixed):
    folder = Path(mixed["data_root"])
    counts = score_split(trained, trained.val_split)
    assert set(counts) == {"true_label", "foreign_label", "zero_label"}
    for reading in counts:
        expected = slow_miou(trained, folder, reading)
        assert counts[reading].scores().miou == pytest.approx(expected, abs=1e-9)


def test_mixed_sizes_resume_to_the_same_weights(trained, mixed, tmp_path, monkeypatch):
    with monkeypatch.context() as killed:
        killed.setattr(loop.Session, "update", stop_at(4))
        with pytest.raises(Interrupted):
            fit(teacher(tmp_path, checkpoint_every_steps=3, **mixed))
    resumed = teacher(tmp_path, checkpoint_every_steps=3, **mixed)
    fit(resumed)
    assert resumed.run.run_id == trained.run.run_id
    assert equal(weights(resumed), weights(trained))


def test_a_changed_label_is_another_run(trained, mixed):
    label = Path(mixed["data_root"]) / "0.label.png"
    content = label.read_bytes()
    ids = np.array(Image.open(label))
    ids[0, 0] = (int(ids[0, 0]) + 1) % CLASSES
    Image.fromarray(ids).save(label)
    try:
        changed = teacher(trained.run.folder.parent, **mixed)
    finally:
        label.write_bytes(content)
    assert changed.run.run_id != trained.run.run_id


def test_workers_batches_and_readings_do_not_change_a_score(trained):
    first = score_split(trained, trained.val_split)
    for changes in ({"scoring_batch": 1}, {"scoring_batch": 3}):
        experiment = load_experiment(trained.run, device="cpu", **changes)
        again = score_split(experiment, trained.val_split, workers=2)
        for reading in first:
            for region, other in zip(first[reading], again[reading], strict=True):
                assert all(torch.equal(a, b) for a, b in zip(region, other, strict=True))


def test_a_resized_image_is_scored_at_the_labels_own_size(trained, mixed, tmp_path):
    experiment = teacher(tmp_path, score_size="short:36", **mixed)
    counts = score_split(experiment, experiment.val_split)
    labelled = counts["true_label"].whole.labelled
    for i in range(len(SIZES)):
        target = experiment.val_split[i].target
        assert labelled[i].sum() == (target != 255).sum()


def test_one_frame_has_no_foreign_label(trained):
    split = trained.open_split("val", 1)
    assert set(score_split(trained, split)) == {"true_label", "zero_label"}


@pytest.mark.parametrize("label_size", [(45, 70), (30, 31), (61, 94)])
def test_classes_in_blocks_equal_all_at_once(label_size):
    logits = torch.randn(2, 11, 12, 18, generator=torch.Generator().manual_seed(0))
    sizes = {"image_size": (45, 70), "label_size": label_size}
    expected = label_size_logits(logits, 4, **sizes).argmax(1)
    for block_values in (1, 4 * 2 * 61 * 94, 10**9):
        result = predicted_classes(logits, 4, **sizes, block_values=block_values)
        assert torch.equal(result, expected)


MEMORY_PROGRAM = """
import resource, torch
from labkit.method import count_pixels
from labkit.training.predict import predicted_classes
torch.set_num_threads(1)
logits = torch.randn(1, 150, 200, 200)
size = (1600, 1600)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
prediction = predicted_classes(logits, 8, image_size=size, label_size=size)
count_pixels(prediction, prediction, num_classes=150)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


@pytest.mark.slow
def test_a_large_frame_of_many_classes_needs_little_memory():
    """1600 x 1600 and 150 classes: full-size logits alone would be 1465 MiB."""
    done = subprocess.run(
        [sys.executable, "-c", MEMORY_PROGRAM], capture_output=True, text=True, check=True
    )
    assert float(done.stdout) < 700


def test_logits_of_an_experiment_are_those_its_score_is_counted_from(trained):
    batch = frames_batch(trained.val_split, trained.info, [2, 3])
    logits = trained.logits("true_label", batch)
    assert logits.shape == (2, CLASSES, 90, 40)
    assert torch.equal(logits.argmax(1), trained.prediction("true_label", batch))
    counts = count_pixels(logits.argmax(1), batch.target, num_classes=CLASSES)
    expected = score_split(trained, trained.val_split)["true_label"].whole
    assert torch.equal(counts.hits, expected.hits[2:4])
