"""The noising explorer: one frame, its label, the teacher's label channel, and how much of the
label it reveals.
"""

from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from torch import Tensor

from labkit.datasets import DatasetInfo, Split, dataset_info, dataset_recipe, open_split
from labkit.explore.class_panels import class_legend, class_panel
from labkit.explore.own import keep_upload, open_own
from labkit.explore.pictures import SCALAR, fitted, levels, outlined
from labkit.explore.readback import RANGE, histogram_panel, read_back, readout
from labkit.explore.regions import class_at
from labkit.explore.save import beside, explore_command
from labkit.explore.view import (
    Control,
    Explorer,
    Panel,
    SharedState,
    View,
    as_dict,
    changed,
    command_line,
    panel,
    shared_controls,
)
from labkit.method import IGNORE_INDEX, LabelNoising, stream_generator
from labkit.settings import NoisingSettings

FILM_STDS = (0.0, 0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.14, 0.2, 0.28, 0.4, 0.57, 0.8, 1.1, 1.5, 2.0)


@dataclass(frozen=True, kw_only=True)
class NoisingState(SharedState):
    """Names, units and meaning as in `NoisingSettings`, and a class to follow; "": none."""

    frame: int = 0
    class_std: float = 1.0
    pixel_std: float = 0.03
    label_scale: float = 3.0
    void_policy: str = "own"
    class_codes: str = "random"
    label_channels: int = 1
    seed: int = 0
    category: str = ""


@dataclass(frozen=True, eq=False)
class Frames:
    """Where frames come from; equal to itself alone."""

    info: DatasetInfo
    split: Split


def noising(settings: NoisingSettings) -> Explorer:
    """The explorer of `00_label_noising`, at the notebook's settings."""
    frames = Frames(*open_frame(settings))
    info = frames.info
    fields = settings.model_dump(include=set(as_dict(NoisingState())))
    state = NoisingState(**fields)
    given = settings.model_dump(include={"dataset", "data_root", "runs", "figures"})
    defaults = NoisingSettings().model_dump()
    classes = ("", *info.class_names, "void")

    def commands(state: NoisingState) -> dict[str, str]:
        values = changed(given | as_dict(state), defaults)
        return {
            "this picture": explore_command("noising", settings, state),
            "all figures": command_line("run", "noising", values),
        }

    def choose(state: NoisingState, x: float, y: float) -> dict[str, str]:
        target = _sample(state, frames)[1]
        chosen = classes[min(class_at(target, x, y), info.num_classes) + 1]
        return {"category": "" if chosen == state.category else chosen}

    controls = (
        Control(name="frame", label="frame", high=len(frames.split) - 1),
        Control(name="class_std", label="class code std", high=4, step=0.05),
        Control(name="pixel_std", label="pixel noise std", high=2, step=0.01),
        Control(name="label_scale", label="label scale", high=8, step=0.1),
        Control(name="void_policy", label="void policy", kind="choice", options=("own", "zero")),
        Control(
            name="class_codes", label="class codes", kind="choice", options=("random", "fixed")
        ),
        Control(name="label_channels", label="label channels", low=1, high=8),
        Control(
            name="category", label="class followed", kind="choice", options=classes,
            names=("none", *classes[1:]),
        ),
        Control(name="seed", label="seed", high=999),
        *shared_controls(),
    )  # fmt: skip

    def unused(state: NoisingState) -> tuple[str, ...]:
        fixed = ("class_std", "label_channels") if state.class_codes == "fixed" else ()
        return fixed + (("frame",) if state.image else ("label",))

    return Explorer(
        "noising", "Noising explorer", state, controls,
        lambda state: draw_noising(state, frames), commands, choose, unused=unused,
        gesture="Cursor: arrow keys move it, Enter follows the class of the label there",
        keep=partial(keep_upload, runs=settings.runs),
        film=lambda state: noise_film(state, frames), film_title="Play through noise levels",
    )  # fmt: skip


def open_frame(settings: NoisingSettings) -> tuple[DatasetInfo, Split]:
    """Facts and validation split of the notebook's data set; the split holds the chosen frame."""
    info = dataset_info(settings.dataset, root=settings.data_root)
    recipe = dataset_recipe(settings.dataset, "default", root=settings.data_root)
    size = int(recipe.get("val_size", 0))
    size = max(size, settings.frame + 1) if size else 0
    return info, open_split(settings.dataset, "val", root=settings.data_root, size=size)


