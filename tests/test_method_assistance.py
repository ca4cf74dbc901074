"""Other noisings, and teachers with changed answers: numbers by hand, and what changes nothing."""

import math

import torch
from torch import nn

from labkit.method import LabelNoising, Outputs
from labkit.method.assistance import (
    MeanOverNoisings,
    drop_label,
    mean_logits,
    repeat_noising,
    scale_label,
)
from tests.tiny import TinyNetwork, block_target, frozen, random_images, seeded

IMAGES, TARGET = random_images(), block_target()
NOISING = LabelNoising(num_classes=4, label_channels=2)


class Answers(nn.Module):
    """A teacher of stride 1 whose logits are its label channels and whose feature is their sum."""

    def __init__(self, label_channels: int) -> None:
        super().__init__()
        self.label_channels = label_channels

    def forward(self, inputs):
        channels = inputs[:, 3:]
        return Outputs(channels, 1, {}, (channels.sum(1, keepdim=True),))


def channel_maps(*pixels) -> torch.Tensor:
    """(1, C, 1, P) from one vector of channels for each pixel."""
    return torch.tensor(pixels).T[None, :, None]


def read(teacher, channels: torch.Tensor) -> Outputs:
    images = torch.zeros(len(channels), 3, *channels.shape[2:])
    return teacher(torch.cat([images, channels], 1))


# several noisings


def test_repeated_noisings_are_those_of_one_generator_in_order():
    channels = repeat_noising(NOISING, 3)(TARGET, generator=seeded())
    assert channels.shape == (2, 6, 32, 32)
    generator = seeded()
    for part in channels.chunk(3, 1):
        assert torch.equal(part, NOISING(TARGET, generator=generator))


def test_the_mean_answer_by_hand():
    """Probabilities 1/4, 3/4 and 3/4, 1/4 make 1/2, 1/2; 2 is what the softmax took off."""
    first, second = channel_maps([math.log(1), math.log(3)]), channel_maps([math.log(3), 0.0])
    outputs = read(MeanOverNoisings(Answers(2), 2), torch.cat([first, second], 1))
    torch.testing.assert_close(outputs.logits, channel_maps([math.log(2), math.log(2)]))
    torch.testing.assert_close(outputs.features[0], channel_maps([math.log(3)]))


def test_equal_noisings_are_one():
    teacher = frozen(TinyNetwork(2))
    channels = NOISING(TARGET, generator=seeded())
    one = teacher(torch.cat([IMAGES, channels], 1))
    wrapped = MeanOverNoisings(teacher, 3)
    assert wrapped.label_channels == 6
    three = wrapped(torch.cat([IMAGES, channels, channels, channels], 1))
    torch.testing.assert_close(three.logits, one.logits)
    torch.testing.assert_close(three.features, one.features)


def test_the_mean_of_unlike_answers_is_finite():
    logits = torch.tensor([1e4, -1e4]).view(2, 1, 1, 1, 1).expand(2, 1, 2, 1, 1).clone()
    logits[:, :, 1] *= -1
    assert torch.isfinite(mean_logits(logits)).all()


# an empty label


def test_the_label_is_dropped_for_whole_images():
    many = TARGET[:1].expand(200, -1, -1)
    channels = drop_label(NOISING, 0.25)(many, generator=seeded())
    given = NOISING(many, generator=seeded())
    empty = (channels == 0).flatten(1).all(1)
    assert 30 <= empty.sum() <= 70
    assert torch.equal(channels[~empty], given[~empty])
    assert not drop_label(NOISING, 1.0)(many, generator=seeded()).any()


def test_a_share_of_the_label_for_each_image():
    given = NOISING(TARGET, generator=seeded())
    scaled = scale_label(NOISING, torch.tensor([1.0, 0.25]))(TARGET, generator=seeded())
    assert torch.equal(scaled[0], given[0])
    torch.testing.assert_close(scaled[1], given[1] / 4)
