"""Data sets keep their promises, and batches are functions of (seed, step) with image and target aligned."""

import numpy as np
import pytest
import torch
from PIL import Image

from labkit.config import SettingsError
from labkit.datasets import DataError, Sample, TrainBatches, available, dataset_info, dataset_recipe, evaluation_batches, open_split
from labkit.datasets._loading import joint_augmentation


@pytest.mark.parametrize("name", available())
def test_facts_of_a_data_set_are_consistent(name):
    info = dataset_info(name)
    assert info.name == name
    assert "default" in info.recipes
    assert len(info.palette) == info.num_classes == len(set(info.class_names))
    assert all(len(colour) == 3 and all(0 <= value <= 255 for value in colour) for colour in info.palette)
    assert len(set(info.palette)) == info.num_classes
    assert all(0 < value < 1 for value in (*info.mean, *info.std))
    assert [info.class_id(class_name) for class_name in info.class_names] == list(range(info.num_classes))
    assert {"train", "val"} <= set(info.splits)


def test_unknown_names_list_what_exists():
    with pytest.raises(SettingsError, match=r"cityscape.*camvid.*streets"):
        dataset_info("cityscape")
    with pytest.raises(SettingsError, match=r"'fast'.*default"):
        dataset_recipe("streets", "fast")
    with pytest.raises(DataError, match=r"'dev'.*train, val, test"):
        open_split("streets", "dev", root="", size=1, height=16, width=32)
    with pytest.raises(ValueError, match=r"'boat'.*road"):
        dataset_info("streets").class_id("boat")


def streets(split: str = "train", size: int = 4, height: int = 48, width: int = 80):
    return open_split("streets", split, root="", size=size, height=height, width=width)


def test_a_scene_has_the_size_asked_for_and_ids_within_the_classes():
    for height, width in ((48, 80), (64, 128), (33, 50)):
        image, target = streets(height=height, width=width)[1]
        assert (image.shape, image.dtype) == ((3, height, width), torch.uint8)
        assert (target.shape, target.dtype) == ((height, width), torch.int64)
        assert set(target.unique().tolist()) <= {*range(8), 255}


def test_a_scene_is_a_function_of_split_and_index(rng_untouched):
    with rng_untouched():
        forward, backward = streets(size=4), streets(size=9)
        later = [backward[i] for i in (3, 2, 1, 0)][::-1]
    for i, again in enumerate(later):
        assert torch.equal(forward[i].image, again.image)
        assert torch.equal(forward[i].target, again.target)
    assert not torch.equal(forward[0].image, forward[1].image)


def test_splits_differ():
    first = [streets(split)[0].image for split in ("train", "val", "test")]
    assert not any(torch.equal(first[a], first[b]) for a, b in ((0, 1), (0, 2), (1, 2)))


def test_every_class_and_void_occur_within_thirty_scenes():
    split = streets("val", size=30)
    seen = torch.cat([split[i].target.unique() for i in range(30)]).unique()
    assert seen.tolist() == [*range(8), 255]


def test_splits_have_a_length_and_an_end():
    assert [len(streets(split, size=0)) for split in ("train", "val", "test")] == [400, 300, 300]
    assert len(streets(size=5)) == 5
    with pytest.raises(IndexError, match="no scene 4"):
        streets(size=4)[4]
    assert len({streets().frame_name(i) for i in range(4)}) == 4


# camvid, from a small folder made here


def write_pair(root, split, stem, target, *, suffix=".png", image=None):
    frames, labels = root / "camvid" / split, root / "camvid" / f"{split}annot"
    frames.mkdir(parents=True, exist_ok=True)
    labels.mkdir(parents=True, exist_ok=True)
    image = np.full((*target.shape, 3), (250, 0, 0), np.uint8) if image is None else image
    Image.fromarray(image).save(frames / f"{stem}{suffix}")
    Image.fromarray(target.astype(np.uint8)).save(labels / f"{stem}.png")


@pytest.fixture
def camvid_root(tmp_path):
    ids = np.arange(12).reshape(3, 4).repeat(8, 0).repeat(8, 1)  # 24 x 32, every id 0-11
    write_pair(tmp_path, "train", "b", ids)
    write_pair(tmp_path, "train", "a", ids[::-1], suffix=".jpg")
    return tmp_path


def camvid(root, split="train", size=0, height=24, width=32):
    return open_split("camvid", split, root=str(root), size=size, height=height, width=width)


