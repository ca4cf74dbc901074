"""A contact sheet of a data set: frames with the outlines of their labels, and class shares."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from labkit.datasets import DatasetInfo
from labkit.datasets.batches import resize_image, resize_label
from labkit.datasets.show import SheetFrame
from labkit.method import IGNORE_INDEX
from labkit.plots.frames import LEGEND_ROW, picture
from labkit.plots.panels import Panels, class_legend, ratio, show

COLUMNS, LEGEND_COLUMNS = 3, 4
PIXELS = 480  # width of a drawn frame, so that outlines are as thick in small frames as in large
LEGEND_CLASSES = 40  # the most frequent ones; the others are counted
NAMED = 2  # classes in the title of a frame
TINT = 0.3  # share of the class's colour inside its region
VOID, OTHERS = (255, 255, 255), (225, 225, 225)  # colours of the legend; no class need differ


def sheet_figure(frames: Sequence[SheetFrame], info: DatasetInfo) -> Figure:
    """Frames with every region tinted and outlined in its class's colour, void in white.

    A frame's title has its name and its most frequent classes; the legend has every class with its
    share of the labelled pixels, a mean over the frames.
    """
    rows = [frames[i : i + COLUMNS] for i in range(0, len(frames), COLUMNS)]
    shares = mean_shares(frames)
    listed = dict(shares.most_common(LEGEND_CLASSES))
    lines = -(-(len(listed) + 2) // LEGEND_COLUMNS)
    panels = Panels(
        [max(ratio(frame.image) for frame in row) for row in rows],
        COLUMNS,
        top=0.42,
        bottom=lines * LEGEND_ROW,
    )
    cells = panels.axes.ravel()
    for axes, frame in zip(cells, frames, strict=False):
        classes = list(frame.shares.items())[:NAMED]
        summary = ", ".join(f"{name} {100 * share:.0f} %" for name, share in classes)
        show(axes, outlined(frame.image, frame.target, info), f"{frame.name:.40}\n{summary:.45}")
    for axes in cells:
        axes.set_axis_off()
    names = [f"{name:.24} {100 * share:.1f} %" for name, share in listed.items()]
    palette = [info.palette[info.class_id(name)] for name in listed]
    if others := len(shares) - len(listed):
        names.append(f"{others} others {100 * (1 - sum(listed.values())):.1f} %")
        palette.append(OTHERS)
    void = np.mean([float((frame.target == IGNORE_INDEX).float().mean()) for frame in frames])
    names.append(f"void ({100 * void:.1f} % of all pixels)")
    class_legend(panels.figure, names, [*palette, VOID], columns=LEGEND_COLUMNS)
    return panels.figure


def mean_shares(frames: Sequence[SheetFrame]) -> Counter[str]:
    """Share of each class in the labelled pixels, a mean over the frames that have some."""
    labelled = [frame.shares for frame in frames if frame.shares]
    shares: Counter[str] = Counter()
    for frame in labelled:
        shares.update({name: share / len(labelled) for name, share in frame.items()})
    return shares


def outlined(image: Tensor, target: Tensor, info: DatasetInfo) -> np.ndarray:
    """Image with every region of its label tinted and outlined in the class's colour, void white.

    Args:
        image: (3, H, W) uint8.
        target: (H, W) class ids, 255 = void.

    Returns:
        (h, 480, 3) uint8.
    """
    size = (max(1, round(PIXELS * ratio(image))), PIXELS)
    ids = resize_label(target, size).numpy()
    colours = np.full((256, 3), VOID, np.uint8)
    colours[: info.num_classes] = info.palette
    pixels = (1 - TINT) * picture(resize_image(image, size)) + TINT * colours[ids]
    border = borders(ids)
    pixels[border] = colours[ids[border]]
    return pixels.astype(np.uint8)


def borders(ids: np.ndarray) -> np.ndarray:
    """(H, W) bool: pixels with another id one or two pixels to a side, above or below."""
    border = np.zeros(ids.shape, bool)
    for distance in (1, 2):
        across, down = ids[:, distance:] != ids[:, :-distance], ids[distance:] != ids[:-distance]
        border[:, distance:] |= across
        border[:, :-distance] |= across
        border[distance:] |= down
        border[:-distance] |= down
    return border
