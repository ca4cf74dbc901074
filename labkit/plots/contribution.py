"""Contribution maps: one limit and one colour bar for all that is compared."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from torch import Tensor

from labkit.plots.curves import draw_agreement
from labkit.plots.frames import frame_grid, picture, show

LITTLE = 0.05  # of the figure's limit: where image and label together have less evidence, no share is drawn
MOST_STEPS = 8  # columns of the sanity figure


def contribution_figure(
    images: Sequence[Tensor],
    outlines: Sequence[Tensor],
    image_maps: Tensor,
    label_maps: Tensor,
    shares: Tensor,
    deviations: Tensor | None = None,
    *,
    category: str,
) -> Figure:
    """Evidence for one class that came through the image and through the label, in one scale, and the label's share.

    Args:
        images: (3, H, W) uint8; outlines: (H, W) bool, where the label holds the class.
        image_maps, label_maps: (N, h, w) branch maps, unscaled; NaN where the class was not predicted.
        shares: (N,) label share over each whole frame.
        deviations: (N,) of the shares over noisings, NaN where there was one.
    """
    limit = shared_limit(image_maps, label_maps)
    deviations = torch.full_like(shares, torch.nan) if deviations is None else deviations
    figure, axes = frame_grid(images, 4)
    titles = ("frame", "through the image", "through the label", "label share")
    rows = zip(images, outlines, image_maps, label_maps, shares, deviations, strict=True)
    for row, (image, outline, from_image, from_label, share, deviation) in enumerate(rows):
        placed = {"extent": _extent(outline)}
        show(axes[row, 0], picture(image), "")
        for place, values in zip(axes[row, 1:3], (from_image, from_label), strict=True):
            evidence = place.imshow(np.asarray(values), cmap="magma", vmin=0, vmax=limit, **placed)
        total = from_image + from_label
        ratio = torch.where(total > LITTLE * limit, from_label / total.clamp(min=1e-12), torch.nan)
        axes[row, 3].set_facecolor("0.6")
        parts = axes[row, 3].imshow(np.asarray(ratio), cmap="PuOr", vmin=0, vmax=1, **placed)
        axes[row, 3].set_xlabel(_share_in_words(float(share), float(deviation)), fontsize=8)
        for place, title in zip(axes[row], titles, strict=True):
            show(place, None, title if row == 0 else "")
            _outline(place, outline)
    figure.colorbar(
        evidence, ax=axes[:, :3], label=f"evidence for {category}, logits (one scale)", location="bottom", shrink=0.6, aspect=40
    )
    figure.colorbar(parts, ax=axes[:, 3], label="label share; grey: little evidence", location="bottom", shrink=0.9, aspect=20)
    return figure


def library_figure(
    images: Sequence[Tensor], ours: tuple[Tensor, Tensor], library: tuple[np.ndarray, np.ndarray], *, category: str
) -> Figure:
    """Our two maps in one scale beside the library's, which scales each map to 0-1 on its own.

    Args:
        images: (3, H, W) uint8; ours: image and label maps (N, h, w); library: image and label maps (N, H, W).
    """
    limit = shared_limit(*ours)
    figure, axes = frame_grid(images, 5)
    titles = ("frame", "ours: image", "ours: label", "library: image", "library: label")
    for row, image in enumerate(images):
        show(axes[row, 0], picture(image), "")
        mine = [axes[row, 1 + branch].imshow(np.asarray(ours[branch][row]), cmap="magma", vmin=0, vmax=limit) for branch in (0, 1)]
        theirs = [axes[row, 3 + branch].imshow(np.asarray(library[branch][row]), cmap="magma", vmin=0, vmax=1) for branch in (0, 1)]
        for place, title in zip(axes[row], titles, strict=True):
            show(place, None, title if row == 0 else "")
    figure.colorbar(mine[0], ax=axes[:, :3], label=f"evidence for {category}, logits (one scale)", location="bottom", shrink=0.6, aspect=40)
    figure.colorbar(
        theirs[0], ax=axes[:, 3:], label="each map over its own maximum (no common unit)", location="bottom", shrink=0.6, aspect=40
    )
    return figure


def layers_figure(images: Sequence[Tensor], outlines: Sequence[Tensor], layers: Mapping[str, Tensor], combined: Tensor) -> Figure:
    """Joint evidence at several layers and their combination, each 0-1 as it enters the maximum.

    Args:
        images: (3, H, W) uint8; outlines: (H, W) bool.
        layers: by name, (N, H, W) scaled maps in 0-1; combined: (N, H, W).
    """
    maps = {**layers, "all layers": combined}
    figure, axes = frame_grid(images, 1 + len(maps), width=2.5)
    for row, (image, outline) in enumerate(zip(images, outlines, strict=True)):
        show(axes[row, 0], picture(image), "frame" if row == 0 else "")
        for place, (name, values) in zip(axes[row, 1:], maps.items(), strict=True):
            drawn = place.imshow(np.asarray(values[row]), cmap="magma", vmin=0, vmax=1)
            show(place, None, name if row == 0 else "")
        for place in axes[row]:
            _outline(place, outline)
    figure.colorbar(drawn, ax=axes[:, 1:], label="tanh(2 x evidence / the map's largest)", location="bottom", shrink=0.5, aspect=40)
    return figure


def sanity_figure(outline: Tensor, steps: Mapping[str, Sequence[tuple[str, Tensor, Tensor, float, float]]]) -> Figure:
    """Image and label map of one frame as something is taken away step by step, and the rank correlation of each step.

    Maps are drawn as ranks within each map, which is what the correlation compares: a randomised network has no common unit with
    the trained one.

    Args:
        outline: (H, W) bool, where the label holds the class.
        steps: by what is taken away ("weights", "label"): name, image map (h, w), label map (h, w), correlations of both.
    """
    columns = [_spread(rows, MOST_STEPS) for rows in steps.values()]
    ratio = outline.shape[0] / outline.shape[1]
    strip = 2 * 1.75 * ratio + 0.55  # inches: two rows of maps and their titles
    figure = plt.figure(figsize=(14, strip * len(steps) + 3.6), layout="constrained")
    *strips, bottom = figure.subfigures(len(steps) + 1, 1, height_ratios=[strip] * len(steps) + [3.6])
    for part, rows in zip(strips, columns, strict=True):
        axes = part.subplots(2, MOST_STEPS, squeeze=False)
        for place in axes.flat:
            place.set_axis_off()
        for column, (name, image_map, label_map, *_) in enumerate(rows):
            for row, (values, branch) in enumerate(((image_map, "image"), (label_map, "label"))):
                axes[row, column].set_axis_on()
                axes[row, column].imshow(_ranks(values), cmap="cividis", vmin=0, vmax=1, extent=_extent(outline))
                show(axes[row, column], None, "")
                _outline(axes[row, column], outline)
                if column == 0:
                    axes[row, column].set_ylabel(f"{branch} map", fontsize=8)
            axes[0, column].set_title(name, fontsize=8)
    places = bottom.subplots(1, len(steps), width_ratios=[max(len(rows), 6) for rows in steps.values()], squeeze=False)[0]
    titles = {"weights": "weights redrawn, from the logits down to the piece named", "label": "label permuted"}
    for place, (kind, rows) in zip(places, steps.items(), strict=True):
        names, _, _, image, label = zip(*rows, strict=True)
        draw_agreement(place, names, image, label, title=titles.get(kind, kind))
    places[-1].legend(fontsize=8, frameon=False)
    ranks = ScalarMappable(Normalize(0, 1), "cividis")
    bottom.colorbar(ranks, ax=list(places), label="rank within its map (0: least evidence)", location="right", aspect=25)
    return figure


def shared_limit(*maps: Tensor) -> float:
    """One upper limit for several maps: the 99.5th percentile of all their finite values."""
    values = np.concatenate([one.numpy().ravel() for one in maps])
    return float(max(np.nanpercentile(values, 99.5), 1e-12)) if np.isfinite(values).any() else 1.0


def _share_in_words(share: float, deviation: float) -> str:
    spread = "" if np.isnan(deviation) else f" ± {100 * deviation:.0f}"
    return "class not found: no map" if np.isnan(share) else f"whole frame: {100 * share:.0f}{spread} % label"


def _ranks(values: Tensor) -> np.ndarray:
    """Ranks in 0-1 of a map (h, w), ties at their mean; NaN stays."""
    if values.isnan().any():
        return values.numpy()
    _, place, count = values.unique(return_inverse=True, return_counts=True)
    mean = count.cumsum(0) - (count + 1) / 2
    return (mean / max(values.numel() - 1, 1))[place].numpy()


def _spread(rows: Sequence, most: int) -> list:
    """At most so many of the rows, evenly spread, first and last among them."""
    if len(rows) <= most:
        return list(rows)
    return [rows[round(i * (len(rows) - 1) / (most - 1))] for i in range(most)]


def _outline(place: Axes, outline: Tensor) -> None:
    """The class's border, white on black, readable on every ground."""
    if outline.any() and not outline.all():
        line = place.contour(outline.float().numpy(), levels=[0.5], colors=["white"], linewidths=0.9)
        line.set_path_effects([withStroke(linewidth=1.8, foreground="black")])


def _extent(outline: Tensor) -> tuple[float, float, float, float]:
    """Where a coarser map lies on the frame's pixels."""
    height, width = outline.shape
    return (-0.5, width - 0.5, height - 0.5, -0.5)