def test_camvid_pairs_by_stem_in_order_and_maps_void(camvid_root):
    split = camvid(camvid_root)
    assert [split.frame_name(i) for i in range(len(split))] == ["a", "b"]
    expected = torch.arange(12).view(3, 4).repeat_interleave(8, 0).repeat_interleave(8, 1)
    expected[expected == 11] = 255
    assert torch.equal(torch.stack([split[1].target, split[0].target]), torch.stack([expected, expected.flip(0)]))
    assert split[1].image[:, 0, 0].tolist() == [250, 0, 0]
    assert split[0].image[0].min() > 240  # JPEG keeps about the red, in RGB order
    assert split[0].image[2].max() < 20
    assert len(camvid(camvid_root, size=1)) == 1


def test_camvid_brings_frames_and_labels_to_the_size_asked_for(camvid_root):
    image, target = camvid(camvid_root, height=12, width=16)[1]
    assert (image.shape, image.dtype) == ((3, 12, 16), torch.uint8)
    expected = torch.arange(12).view(3, 4).repeat_interleave(4, 0).repeat_interleave(4, 1)
    assert torch.equal(target, expected.masked_fill(expected == 11, 255))


def test_camvid_is_found_by_the_environment_variable(camvid_root, monkeypatch):
    with pytest.raises(DataError, match="LABKIT_DATA"):
        camvid("")
    monkeypatch.setenv("LABKIT_DATA", str(camvid_root))
    assert len(camvid("")) == 2


class Blocks:
    """Seven frames of random 8 x 8 blocks of ids 0 and 1; the image is white where the id is 1."""

    def __init__(self, height: int = 32, width: int = 48) -> None:
        generator = torch.Generator().manual_seed(0)
        ids = torch.randint(2, (7, height // 8, width // 8), generator=generator)
        self.targets = ids.repeat_interleave(8, 1).repeat_interleave(8, 2)

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> Sample:
        return Sample((255 * self.targets[index]).to(torch.uint8).expand(3, -1, -1).clone(), self.targets[index].clone())


INFO = dataset_info("streets")


def train_batches(*, crop=(32, 48), scale=(1, 1), brightness=0.0, seed=0, batch_size=4) -> TrainBatches:
    augmentation = joint_augmentation(INFO, crop=crop, scale=scale, brightness=brightness)
    return TrainBatches(Blocks(), INFO, augmentation, batch_size=batch_size, seed=seed)


def same(a, b) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a[:3], b[:3], strict=True))


def white(batch) -> torch.Tensor:
    """(N, H, W) bool: brighter than half before normalisation."""
    return batch.images[:, 0] * INFO.std[0] + INFO.mean[0] > 0.5


EVERYTHING = {"crop": (24, 40), "scale": (0.5, 2), "brightness": 0.3}


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


def test_batches_leave_global_randomness_alone(rng_untouched):
    with rng_untouched():
        train_batches(**EVERYTHING)[0]


def test_the_loader_leaves_global_randomness_alone(rng_untouched):
    with rng_untouched():
        list(train_batches().loader(start=0, steps=1, workers=0))


@pytest.mark.parametrize("crop", [(32, 48), (16, 24), (40, 64)])
def test_crop_and_flip_move_image_and_target_together(crop):
    batches = train_batches(crop=crop)
    frames, flipped = Blocks(), 0
    for step in range(6):
        batch = batches[step]
        assert batch.images.shape[2:] == batch.target.shape[1:] == crop
        inside = batch.target != 255
        assert torch.equal(white(batch)[inside], batch.target[inside] == 1)
        flipped += sum(torch.equal(t, frames[i].target.flip(1)) for t, i in zip(batch.target, batch.index.tolist(), strict=True))
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
        agree.append((white(batch) == (batch.target == 1))[inside].float().mean())
    assert min(agree) > 0.93  # at block edges zoomed pixels are grey
    assert torch.stack(agree).mean() > 0.96


def test_zoom_draws_another_factor_for_every_frame():
    batch = train_batches(crop=(64, 96), scale=(0.5, 2), batch_size=7)[0]
    assert len({int((target != 255).sum()) for target in batch.target}) == 7


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


@pytest.mark.parametrize("batch_size", [1, 3, 7, 20])
def test_evaluation_shows_every_frame_once_with_the_label_half_a_split_away(batch_size):
    split = Blocks()
    batches = list(evaluation_batches(split, INFO, batch_size=batch_size))
    assert torch.cat([batch.index for batch in batches]).tolist() == list(range(7))
    assert torch.equal(torch.cat([batch.target for batch in batches]), split.targets)
    foreign = torch.stack([split.targets[(i + 3) % 7] for i in range(7)])
    assert torch.equal(torch.cat([batch.foreign_target for batch in batches]), foreign)
    assert all(torch.equal(white(batch), batch.target == 1) for batch in batches)


def test_batches_move_between_devices_with_every_part():
    batch = next(evaluation_batches(Blocks(), INFO, batch_size=2))
    moved = batch.to(torch.device("meta"))
    assert all(part.device.type == "meta" for part in moved)
    assert train_batches()[0].to(torch.device("meta")).foreign_target is None