def noising_of(settings: NoisingSettings | NoisingState, info: DatasetInfo) -> LabelNoising:
    """The label noising that settings, or an explorer's state, describe."""
    channels = 1 if settings.class_codes == "fixed" else settings.label_channels
    return LabelNoising(
        num_classes=info.num_classes,
        class_std=settings.class_std,
        pixel_std=settings.pixel_std,
        label_scale=settings.label_scale,
        void_policy=settings.void_policy,
        label_channels=channels,
        class_codes=settings.class_codes,
    )


def draw_noising(state: NoisingState, frames: Frames) -> View:
    """Image, label, every label channel, histogram by class, and how much can be read back."""
    info = frames.info
    names = [*info.class_names, "void"]
    image, target, name = _sample(state, frames)
    noising = noising_of(state, info)
    generator = stream_generator("explore noise", state.seed)
    channel = noising(target[None], generator=generator)[0].numpy()
    again = stream_generator("explore noise", state.seed)
    codes = noising.draw_codes(1, generator=again)[0].numpy()
    ids = target.masked_fill(target == IGNORE_INDEX, info.num_classes).numpy()
    std = state.label_scale * state.pixel_std
    readback = read_back(channel, ids, state.label_scale * codes, std)
    followed = names.index(state.category) if state.category else None
    region = ids == followed if followed is not None and state.outlines == "on" else None

    pixels = fitted(image.permute(1, 2, 0).numpy())
    if region is not None:
        pixels = outlined(pixels, fitted(region))
    height, width = target.shape
    panels = (
        panel("image", pixels, alt=f"Frame {name}, {height} x {width} pixels.", note=name),
        class_panel(
            "label", target, info, alt="Label of the frame",
            note="the class followed is outlined" if followed is not None else "",
            hint="click a class to follow it", named=state.names == "on",
            lines=state.outlines == "on", region=region,
        ),
        *(_channel_panel(values, i, len(channel), region) for i, values in enumerate(channel)),
        histogram_panel(
            channel[0], ids, readback, names, info.normalised(image).numpy(),
            std=std, palette=info.palette, followed=followed, height=len(pixels),
        ),
    )  # fmt: skip
    lines = readout(readback, names, std=std, channels=len(channel), wanted=state.label_channels)

    def look(x: float, y: float) -> str:
        row, column = int(y * height), int(x * width)
        k, value = int(ids[row, column]), float(channel[0, row, column])
        code = state.label_scale * codes[0, k]
        return (
            f"x {column}, y {row}: labelled {names[k]}, code {code:+.3f}, "
            f"channel {value:+.3f} std of the image; the best thresholds read "
            f"{names[readback.answer(value)]}."
        )

    return View(panels, lines, (), class_legend(info), look)


def noise_film(state: NoisingState, frames: Frames) -> list[tuple[str, bytes]]:
    """The first label channel and its histogram at growing pixel noise, with the verdict."""
    stills = []
    for std in FILM_STDS:
        view = draw_noising(replace(state, pixel_std=std), frames)
        caption = f"Pixel noise std {std:g}: {view.readout[0]}"
        stills.append((caption, beside((view.panels[2], view.panels[-1]))))
    return stills


def _sample(state: NoisingState, frames: Frames) -> tuple[Tensor, Tensor, str]:
    """(3, H, W) uint8, (H, W) class ids, and the frame's name."""
    split = open_own(state.image, state.label, frames.info) if state.image else frames.split
    index = 0 if state.image else state.frame
    return *split[index], split.frame_name(index)


def _channel_panel(values: np.ndarray, number: int, count: int, region: np.ndarray | None) -> Panel:
    """One label channel (H, W), with a region (H, W) outlined."""
    which = f"channel {number + 1} of {count}" if count > 1 else "one channel"
    shades = levels(fitted(values), -RANGE, RANGE)
    pixels = shades if region is None else outlined(SCALAR[shades], fitted(region))
    return panel(
        "noised label", pixels, table=SCALAR if region is None else None,
        note=f"{which}; dark {-RANGE:g}, bright {RANGE:g} std of the image",
        alt=f"Noised label, {which}: values from {values.min():.2f} to {values.max():.2f} std of "
        "the image.",
    )  # fmt: skip
