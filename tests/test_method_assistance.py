"""Other noisings, and teachers with changed answers: numbers by hand, and what changes nothing."""

import math

import torch
from torch import nn

from labkit.method import LabelNoising, Outputs
from labkit.method.assistance import (
    MeanOverNoisings,
    RegionMean,
    connected_regions,
    mean_logits,
    repeat_noising,
    target_as_channel,
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


# regions of the label


class FromImage(nn.Module):
    """A plain teacher of stride 1 whose two logits are the image's first channels."""

    label_channels = 0

    def forward(self, inputs):
        assert inputs.shape[1] == 3
        return Outputs(inputs[:, :2], 1, {}, ())


def region_mean(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Answer of a wrapped teacher that gives (N, 2, H, W) logits."""
    images = torch.cat([logits, torch.zeros_like(logits[:, :1])], 1)
    channel = target_as_channel(target, generator=seeded())
    return RegionMean(FromImage())(torch.cat([images, channel], 1)).logits


def test_connected_regions_by_hand():
    """Class 0 in two regions that touch at a corner alone, class 1 in two, and void."""
    target = torch.tensor([[[0, 0, 1], [1, 1, 0], [1, 1, 255]]])
    assert connected_regions(target).tolist() == [[[0, 0, 1], [2, 2, 3], [2, 2, 4]]]


def test_the_mean_over_two_regions_and_void_by_hand():
    """Probabilities 1/4 and 3/4 of one region make 1/2; the region of one pixel and void stay."""
    pixels = [[0.0, math.log(3)], [math.log(3), 0.0], [5.0, 1.0], [2.0, 3.0], [3.0, 2.0]]
    target = torch.tensor([[[1, 1, 0, 255, 255]]])
    expected = channel_maps([math.log(2)] * 2, [math.log(2)] * 2, *pixels[2:])
    torch.testing.assert_close(region_mean(channel_maps(*pixels), target), expected)


def test_what_is_constant_in_a_region_stays_and_the_mean_is_constant():
    constant = torch.randn(2, 2, 1, 1, generator=seeded()).expand(-1, -1, 32, 32)
    torch.testing.assert_close(region_mean(constant, TARGET), constant)
    averaged = region_mean(torch.randn(2, 2, 32, 32, generator=seeded()), TARGET)
    torch.testing.assert_close(region_mean(averaged, TARGET), averaged)
    void, blocks = TARGET[:, None] == 255, averaged.unfold(2, 8, 8).unfold(3, 8, 8)
    labelled = ~void.unfold(2, 8, 8).unfold(3, 8, 8).expand_as(blocks)
    spread = (blocks - blocks[..., :1, :1]).abs()
    assert spread[labelled].max() < 1e-5
    assert spread[~labelled].max() > 1


def test_regions_are_those_of_the_logits_grid():
    teacher = frozen(TinyNetwork())
    outputs = RegionMean(teacher)(
        torch.cat([IMAGES, target_as_channel(TARGET, generator=seeded())], 1)
    )
    plain = teacher(IMAGES)
    assert outputs.logits.shape == plain.logits.shape == (2, 4, 16, 16)
    assert torch.equal(outputs.features[0], plain.features[0])
    void = (TARGET == 255)[:, None, ::2, ::2].expand_as(plain.logits)
    assert torch.equal(outputs.logits[void], plain.logits[void])
    assert not torch.equal(outputs.logits[~void], plain.logits[~void])
