"""Contribution maps: one scale and one colour bar for all that is compared."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from scipy.stats import rankdata
from torch import Tensor

from labkit.plots.colours import AXIS, BRANCHES, SHARES
from labkit.plots.frames import picture
from labkit.plots.panels import SMALL, WIDTH, Panels, draw_outline, extent, ratio, show

EVIDENCE = "magma"  # colour map of evidence in logits, and of joint evidence
RANKS = "cividis"  # colour map of ranks within a map
LEAST_EVIDENCE = 0.05  # of the figure's limit: below it no share is drawn
MOST_STEPS = 6  # columns of the sanity figure's maps
LONGEST_NAME = 18  # letters over one of these maps


def contribution_figure(
    images: Sequence[Tensor],
    outlines: Sequence[Tensor],
    image_maps: Sequence[Tensor],
    label_maps: Sequence[Tensor],
    shares: Sequence[float],
    deviations: Sequence[float],
    *,
    category: str,
    limit: float,
) -> Figure:
    """Evidence for one class through the image and through the label, in one scale, and the label's
    share.

    Args:
        images: (3, H, W) uint8, of any sizes; outlines: (H, W) bool, where the label holds the
            class.
        image_maps, label_maps: (h, w) branch maps, unscaled; NaN where the class has no region.
        shares: label share over each whole frame, 0-1.
        deviations: of the shares over noisings; NaN for one noising.
        limit: upper end of the scale, logits.
    """
    panels = Panels([ratio(image) for image in images], 4, between=0.02, note=0.2, bottom=0.55)
    titles = ("frame", "through the image", "through the label", "label share")
    for row, axes in enumerate(panels.axes):
        lying = {"extent": extent(outlines[row])}
        show(axes[0], picture(images[row]))
        for cell, maps in zip(axes[1:3], (image_maps, label_maps), strict=True):
            evidence = cell.imshow(
                np.asarray(maps[row]), cmap=EVIDENCE, vmin=0, vmax=limit, **lying
            )
        part = local_share(image_maps[row], label_maps[row], limit)
        axes[3].set_facecolor("0.6")
        share = axes[3].imshow(part, cmap=SHARES, vmin=0, vmax=1, **lying)
        axes[3].set_xlabel(_share_text(shares[row], deviations[row]), fontsize=SMALL, labelpad=3)
        for cell, title in zip(axes, titles, strict=True):
            show(cell, None, title if row == 0 else "")
            draw_outline(cell, outlines[row])
    panels.colour_bar(evidence, 1, 2, f"evidence for {category}, logits (one scale)")
    panels.colour_bar(share, 3, 3, "label share (grey: little evidence)")
    return panels.figure


def local_share(image_map: Tensor, label_map: Tensor, limit: float) -> np.ndarray:
    """Label share at every position, 0-1; NaN where both together have little evidence or there is
    no map.
    """
    total = image_map + label_map
    enough = total > LEAST_EVIDENCE * limit
    return torch.where(enough, label_map / total.clamp(min=1e-12), torch.nan).numpy()


def library_figure(
    images: Sequence[Tensor],
    image_maps: Sequence[Tensor],
    label_maps: Sequence[Tensor],
    library: Sequence[Mapping[str, np.ndarray]],
    *,
    category: str,
    limit: float,
) -> Figure:
    """Our two maps in one scale beside the library's, which scales each map to 0-1 on its own.

    Args:
        images: (3, H, W) uint8; image_maps, label_maps: (h, w) each.
        library: per frame the maps (H, W) of "image" and "label".
        limit: upper end of our scale, logits.
    """
    panels = Panels([ratio(image) for image in images], 5, between=0.03, bottom=0.6)
    titles = ("frame", "ours: image", "ours: label", "library: image", "library: label")
    for row, axes in enumerate(panels.axes):
        show(axes[0], picture(images[row]))
        for cell, values in zip(axes[1:3], (image_maps[row], label_maps[row]), strict=True):
            ours = cell.imshow(np.asarray(values), cmap=EVIDENCE, vmin=0, vmax=limit, aspect="auto")
        for cell, branch in zip(axes[3:], ("image", "label"), strict=True):
            theirs = cell.imshow(library[row][branch], cmap=EVIDENCE, vmin=0, vmax=1)
        for cell, title in zip(axes, titles, strict=True):
            show(cell, None, title if row == 0 else "")
    panels.colour_bar(ours, 1, 2, f"evidence for {category}, logits (one scale)")
    panels.colour_bar(theirs, 3, 4, "each map over its own maximum (no common unit)")
    return panels.figure


def layers_figure(
    images: Sequence[Tensor],
    outlines: Sequence[Tensor],
    layers: Mapping[str, Sequence[Tensor]],
    strides: Mapping[str, int],
    combined: Sequence[Tensor],
) -> Figure:
    """Joint evidence at several layers and their combination, each 0-1 as it enters the maximum.

    Args:
        images: (3, H, W) uint8; outlines: (H, W) bool.
        layers: by name, scaled maps (H, W) in 0-1, one per frame, from the stem on.
        strides: by layer, pixels per position.
        combined: (H, W) per frame.
    """
    ratios = [ratio(image) for image in images]
    panels = Panels(ratios, 2 + len(layers), top=0.42, between=0.03, bottom=0.6)
    titles = [f"{stage}\nstride {strides[name]}" for name, stage in stage_names(layers).items()]
    for row, axes in enumerate(panels.axes):
        show(axes[0], picture(images[row]), "frame" if row == 0 else "")
        maps = [*(maps[row] for maps in layers.values()), combined[row]]
        for cell, values, title in zip(axes[1:], maps, [*titles, "maximum\nof all"], strict=True):
            drawn = cell.imshow(np.asarray(values), cmap=EVIDENCE, vmin=0, vmax=1)
            show(cell, None, title if row == 0 else "")
            cell.title.set_fontsize(SMALL)
        for cell in axes:
            draw_outline(cell, outlines[row])
    panels.colour_bar(drawn, 1, 1 + len(layers), "tanh(2 x evidence / the map's largest)")
    return panels.figure


def sanity_figure(outline: Tensor, steps: Sequence[Any]) -> Figure:
    """Rank correlation with the trained teacher's maps, step by step, and below it the maps of one
    frame as ranks.

    Maps are drawn as ranks within each map, which is what the correlation compares: a randomised
    network has no common unit with the trained one.

    Args:
        outline: (H, W) bool, where the label holds the class.
        steps: with the fields kind ("weights" or "label"), name, image_map (h, w), label_map (h,
            w), image and label (correlations of both maps), in order.
    """
    kinds = {kind: [step for step in steps if step.kind == kind] for kind in ("weights", "label")}
    strip = 2 * WIDTH / MOST_STEPS * ratio(outline) + 0.3  # inches: two rows of maps and a title
    heights = [2.7, strip, strip + 0.45]
    figure = plt.figure(figsize=(WIDTH, sum(heights)), layout="constrained")
    top, *strips = figure.subfigures(3, 1, height_ratios=heights)
    widths = [max(len(rows), 5) for rows in kinds.values()]
    axes = top.subplots(1, 2, sharey=True, width_ratios=widths)
    titles = {"weights": "weights redrawn, from the logits down to", "label": "label permuted"}
    for cell, (kind, rows) in zip(axes, kinds.items(), strict=True):
        _draw_correlations(cell, rows, titles[kind])
    axes[0].set_ylabel("Spearman's correlation\nwith the trained map", fontsize=SMALL)
    axes[1].legend(fontsize=SMALL, frameon=False)
    for part, rows in zip(strips, kinds.values(), strict=True):
        _draw_ranks(part, _spread(rows, MOST_STEPS), outline)
    ranks = ScalarMappable(Normalize(0, 1), RANKS)
    bar = figure.colorbar(ranks, ax=strips[-1].axes, location="bottom", aspect=50, shrink=0.6)
    bar.set_label("rank within its map (0: least evidence)", fontsize=SMALL)
    bar.ax.tick_params(labelsize=SMALL)
    return figure


def _draw_correlations(axes: Axes, rows: Sequence[Any], title: str) -> None:
    for branch, marker in (("image", "o-"), ("label", "s--")):
        values = [getattr(row, branch) for row in rows]
        axes.plot(values, marker, ms=4, color=BRANCHES[branch], label=f"{branch} map")
    names = [short_name(row.name) for row in rows]
    axes.set_xticks(range(len(rows)), names, rotation=45, ha="right", rotation_mode="anchor")
    axes.tick_params(labelsize=6.5)
    axes.set(ylim=(-0.4, 1.05))
    axes.set_title(title, fontsize=8.5)
    axes.axhline(0, **AXIS)
    axes.grid(alpha=0.3)


def _draw_ranks(part: Any, rows: Sequence[Any], outline: Tensor) -> None:
    axes = part.subplots(2, MOST_STEPS, squeeze=False)
    for cell in axes.ravel():
        cell.set_axis_off()
    for column, step in enumerate(rows):
        for row, (values, branch) in enumerate(
            ((step.image_map, "image map"), (step.label_map, "label map"))
        ):
            cell = axes[row, column]
            cell.set_axis_on()
            cell.imshow(_ranks(values), cmap=RANKS, vmin=0, vmax=1, extent=extent(outline))
            show(cell, None, _fitting(step.name) if row == 0 else "")
            cell.title.set_fontsize(SMALL)
            draw_outline(cell, outline)
            if column == 0:
                cell.set_ylabel(branch, fontsize=SMALL)


def short_name(name: str) -> str:
    """A layer's name without the wrapper that timm encoders bring."""
    return name.replace("encoder.model.", "encoder.").replace("segmentation_head", "head")


