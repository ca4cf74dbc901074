"""The noising explorer: one frame, its label, the teacher's label channel, and how much of the
label it reveals.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw

from labkit.datasets import DatasetInfo, Split, dataset_info, dataset_recipe, open_split
from labkit.explore.decoder import best_threshold_decoder, decode, decode_jointly
from labkit.explore.pictures import (
    INK,
    LARGE,
    PAPER,
    SCALAR,
    class_picture,
    fitted,
    font,
    levels,
)
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

BINS = 160
BACKDROP = (214, 214, 214)
RANGE = (
    8.0  # of grey and histogram, in std of the normalised image: fixed, so that scale is visible
)
MOST_ROWS = 24  # classes in the histogram


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


@dataclass(frozen=True)
class Readback:
    """How a channel reveals its label.

    Classes are those in the frame, void included, in the order of their codes.
    """

    classes: np.ndarray  # (M,) ids, void = K
    codes: np.ndarray  # (M,), of the first channel, scaled
    shares: np.ndarray  # (M,) of the pixels
    accuracy: float  # 0-1, of the best thresholds, expected over the noise
    drawn: float  # 0-1, of the same thresholds on the pixels drawn
    jointly: float  # 0-1, of all channels together on the pixels drawn
    lost: np.ndarray  # (L,) ids the thresholds never answer


def noising(settings: NoisingSettings) -> Explorer:
    """The explorer of `00_label_noising`, at the notebook's settings."""
    frames = Frames(*open_frame(settings))
    state = NoisingState(**{name: getattr(settings, name) for name in as_dict(NoisingState())})
    given = settings.model_dump(include={"dataset", "data_root", "runs", "figures"})
    defaults = NoisingSettings().model_dump()

    def commands(state: NoisingState) -> dict[str, str]:
        values = changed(given | as_dict(state), defaults)
        return {"this frame": command_line("run", "noising", values)}

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
    """Image, label, noised label and histogram by class, and how much of the label can be read
    back.
    """
    info = frames.info
    names = [*info.class_names, "void"]
    image, target = frames.split[state.frame]
    noising = noising_of(state, info)
    channels = noising.label_channels
    generator = stream_generator("explore noise", state.seed)
    channel = noising(target[None], generator=generator)[0].numpy()
    codes = noising.draw_codes(1, generator=stream_generator("explore noise", state.seed))[
        0
    ].numpy()
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
        panel("label", class_picture(ids, info.palette, names), alt=f"Label of the frame: {shares}."),
        panel(
            "noised label", levels(fitted(channel[0]), -RANGE, RANGE), table=SCALAR,
            note=f"{first}; dark {-RANGE:g}, bright {RANGE:g} std of the image",
            alt=f"Noised label, {first}: values from {channel[0].min():.2f} to {channel[0].max():.2f} std of the image, "
            f"pixel noise std {std:.3f} after scaling.",
        ),
        _histogram_panel(channel[0], ids, readback, names, std, info.normalised(image).numpy()),
    )  # fmt: skip
    return View(panels, _readout(readback, names, state, channels))


def read_back(channel: np.ndarray, ids: np.ndarray, codes: np.ndarray, std: float) -> Readback:
    """How well the best decoders read the label from a channel.

    Args:
        channel: (C, H, W), scaled.
        ids: (H, W), void = K.
        codes: (C, K+1), scaled.
        std: of the pixel noise, scaled.
    """
    counts = np.bincount(ids.ravel(), minlength=codes.shape[1])
    present = np.flatnonzero(counts)
    present = present[np.argsort(codes[0, present], kind="stable")]
    shares = counts[present] / ids.size
    decoder = best_threshold_decoder(codes[0, present].astype(np.float64), shares, std)
    drawn = (present[decode(decoder, channel[0])] == ids).mean()
    jointly = drawn
    if len(channel) > 1:
        answers = decode_jointly(
            channel.reshape(len(channel), -1), codes[:, present].astype(np.float64), shares, std
        )
        jointly = (present[answers] == ids.ravel()).mean()
    lost = np.setdiff1d(present, present[decoder.classes])
    return Readback(
        present, codes[0, present], shares, decoder.accuracy, float(drawn), float(jointly), lost
    )


