"""The noising explorer: one frame, its label, the teacher's label channel, and how much of the
label it reveals.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from labkit.datasets import DatasetInfo, Split, dataset_info, dataset_recipe, open_split
from labkit.explore.pictures import (
    SCALAR,
    class_picture,
    fitted,
    levels,
)
from labkit.explore.readback import RANGE, histogram_panel, read_back, readout
from labkit.explore.save import explore_command
from labkit.explore.view import (
    Control,
    Explorer,
    Panel,
    View,
    as_dict,
    changed,
    command_line,
    panel,
)
from labkit.method import IGNORE_INDEX, LabelNoising, stream_generator
from labkit.settings import NoisingSettings


@dataclass(frozen=True, kw_only=True)
class NoisingState:
    """Names, units and meaning as in `NoisingSettings`."""

    frame: int = 0
    class_std: float = 1.0
    pixel_std: float = 0.03
    label_scale: float = 1.0
    void_policy: str = "own"
    class_codes: str = "random"
    label_channels: int = 1
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Frames:
    """Where frames come from; equal to itself alone."""

    info: DatasetInfo
    split: Split


def noising(settings: NoisingSettings) -> Explorer:
    """The explorer of `00_label_noising`, at the notebook's settings."""
    frames = Frames(*open_frame(settings))
    state = NoisingState(**{name: getattr(settings, name) for name in as_dict(NoisingState())})
    given = settings.model_dump(include={"dataset", "data_root", "runs", "figures"})
    defaults = NoisingSettings().model_dump()

    def commands(state: NoisingState) -> dict[str, str]:
        values = changed(given | as_dict(state), defaults)
        return {
            "this picture": explore_command("noising", settings, state),
            "all figures": command_line("run", "noising", values),
        }

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
        Control(name="seed", label="seed", high=999),
    )
    title = "Noising explorer"
    return Explorer(
        "noising", title, state, controls, lambda state: draw_noising(state, frames), commands
    )


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
    """Image, label, noised label, histogram by class, and how much can be read back."""
    info = frames.info
    names = [*info.class_names, "void"]
    image, target = frames.split[state.frame]
    noising = noising_of(state, info)
    channels = noising.label_channels
    generator = stream_generator("explore noise", state.seed)
    channel = noising(target[None], generator=generator)[0].numpy()
    again = stream_generator("explore noise", state.seed)
    codes = noising.draw_codes(1, generator=again)[0].numpy()
    ids = target.masked_fill(target == IGNORE_INDEX, info.num_classes).numpy()
    std = state.label_scale * state.pixel_std
    readback = read_back(channel, ids, state.label_scale * codes, std)
    first = f"channel 1 of {channels}" if channels > 1 else "one channel"
    by_size = np.argsort(-readback.shares, kind="stable")
    shares = ", ".join(
        f"{names[readback.classes[i]]} {100 * readback.shares[i]:.1f} %" for i in by_size
    )
    panels = (
        _frame_panel(frames, state.frame),
        panel(
            "label", class_picture(ids, info.palette, names), alt=f"Label of the frame: {shares}."
        ),
        panel(
            "noised label", levels(fitted(channel[0]), -RANGE, RANGE), table=SCALAR,
            note=f"{first}; dark {-RANGE:g}, bright {RANGE:g} std of the image",
            alt=f"Noised label, {first}: values from {channel[0].min():.2f} to "
            f"{channel[0].max():.2f} std of the image, pixel noise std {std:.3f} after scaling.",
        ),
        histogram_panel(channel[0], ids, readback, names, std, info.normalised(image).numpy()),
    )  # fmt: skip
    wanted = state.label_channels
    return View(panels, readout(readback, names, std=std, channels=channels, wanted=wanted))


@lru_cache(maxsize=4)
def _frame_panel(frames: Frames, frame: int) -> Panel:
    image, name = frames.split[frame].image, frames.split.frame_name(frame)
    height, width = image.shape[1:]
    return panel(
        "image",
        fitted(image.permute(1, 2, 0).numpy()),
        alt=f"Frame {name}, {height} x {width} pixels.",
        note=name,
    )
