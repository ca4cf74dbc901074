"""The noising explorer: one frame, its label, what the teacher is shown of it, and how much of the label can be read back."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw

from labkit.config import NoisingSettings
from labkit.datasets import DatasetInfo, Split, dataset_info, dataset_recipe, open_split
from labkit.explorers._decoder import best_threshold_decoder, decode, decode_jointly
from labkit.explorers._pictures import INK, LARGE, PAPER, SCALAR, class_picture, fitted, font, levels
from labkit.explorers._view import Control, Explorer, Panel, View, as_dict, batch_lines, changed, panel
from labkit.lnm import IGNORE_INDEX, LabelNoising
from labkit.streams import stream_generator

BINS = 160
MOST_ROWS = 24  # classes in the histogram


@dataclass(frozen=True, kw_only=True)
class NoisingState:
    """Names, units and meaning as in `NoisingSettings`."""

    frame: int = 0
    class_std: float = 1.0
    pixel_std: float = 0.03
    label_scale: float = 1.0
    void_policy: str = "own"
    weights: str = "random"
    label_channels: int = 1
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Frames:
    """Where frames come from; one is equal to itself alone."""

    info: DatasetInfo
    split: Split


@dataclass(frozen=True)
class Readback:
    """How a channel gives its label away. Classes are those in the frame, void among them, in the order of their codes."""

    classes: np.ndarray  # (M,) ids, void = K
    codes: np.ndarray  # (M,), of the first channel, scaled
    shares: np.ndarray  # (M,) of the pixels
    accuracy: float  # 0-1, of the best thresholds, expected over the noise
    drawn: float  # 0-1, of the same thresholds on the pixels drawn
    jointly: float  # 0-1, of all channels together on the pixels drawn
    lost: np.ndarray  # (L,) ids the thresholds never answer


def noising(settings: NoisingSettings) -> Explorer:
    """The explorer of `00_label_noising`, at the notebook's settings."""
    info, recipe = dataset_info(settings.dataset), dataset_recipe(settings.dataset, settings.recipe)
    size = {"height": recipe.height, "width": recipe.width}
    split = open_split(settings.dataset, "val", root=settings.data_root, size=recipe.val_size, **size)
    if settings.frame >= len(split):
        split = open_split(settings.dataset, "val", root=settings.data_root, size=settings.frame + 1, **size)
    frames = Frames(info, split)
    state = NoisingState(**{name: getattr(settings, name) for name in as_dict(NoisingState())})
    given = settings.model_dump(include={"dataset", "recipe", "data_root", "runs", "figures"})
    defaults = type(settings)().model_dump()

    def commands(state: NoisingState) -> dict[str, str]:
        return batch_lines("noising", "00_label_noising", changed(given | as_dict(state), defaults))

    controls = (
        Control(name="frame", label="frame", high=len(split) - 1),
        Control(name="class_std", label="class weight std", high=4, step=0.05),
        Control(name="pixel_std", label="pixel noise std", high=2, step=0.01),
        Control(name="label_scale", label="label scale", high=8, step=0.1),
        Control(name="void_policy", label="void policy", kind="choice", options=("own", "zero")),
        Control(name="weights", label="class weights", kind="choice", options=("random", "fixed")),
        Control(name="label_channels", label="label channels", low=1, high=8),
        Control(name="seed", label="seed", high=999),
    )
    return Explorer("noising", "Noising explorer", state, controls, lambda state: draw_noising(state, frames), commands)


def draw_noising(state: NoisingState, frames: Frames) -> View:
    """Image, label, noised label and histogram by class, with what the channel gives away in words."""
    info = frames.info
    names = [*info.class_names, "void"]
    target = frames.split[state.frame].target
    channels = 1 if state.weights == "fixed" else state.label_channels
    noising = LabelNoising(
        num_classes=info.num_classes, class_std=state.class_std, pixel_std=state.pixel_std, label_scale=state.label_scale,
        void_policy=state.void_policy, label_channels=channels, weights=state.weights,
    )  # fmt: skip
    channel = noising(target[None], generator=stream_generator("explore noise", state.seed))[0].numpy()
    codes = noising.draw_weights(1, generator=stream_generator("explore noise", state.seed))[0].numpy()
    ids = target.masked_fill(target == IGNORE_INDEX, info.num_classes).numpy()
    found = read_back(channel, ids, state.label_scale * codes, state.label_scale * state.pixel_std)
    limit = max(float(np.abs(channel[0]).max()), 1e-6)
    first = f"channel 1 of {channels}" if channels > 1 else "one channel"
    by_size = np.argsort(-found.shares, kind="stable")
    shares = ", ".join(f"{names[found.classes[i]]} {100 * found.shares[i]:.1f} %" for i in by_size)
    panels = (
        _frame_panel(frames, state.frame),
        panel("label", class_picture(ids, info.palette, names), alt=f"Label of the frame: {shares}."),
        panel(
            "noised label", levels(fitted(channel[0]), -limit, limit), table=SCALAR,
            note=f"{first}; dark {-limit:.2f}, bright {limit:.2f}",
            alt=f"Noised label, {first}: values from {channel[0].min():.2f} to {channel[0].max():.2f}, "
            f"pixel noise std {state.label_scale * state.pixel_std:.3f} after scaling.",
        ),
        _histogram_panel(channel[0], ids, found, names, state.label_scale * state.pixel_std),
    )  # fmt: skip
    return View(panels, _readout(found, names, state, channels))


