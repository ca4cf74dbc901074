"""Generated street scenes."""

import hashlib

import pytest
import torch

from labkit.datasets import open_split
from labkit.datasets.streets import Streets, make_scene
from tests.tiny import rng_untouched


def streets(split: str = "train", length: int = 4, height: int = 48, width: int = 80) -> Streets:
    return Streets(split, length, height, width)


def test_a_scene_has_its_size_and_ids_within_the_classes():
    for height, width in ((48, 80), (33, 50)):
        frames = streets(height=height, width=width)
        image, target = frames[1]
        assert frames.size(1) == (height, width)
        assert (image.shape, image.dtype) == ((3, height, width), torch.uint8)
        assert (target.shape, target.dtype) == ((height, width), torch.int64)
        assert set(target.unique().tolist()) <= {*range(8), 255}


def test_a_scene_is_a_function_of_split_and_index():
    with rng_untouched():
        forward, backward = streets(length=4), streets(length=9)
        later = [backward[i] for i in (3, 2, 1, 0)][::-1]
    for i, again in enumerate(later):
        assert torch.equal(forward[i].image, again.image)
        assert torch.equal(forward[i].target, again.target)
    assert not torch.equal(forward[0].image, forward[1].image)


def test_splits_differ():
    first = [streets(split)[0].image for split in ("train", "val", "test")]
    assert not any(torch.equal(first[a], first[b]) for a, b in ((0, 1), (0, 2), (1, 2)))


def test_every_class_and_void_occur_within_thirty_scenes():
    split = streets("val", length=30)
    seen = torch.cat([split[i].target.unique() for i in range(30)]).unique()
    assert seen.tolist() == [*range(8), 255]


@pytest.mark.parametrize(("name", "size"), [("streets", (64, 128)), ("streets_large", (128, 256))])
def test_splits_have_a_length_a_size_and_an_end(name, size):
    lengths = [len(open_split(name, split)) for split in ("train", "val", "test")]
    assert lengths == [400, 300, 300]
    split = open_split(name, "train", size=4)
    assert (len(split), split.size(0), split[0].target.shape) == (4, size, size)
    assert split.files(0) == ()
    with pytest.raises(IndexError, match="no scene 4"):
        split[4]
    assert len({split.frame_name(i) for i in range(4)}) == 4


def test_scenes_of_the_published_numbers_are_unchanged():
    """Every bit of 40 scenes at two sizes, as of the first version."""
    digest = hashlib.sha256()
    for seed in range(40):
        for height, width in ((64, 128), (33, 50)):
            for array in make_scene(seed, height=height, width=width):
                digest.update(array.tobytes())
    assert digest.hexdigest().startswith("eaf74f17e8fa593370d294ac")
