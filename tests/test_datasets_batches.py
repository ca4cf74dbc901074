"""Batches are functions of (seed, step), with image and target aligned; scoring keeps the label."""

import pytest
import torch

from labkit.datasets import (
    Sample,
    TrainBatches,
    dataset_info,
    frames_batch,
    scoring_batches,
    scoring_size,
)
from labkit.datasets.memory import KeptSplit, fits_memory
from tests.tiny import rng_untouched

INFO = dataset_info("streets")
EVERYTHING = {"crop": (24, 40), "scale": (0.5, 2), "brightness": 0.3}


class Blocks:
    """Frames of random 8 x 8 blocks of ids 0 and 1; the image is white where the id is 1."""

    def __init__(self, sizes=((32, 48),) * 7) -> None:
        generator = torch.Generator().manual_seed(0)
        ids = [torch.randint(2, (h // 8 + 1, w // 8 + 1), generator=generator) for h, w in sizes]
        self.targets = [
            block.repeat_interleave(8, 0).repeat_interleave(8, 1)[:h, :w]
            for block, (h, w) in zip(ids, sizes, strict=True)
        ]
        self.reads = 0

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> Sample:
        self.reads += 1
        target = self.targets[index]
        return Sample((255 * target).to(torch.uint8).expand(3, -1, -1).clone(), target.clone())

    def size(self, index: int) -> tuple[int, int]:
        return tuple(self.targets[index].shape)


MIXED = ((40, 64), (40, 64), (64, 40), (90, 43), (40, 64), (43, 46))


def train_batches(*, crop=(32, 48), seed=0, batch_size=4, split=None, **options) -> TrainBatches:
    return TrainBatches(
        split or Blocks(), INFO, crop=crop, batch_size=batch_size, seed=seed, **options
    )


def same(a, b) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def white(images) -> torch.Tensor:
    """(N, H, W) bool: brighter than half before normalisation."""
    return images[:, 0] * INFO.std[0] + INFO.mean[0] > 0.5


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # a machine of one core
@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")  # Python 3.12 and later
def test_batches_do_not_depend_on_workers_or_on_where_the_run_started():
    batches = train_batches(**EVERYTHING)
    alone = list(batches.loader(start=0, steps=4, workers=0))
    fetched = list(batches.loader(start=0, steps=4, workers=2))
    resumed = list(batches.loader(start=2, steps=4, workers=0))
    assert len(alone) == len(fetched) == 4
    assert all(same(a, b) for a, b in zip(alone, fetched, strict=True))
    assert all(same(a, b) for a, b in zip(alone[2:], resumed, strict=True))


def test_a_batch_is_a_function_of_seed_and_step():
    batches = train_batches(**EVERYTHING)
    third = batches[3]
    torch.randn(5)
    assert same(third, train_batches(**EVERYTHING)[3])
    assert not same(third, batches[2])
    assert not same(third, train_batches(**EVERYTHING, seed=1)[3])


def test_every_epoch_shows_every_frame_once_in_a_new_order():
    batches = train_batches(batch_size=1)
    order = [batches[step].index.item() for step in range(14)]
    assert sorted(order[:7]) == sorted(order[7:]) == list(range(7))
    assert order[:7] != order[7:]
    assert [batches[step].index.item() for step in range(14)] == order


def test_batches_and_the_loader_leave_global_randomness_alone():
    with rng_untouched():
        train_batches(**EVERYTHING)[0]
        list(train_batches().loader(start=0, steps=1, workers=0))


@pytest.mark.parametrize("crop", [(32, 48), (16, 24), (40, 64)])
def test_crop_and_flip_move_image_and_target_together(crop):
    batches = train_batches(crop=crop)
    frames, flipped = Blocks(), 0
    for step in range(6):
        batch = batches[step]
        assert batch.images.shape[2:] == batch.target.shape[1:] == crop
        inside = batch.target != 255
        assert torch.equal(white(batch.images)[inside], batch.target[inside] == 1)
        flipped += sum(
            torch.equal(target, frames[i].target.flip(1))
            for target, i in zip(batch.target, batch.index.tolist(), strict=True)
        )
    if crop == (32, 48):
        assert 0 < flipped < 24


@pytest.mark.parametrize("scale", [(0.5, 0.5), (2, 2), (0.5, 2)])
def test_zoom_moves_image_and_target_together(scale):
    batches = train_batches(crop=(24, 40), scale=scale)
    agree = []
    for step in range(6):
        batch = batches[step]
        inside = batch.target != 255
        assert set(batch.target.unique().tolist()) <= {0, 1, 255}
        agree.append((white(batch.images) == (batch.target == 1))[inside].float().mean())
    assert min(agree) > 0.93  # at block edges zoomed pixels are grey
    assert torch.stack(agree).mean() > 0.96


def test_zoom_draws_another_factor_for_every_frame():
    batch = train_batches(crop=(64, 96), scale=(0.5, 2), batch_size=7)[0]
    assert len({int((target != 255).sum()) for target in batch.target}) == 7


@pytest.mark.parametrize(
    ("resize", "scale", "labelled"),
    [
        ("native", (1, 1), 32 * 48),
        ("16x24", (1, 1), 16 * 24),
        ("short:16", (2, 2), 32 * 48),
        ("native", (0.5, 0.5), 16 * 24),
    ],
)
def test_resizing_comes_before_the_zoom(resize, scale, labelled):
    batch = train_batches(crop=(64, 64), resize=resize, scale=scale)[0]
    assert (batch.target != 255).flatten(1).sum(1).tolist() == [labelled] * 4


def test_frames_of_mixed_sizes_come_as_crops_of_one_size():
    batches = train_batches(split=Blocks(MIXED), crop=(32, 32), scale=(0.5, 2), batch_size=6)
    for step in range(3):
        batch = batches[step]
        assert batch.images.shape == (6, 3, 32, 32)
        inside = batch.target != 255
        agree = (white(batch.images) == (batch.target == 1))[inside].float().mean()
        assert agree > 0.93


def test_padding_is_void_and_the_mean_colour():
    batch = train_batches(crop=(40, 64))[0]
    padded = batch.target == 255
    assert padded.flatten(1).sum(1).tolist() == [40 * 64 - 32 * 48] * 4
    assert batch.images.movedim(1, -1)[padded].abs().max() < 1 / 255 / min(INFO.std)
    assert batch.images.movedim(1, -1)[~padded].abs().min() > 1


def test_images_are_normalised_by_the_data_set_s_statistics():
    batch = train_batches()[0]
    expected = (torch.tensor([0.0, 1.0]) - INFO.mean[0]) / INFO.std[0]
    torch.testing.assert_close(batch.images.unique(), expected)
    assert batch.images.dtype == torch.float32


def test_brightness_changes_the_image_alone():
    plain, jittered = train_batches()[0], train_batches(brightness=0.3)[0]
    assert torch.equal(plain.index, jittered.index)
    assert torch.equal(plain.target, jittered.target)
    assert not torch.equal(plain.images, jittered.images)


# scoring


@pytest.mark.parametrize("batch_size", [1, 3, 20])
def test_scoring_shows_every_frame_once_with_the_label_half_a_split_away(batch_size):
    split = Blocks()
    batches = list(scoring_batches(split, INFO, batch_size=batch_size, foreign=True))
    assert torch.cat([batch.index for batch in batches]).tolist() == list(range(7))
    targets = torch.stack(split.targets)
    assert torch.equal(torch.cat([batch.target for batch in batches]), targets)
    assert torch.equal(torch.cat([batch.label for batch in batches]), targets)
    foreign = torch.stack([targets[(i + 3) % 7] for i in range(7)])
    assert torch.equal(torch.cat([batch.foreign_label for batch in batches]), foreign)
    assert all(torch.equal(white(batch.images), batch.target == 1) for batch in batches)


def test_frames_of_equal_size_are_scored_together_and_in_order():
    split = Blocks(MIXED)
    batches = list(scoring_batches(split, INFO, batch_size=20, foreign=True))
    assert [batch.index.tolist() for batch in batches] == [[0, 1], [2], [3], [4], [5]]
    for batch in batches:
        assert batch.images.shape[2:] == batch.label.shape[1:] == batch.foreign_label.shape[1:]
        assert batch.images.shape[2:] == batch.target.shape[1:]


@pytest.mark.parametrize("resize", ["20x30", "short:20"])
def test_the_image_is_resized_for_scoring_and_the_target_is_not(resize):
    split = Blocks(MIXED)
    for batch in scoring_batches(split, INFO, resize=resize, batch_size=4, foreign=True):
        i = int(batch.index[0])
        assert torch.equal(batch.target[0], split.targets[i])
        size = scoring_size(resize, split.size(i))
        assert batch.images.shape[2:] == batch.label.shape[1:] == batch.foreign_label.shape[1:]
        assert batch.images.shape[2:] == size
        assert set(batch.label.unique().tolist()) <= {0, 1}
        assert (white(batch.images) == (batch.label == 1)).float().mean() > 0.85


def test_foreign_labels_are_read_where_asked_and_where_there_are_two_frames():
    (batch,) = scoring_batches(Blocks(), INFO, batch_size=7, foreign=False)
    assert batch.foreign_label is None
    assert frames_batch(Blocks(((32, 48),)), INFO, [0]).foreign_label is None
    two = frames_batch(Blocks(((32, 48),) * 2), INFO, [0, 1])
    assert torch.equal(two.foreign_label, two.label.flip(0))


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_scoring_does_not_depend_on_workers():
    split = Blocks(MIXED)
    with rng_untouched():
        alone = list(scoring_batches(split, INFO, batch_size=2, foreign=True))
        fetched = list(scoring_batches(split, INFO, batch_size=2, foreign=True, workers=2))
    assert all(same(a, b) for a, b in zip(alone, fetched, strict=True))


@pytest.mark.parametrize(
    ("resize", "native", "expected"),
    [
        ("native", (360, 480), (360, 480)),
        ("180x240", (360, 480), (180, 240)),
        ("short:512", (1024, 2048), (512, 1024)),
        ("short:512", (333, 500), (512, 769)),
        ("short:512", (500, 375), (683, 512)),
    ],
)
def test_sizes_of_scored_images(resize, native, expected):
    assert scoring_size(resize, native) == expected


def test_batches_move_between_devices_with_every_part():
    meta = torch.device("meta")
    moved = next(scoring_batches(Blocks(), INFO, batch_size=2, foreign=True)).to(meta)
    assert all(part.device.type == "meta" for part in moved)
    without = next(scoring_batches(Blocks(), INFO, batch_size=2, foreign=False)).to(meta)
    assert without.foreign_label is None
    assert all(part.device.type == "meta" for part in train_batches()[0].to(meta))


# frames kept in memory


def test_kept_frames_are_read_once_and_are_the_same():
    frames, kept = Blocks(), KeptSplit(Blocks())
    for _ in range(2):
        for i in range(7):
            assert same(kept[i], frames[i])
            assert kept[i].target.dtype == torch.int64
    assert kept.split.reads == 7


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_worker_processes_read_no_frame_that_is_kept():
    kept = KeptSplit(Blocks())
    list(train_batches(split=kept).loader(start=0, steps=4, workers=2))
    assert kept.split.reads == 7


def test_a_split_is_kept_where_all_of_it_fits():
    size = 7 * 32 * 48 * 4
    assert fits_memory(Blocks(), size)
    assert not fits_memory(Blocks(), size - 1)
