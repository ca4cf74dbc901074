"""What a network returns, and how its logits and a target are brought to one grid.

Position i of a map with stride s stands at input pixel (i + 1/2) s - 1/2 (align_corners=False).
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from labkit.method.noising import IGNORE_INDEX


class Outputs(NamedTuple):
    """The result of a segmentation network's forward pass."""

    logits: Tensor  # (N, K, h, w) at the decoder's own stride
    stride: int  # input pixels per logit
    auxiliary: dict[str, Tensor]  # head name -> logits; empty in eval mode
    features: tuple[Tensor, ...]  # encoder stages, finest first


def class_planes(outputs: Outputs) -> Outputs:
    """Outputs whose logits lie in memory class by class, as losses read them: one copy for all."""
    auxiliary = {name: logits.contiguous() for name, logits in outputs.auxiliary.items()}
    return outputs._replace(logits=outputs.logits.contiguous(), auxiliary=auxiliary)


def split_outputs(outputs: Outputs, parts: int) -> list[Outputs]:
    """Outputs of a batch of `parts` equal parts, one by one.

    Raises:
        ValueError: the batch cannot be divided into that many parts.
    """
    if len(outputs.logits) % parts:
        raise ValueError(
            f"split_outputs: a batch of {len(outputs.logits)} in {parts} parts; "
            "expected a multiple."
        )
    pieces = [outputs.logits.chunk(parts)]
    pieces += [logits.chunk(parts) for logits in outputs.auxiliary.values()]
    pieces += [feature.chunk(parts) for feature in outputs.features]
    heads = len(outputs.auxiliary)
    return [
        Outputs(
            logits=part[0],
            stride=outputs.stride,
            auxiliary=dict(zip(outputs.auxiliary, part[1 : 1 + heads], strict=True)),
            features=part[1 + heads :],
        )
        for part in zip(*pieces, strict=True)
    ]


def at_least_float32(values: Tensor) -> Tensor:
    """The values in float32; float64 stays float64."""
    return values if values.dtype == torch.float64 else values.float()


def full_size(logits: Tensor, stride: int, size: tuple[int, int]) -> Tensor:
    """Logits at the input's size: bilinear to stride * (h, w), then cropped.

    Args:
        logits: (N, K, h, w).
        stride: input pixels per logit.
        size: (H, W) of the input, at most stride * (h, w).

    Returns:
        (N, K, H, W) float32 (float64 stays).

    Raises:
        ValueError: the logits do not cover the size.
    """
    height, width = size
    covered = (stride * logits.shape[2], stride * logits.shape[3])
    if covered[0] < height or covered[1] < width:
        raise ValueError(
            f"full_size: logits {tuple(logits.shape)} at stride {stride} cover {covered} pixels; "
            f"expected at least {tuple(size)}."
        )
    logits = at_least_float32(logits)
    if stride > 1:
        logits = F.interpolate(logits, covered, mode="bilinear", align_corners=False)
    return logits if covered == (height, width) else logits[..., :height, :width]


def pool_to_stride(logits: Tensor, stride: int, wanted: int) -> Tensor:
    """Logits (N, K, h, w) average-pooled from `stride` to a coarser one, float32 (float64 stays).

    A stride that is already coarser stays. Cells cut by the edge average what they hold.

    Raises:
        ValueError: `wanted` is coarser than `stride` and no multiple of it.
    """
    if wanted > stride and wanted % stride:
        raise ValueError(
            f"pool_to_stride: wanted stride {wanted}, the logits' stride is {stride}; "
            "expected a multiple of it."
        )
    logits = at_least_float32(logits)
    return F.avg_pool2d(logits, wanted // stride, ceil_mode=True) if wanted > stride else logits


def common_grid(a: Outputs, b: Outputs, *, stride: int = 1) -> tuple[Tensor, Tensor, int]:
    """Logits of two networks at one stride: the coarsest of theirs and `stride`.

    A stride that divides it is average-pooled; another one is resized bilinearly to the grid.

    Returns:
        Both logits (N, K, h, w) in float32 (float64 stays), and their stride.
    """
    stride = max(stride, a.stride, b.stride)
    size = _grid_size(max(a, b, key=lambda outputs: outputs.stride), stride)
    return _on_grid(a, stride, size), _on_grid(b, stride, size), stride


def target_on_grid(target: Tensor, stride: int, size: tuple[int, int]) -> Tensor:
    """Ids of the label pixel nearest to each position's centre, the upper left one of equals.

    Args:
        target: (N, H, W).
        stride: input pixels per position.
        size: (h, w) of the grid. Positions whose centre lies outside take the last pixel.

    Returns:
        (N, h, w).
    """
    rows, columns = (
        (torch.arange(cells, device=target.device) * stride + (stride - 1) // 2).clamp(
            max=pixels - 1
        )
        for cells, pixels in zip(size, target.shape[1:], strict=True)
    )
    return target.index_select(1, rows).index_select(2, columns)


def labelled_positions(
    target: Tensor, stride: int, size: tuple[int, int], *, ignore_index: int = IGNORE_INDEX
) -> Tensor:
    """(N, h, w) bool: positions whose nearest label pixel is not void; see `target_on_grid`."""
    return target_on_grid(target, stride, size) != ignore_index


def _grid_size(outputs: Outputs, stride: int) -> tuple[int, int]:
    """(h, w) of a grid of `stride` that covers the same pixels."""
    height, width = (-(-outputs.stride * cells // stride) for cells in outputs.logits.shape[2:])
    return height, width


def _on_grid(outputs: Outputs, stride: int, size: tuple[int, int]) -> Tensor:
    logits = outputs.logits
    if stride % outputs.stride == 0:
        logits = pool_to_stride(logits, outputs.stride, stride)
    logits = at_least_float32(logits)
    if tuple(logits.shape[2:]) != size:
        logits = F.interpolate(logits, size, mode="bilinear", align_corners=False)
    return logits