def _fitting(name: str) -> str:
    """A layer's name that fits over one of six maps: its last parts."""
    name = short_name(name)
    while len(name) > LONGEST_NAME and "." in name:
        name = name.partition(".")[2]
    return name


def stage_names(layers: Iterable[str]) -> dict[str, str]:
    """Titles of layers: stem for a first one before any stage, else its stage, or decoder.

    A title that would stand for two layers gives way to their names.
    """
    titles = {name: _stage(name) for name in layers}
    first = next(iter(titles), "")
    if titles.get(first) == "encoder":
        titles[first] = "stem"
    common = [title for title, count in Counter(titles.values()).items() if count > 1]
    return {name: short_name(name) if title in common else title for name, title in titles.items()}


def _stage(name: str) -> str:
    """A layer's part of the network; blocks and stages are counted from 1."""
    part = name.partition(".")[0]
    counted = re.search(r"\b(?P<what>block|stage|layer)s?[._]?(?P<number>\d+)", name)
    if part != "encoder" or counted is None:
        return part
    first = 0 if counted["what"] == "layer" else 1  # torchvision's layer1 is the first
    return f"encoder {counted['what']} {int(counted['number']) + first}"


def _share_text(share: float, deviation: float) -> str:
    if np.isnan(share):
        return "no pixel in the region: no map"
    spread = "" if np.isnan(deviation) else f" ± {100 * deviation:.0f}"
    return f"whole frame: {100 * share:.0f}{spread} %"


def _ranks(values: Tensor) -> np.ndarray:
    """Ranks in 0-1 of a map (h, w), ties at their mean; NaN stays."""
    array = values.numpy()
    if np.isnan(array).any():
        return array
    return (rankdata(array).reshape(array.shape) - 1) / max(array.size - 1, 1)


def _spread(rows: Sequence, most: int) -> list:
    """At most so many of the rows, evenly spread, first and last among them."""
    if len(rows) <= most:
        return list(rows)
    return [rows[round(i * (len(rows) - 1) / (most - 1))] for i in range(most)]
