"""Predictors: what a network is given to read."""

import pytest
import torch

from labkit.datasets.batches import ScoringBatch
from labkit.method import LabelNoising
from labkit.training.predict import (
    noise_by_frame,
    predict_from_image,
    predict_with_foreign_label,
    predict_with_label,
    predict_with_zero_label,
)
from tests.tiny import NUM_CLASSES, TinyNetwork, block_target, frozen, random_images

NOISING = LabelNoising(num_classes=NUM_CLASSES)


def make_batch(n=4) -> ScoringBatch:
    target = block_target(n)
    foreign = target.roll(-(n // 2), 0)
    return ScoringBatch(random_images(n), target, target, foreign, torch.arange(n))


def test_predictors_give_the_network_what_they_are_named_for():
    teacher, batch = frozen(TinyNetwork(1)), make_batch()
    for predict, label in (
        (predict_with_label, batch.label),
        (predict_with_foreign_label, batch.foreign_label),
    ):
        channel = noise_by_frame(NOISING, label, batch.index, seed=1)
        expected = teacher(torch.cat([batch.images, channel], 1))
        outputs = predict(teacher, batch, NOISING, seed=1)
        assert torch.equal(outputs.logits, expected.logits)
    plain = frozen(TinyNetwork())
    assert torch.equal(predict_from_image(plain, batch).logits, plain(batch.images).logits)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_zero_label_is_a_channel_of_zeros(channels):
    teacher, batch = frozen(TinyNetwork(channels)), make_batch()
    zeros = torch.zeros(4, channels, 32, 32)
    expected = teacher(torch.cat([batch.images, zeros], 1)).logits
    assert torch.equal(predict_with_zero_label(teacher, batch).logits, expected)


def test_noise_belongs_to_the_frame_however_frames_are_batched():
    batch = make_batch()
    state = torch.get_rng_state()
    whole = noise_by_frame(NOISING, batch.label, batch.index, seed=2)
    parts = [
        noise_by_frame(NOISING, batch.label[i : i + 1], batch.index[i : i + 1], seed=2)
        for i in range(4)
    ]
    assert torch.equal(whole, torch.cat(parts))
    assert torch.equal(state, torch.get_rng_state())
    same_label = batch.label[:1].expand(4, -1, -1)
    frames = noise_by_frame(NOISING, same_label, batch.index, seed=2)
    assert not torch.equal(frames[0], frames[1])
    other_seed = noise_by_frame(NOISING, same_label, batch.index, seed=3)
    assert not torch.equal(frames[0], other_seed[0])