def read_back(channel: np.ndarray, ids: np.ndarray, codes: np.ndarray, std: float) -> Readback:
    """What the best decoders make of a channel.

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
        answers = decode_jointly(channel.reshape(len(channel), -1), codes[:, present].astype(np.float64), shares, std)
        jointly = (present[answers] == ids.ravel()).mean()
    lost = np.setdiff1d(present, present[decoder.classes])
    return Readback(present, codes[0, present], shares, decoder.accuracy, float(drawn), float(jointly), lost)


def _readout(found: Readback, names: list[str], state: NoisingState, channels: int) -> tuple[str, ...]:
    common = found.classes[found.shares.argmax()]
    read = "the channel" if channels == 1 else "channel 1"
    usual = f"always saying {names[common]}: {100 * found.shares.max():.1f} %"
    lines = [
        f"Read back from {read} alone, best thresholds: {100 * found.accuracy:.1f} % of the pixels "
        f"({100 * found.drawn:.1f} % of those drawn; {usual}; void counts as a class)."
    ]
    if channels > 1:
        lines.append(f"Read back from all {channels} channels together: {100 * found.jointly:.1f} % of the pixels drawn.")
    elif state.label_channels > 1:
        lines.append("The fixed ramp is one code, so one channel is drawn; several need random class weights.")
    gaps = np.diff(found.codes)
    if len(gaps):
        i, std = int(gaps.argmin()), state.label_scale * state.pixel_std
        noise = f"{gaps[i] / std:.1f} times the pixel noise" if std > 0 else "and there is no pixel noise"
        lines.append(f"Closest codes: {names[found.classes[i]]} and {names[found.classes[i + 1]]}, {gaps[i]:.3f} apart, {noise}.")
    if len(found.lost):
        lines.append(f"Lost in the noise, never the best answer: {', '.join(names[k] for k in found.lost)}.")
    return tuple(lines)


@lru_cache(maxsize=4)
def _frame_panel(frames: Frames, frame: int) -> Panel:
    image, name = frames.split[frame].image, frames.split.frame_name(frame)
    height, width = image.shape[1:]
    return panel("image", fitted(image.permute(1, 2, 0).numpy()), alt=f"Frame {name}, {height} x {width} pixels.", note=name)


def _histogram_panel(values: np.ndarray, ids: np.ndarray, found: Readback, names: list[str], std: float) -> Panel:
    """One row per class in the order of the codes, so that neighbours in the channel are neighbours in the picture."""
    rows = found.classes[:MOST_ROWS]
    low, high = float(values.min()), float(values.max())
    bins = np.minimum(((values - low) * (BINS / max(high - low, 1e-12))).astype(np.int64), BINS - 1)
    counts = np.bincount((ids * BINS + bins).ravel(), minlength=(ids.max() + 1) * BINS).reshape(-1, BINS)
    tall, left, right = 34 if len(rows) <= 10 else 22, 110, 124
    picture = Image.new("RGB", (LARGE, tall * len(rows) + 30), PAPER)
    pen = ImageDraw.Draw(picture)
    wide = LARGE - left - right
    for row, number in enumerate(rows):
        base = tall * (row + 1)
        heights = (tall - 6) * np.sqrt(counts[number] / max(counts[number].max(), 1))
        pen.line((left, base, LARGE - right, base), fill=(170, 170, 170))
        for place in np.flatnonzero(counts[number]):
            x = left + place * wide / BINS
            pen.rectangle((x, base - max(2, heights[place]), x + wide / BINS, base), fill=INK)
        pen.text((left - 8, base - tall / 2), names[number], font=font(19), anchor="rm", fill=INK)
        if row + 1 < len(rows):
            gap = found.codes[row + 1] - found.codes[row]
            text = f"{gap:.2f}" + (f" = {min(gap / std, 999):.{int(gap < 10 * std)}f} std" if std > 0 else "")
            pen.text((LARGE - right + 6, base), text, font=font(16), anchor="lm", fill=INK)
    bottom = tall * len(rows) + 4
    pen.text((left, bottom), f"{low:.2f}", font=font(16), anchor="lt", fill=INK)
    pen.text((LARGE - right, bottom), f"{high:.2f}", font=font(16), anchor="rt", fill=INK)
    codes = ", ".join(f"{names[k]} {code:+.2f}" for k, code in zip(found.classes, found.codes, strict=True))
    note = "in the order of the codes; right: gap to the next, in std of the pixel noise"
    more = f"; the first {MOST_ROWS} of {len(found.classes)}" if len(found.classes) > MOST_ROWS else ""
    alt = f"Histogram of the channel by class. Codes: {codes}. Best thresholds read {100 * found.accuracy:.1f} % of the pixels."
    return panel("channel by class", np.asarray(picture), alt=alt, note=note + more)
