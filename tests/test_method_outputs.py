"""Outputs are split, resized and brought to one grid without a shift."""

import pytest
import torch
import torch.nn.functional as F

from labkit.method import (
    Outputs,
    common_grid,
    full_size,
    labelled_positions,
    pool_to_stride,
    split_outputs,
    target_on_grid,
)
from tests.tiny import random_outputs, seeded


def outputs(height: int, width: int, stride: int, *, seed: int = 0) -> Outputs:
    logits = torch.randn(2, 3, height, width, generator=seeded(seed))
    return Outputs(logits, stride, {}, ())


def test_parts_hold_every_tensor_of_the_batch():
    whole = random_outputs(4)
    whole = whole._replace(auxiliary={"aux": torch.randn(4, 2, 3, 3)})
    first, second = split_outputs(whole, 2)
    for name, rows in ((first, slice(0, 2)), (second, slice(2, 4))):
        assert torch.equal(name.logits, whole.logits[rows])
        assert torch.equal(name.auxiliary["aux"], whole.auxiliary["aux"][rows])
        assert all(
            torch.equal(a, b[rows]) for a, b in zip(name.features, whole.features, strict=True)
        )
        assert name.stride == whole.stride
    with pytest.raises(ValueError, match="4 in 3 parts"):
        split_outputs(whole, 3)


@pytest.mark.parametrize(("stride", "size"), [(1, (5, 6)), (4, (20, 24)), (4, (18, 21))])
def test_full_size_is_bilinear_and_cropped(stride, size):
    logits = outputs(5, 6, stride).logits
    expected = F.interpolate(logits, scale_factor=stride, mode="bilinear")[
        ..., : size[0], : size[1]
    ]
    assert full_size(logits.bfloat16(), stride, size).dtype == torch.float32
    torch.testing.assert_close(full_size(logits, stride, size), expected)


def test_full_size_refuses_logits_that_do_not_cover_the_input():
    with pytest.raises(ValueError, match=r"\(20, 24\).*\(21, 24\)"):
        full_size(outputs(5, 6, 4).logits, 4, (21, 24))


def test_pooling_averages_what_a_cell_holds():
    logits = outputs(4, 5, 2).logits
    pooled = pool_to_stride(logits, 2, 4)
    assert pooled.shape[2:] == (2, 3)
    torch.testing.assert_close(pooled[..., 0, 0], logits[..., :2, :2].mean((2, 3)))
    torch.testing.assert_close(pooled[..., 1, 2], logits[..., 2:, 4].mean(2))
    assert torch.equal(pool_to_stride(logits, 4, 2), logits)
    with pytest.raises(ValueError, match="wanted stride 3"):
        pool_to_stride(logits, 2, 3)


@pytest.mark.parametrize("pixels", [64, 70, 65, 33])
@pytest.mark.parametrize("strides", [(1, 8), (8, 2), (4, 4), (2, 32)])
@pytest.mark.parametrize("wanted", [1, 4, 16])
def test_two_networks_meet_at_the_coarser_grid(pixels, strides, wanted):
    a, b = (outputs(-(-pixels // s), -(-pixels // s), s, seed=s) for s in strides)
    logits_a, logits_b, stride = common_grid(a, b, stride=wanted)
    assert stride == max(*strides, wanted)
    assert logits_a.shape == logits_b.shape == (2, 3, -(-pixels // stride), -(-pixels // stride))
    if strides[0] == stride:
        assert torch.equal(logits_a, a.logits)
    back_b, back_a, _ = common_grid(b, a, stride=wanted)
    assert torch.equal(logits_a, back_a)
    assert torch.equal(logits_b, back_b)


def test_strides_that_do_not_divide_are_resized_bilinearly():
    a, b = outputs(8, 8, 3), outputs(6, 6, 4)
    logits_a, logits_b, stride = common_grid(a, b)
    assert (stride, logits_a.shape[2:]) == (4, (6, 6))
    torch.testing.assert_close(logits_a, F.interpolate(a.logits, (6, 6), mode="bilinear"))
    assert torch.equal(logits_b, b.logits)


@pytest.mark.parametrize("pixels", [64, 70, 65, 9, 1])
@pytest.mark.parametrize("stride", [1, 2, 4, 8, 32])
def test_a_position_takes_the_label_at_its_centre(pixels, stride):
    cells = -(-pixels // stride)
    target = torch.arange(pixels).expand(1, pixels, pixels)
    columns = target_on_grid(target, stride, (cells, cells))[0, 0].tolist()
    for cell, column in enumerate(columns):
        centre = (cell + 0.5) * stride - 0.5
        assert abs(column - centre) <= 0.5 or column == pixels - 1


def test_labelled_positions_are_exact_where_the_stride_does_not_divide_the_width():
    """A void band at columns 32..39 of 70 covers exactly cell 4 at stride 8."""
    target = torch.zeros(1, 70, 70, dtype=torch.int64)
    target[:, :, 32:40] = 255
    kept = labelled_positions(target, 8, (9, 9))
    assert (~kept).nonzero()[:, 2].unique().tolist() == [4]
    target[:, :, 64:] = 255
    assert not labelled_positions(target, 8, (9, 9))[:, :, 8].any()