def _readout(
    readback: Readback, names: list[str], state: NoisingState, channels: int
) -> tuple[str, ...]:
    common = readback.classes[readback.shares.argmax()]
    read = "the channel" if channels == 1 else "channel 1"
    usual = f"always answering {names[common]}: {100 * readback.shares.max():.1f} %"
    lines = [
        f"Read back from {read} alone, best thresholds: {100 * readback.accuracy:.1f} % of the "
        "pixels "
        f"({100 * readback.drawn:.1f} % of those drawn; {usual}; void counts as a class)."
    ]
    if channels > 1:
        lines.append(
            f"Read back from all {channels} channels together: {100 * readback.jointly:.1f} % of the pixels drawn."
        )
    elif state.label_channels > 1:
        lines.append(
            "The fixed ramp is one code, so one channel is drawn; several need random class codes."
        )
    gaps = np.diff(readback.codes)
    if len(gaps):
        i, std = int(gaps.argmin()), state.label_scale * state.pixel_std
        noise = (
            f"{gaps[i] / std:.1f} times the pixel noise"
            if std > 0
            else "and there is no pixel noise"
        )
        lines.append(
            f"Closest codes: {names[readback.classes[i]]} and {names[readback.classes[i + 1]]}, {gaps[i]:.3f} apart, {noise}."
        )
    if len(readback.lost):
        lines.append(
            f"Lost in the noise, never the best answer: {', '.join(names[k] for k in readback.lost)}."
        )
    return tuple(lines)


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


def _histogram_panel(
    values: np.ndarray,
    ids: np.ndarray,
    readback: Readback,
    names: list[str],
    std: float,
    image: np.ndarray,
) -> Panel:
    """One row per class in the order of the codes, over the image's own histogram, in std of the
    image.
    """
    rows = readback.classes[:MOST_ROWS]
    counts = _histograms(values, ids)
    backdrop = _heights(_histograms(image, np.zeros(image.shape, dtype=np.int64))[0])
    tall, left, right = 34 if len(rows) <= 10 else 22, 110, 124
    picture = Image.new("RGB", (LARGE, tall * len(rows) + 30), PAPER)
    pen = ImageDraw.Draw(picture)
    bin_width = (LARGE - left - right) / BINS
    for row, number in enumerate(rows):
        base = tall * (row + 1)
        _draw_bars(pen, (tall - 6) * backdrop, left, base, bin_width, BACKDROP)
        pen.line((left, base, LARGE - right, base), fill=(170, 170, 170))
        heights = (tall - 6) * _heights(counts[number])
        _draw_bars(
            pen, np.where(heights > 0, np.maximum(heights, 2), 0), left, base, bin_width, INK
        )
        pen.text((left - 8, base - tall / 2), names[number], font=font(19), anchor="rm", fill=INK)
        if row + 1 < len(rows):
            gap = readback.codes[row + 1] - readback.codes[row]
            in_std = f" = {min(gap / std, 999):.{int(gap < 10 * std)}f} std" if std > 0 else ""
            place = (LARGE - right + 6, base)
            pen.text(place, f"{gap:.2f}{in_std}", font=font(16), anchor="lm", fill=INK)
    bottom = tall * len(rows) + 4
    for x, text in ((left, f"{-RANGE:g}"), (LARGE - right, f"{RANGE:g} std")):
        pen.text((x, bottom), text, font=font(16), anchor="mt", fill=INK)
    codes = ", ".join(
        f"{names[k]} {code:+.2f}" for k, code in zip(readback.classes, readback.codes, strict=True)
    )
    note = "dark: channel, pale: the image's own values; right: gap to the next code, in std of the pixel noise"
    more = (
        f"; the first {MOST_ROWS} of {len(readback.classes)}"
        if len(readback.classes) > MOST_ROWS
        else ""
    )
    alt = (
        f"Histogram of the channel by class over that of the image, {-RANGE:g} to {RANGE:g} std of "
        f"the image. Codes: {codes}. "
        f"Best thresholds read {100 * readback.accuracy:.1f} % of the pixels."
    )
    return panel("channel by class", np.asarray(picture), alt=alt, note=note + more)


def _histograms(values: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """(ids, BINS) counts over -RANGE to RANGE; what lies outside is in the first or last bin."""
    bins = ((values + RANGE) * (BINS / (2 * RANGE))).astype(np.int64).clip(0, BINS - 1)
    counts = np.bincount((ids * BINS + bins).ravel(), minlength=(ids.max() + 1) * BINS)
    return counts.reshape(-1, BINS)


def _heights(counts: np.ndarray) -> np.ndarray:
    """Heights in 0-1, the square root of counts over the largest."""
    return np.sqrt(counts / max(counts.max(), 1))


def _draw_bars(
    pen: ImageDraw.ImageDraw,
    heights: np.ndarray,
    left: float,
    base: float,
    width: float,
    colour: tuple[int, int, int],
) -> None:
    for i in np.flatnonzero(heights > 0):
        x = left + i * width
        pen.rectangle((x, base - heights[i], x + width, base), fill=colour)
