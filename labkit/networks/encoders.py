"""Encoders: which names there are, and how one is built. Every encoder is built here or by smp."""

from functools import lru_cache

import segmentation_models_pytorch as smp
import timm
from torch import nn

from labkit.errors import SettingsError, nearest_name

TIMM = "tu-"  # prefix of timm's names


@lru_cache(maxsize=2)
def known_encoders(*, from_timm: bool) -> frozenset[str]:
    """Names of smp's encoders, or of timm's models without the prefix."""
    return frozenset(timm.list_models() if from_timm else smp.encoders.get_encoder_names())


def check_encoder(encoder: str, own: tuple[str, ...] = ()) -> None:
    """Refuse an unknown encoder without building anything.

    Args:
        own: names of the family's own encoders.

    Raises:
        SettingsError: with the nearest known name.
    """
    if encoder in own:
        return
    from_timm = encoder.startswith(TIMM)
    bare = encoder.removeprefix(TIMM).split(".")[0]
    known = known_encoders(from_timm=from_timm)
    if bare not in known:
        prefix = TIMM if from_timm else ""
        raise SettingsError(
            f"setting encoder: got {encoder!r}; expected an encoder of smp, tu-<timm name>"
            f"{''.join(f', {name}' for name in own)}; {nearest_name(bare, known)}"
            f"{f' ({prefix}...)' if prefix else ''}",
            names=["encoder"],
        )


def has_imagenet_weights(encoder: str) -> bool:
    """Whether smp or timm offers ImageNet weights of an encoder for download."""
    if encoder.startswith(TIMM):
        return timm.is_model_pretrained(encoder.removeprefix(TIMM))
    return "imagenet" in smp.encoders.encoders.get(encoder, {}).get("pretrained_settings", {})


def imagenet_download(encoder: str) -> str | bool:
    """How smp asks for ImageNet weights: timm's models take a truth value."""
    return True if encoder.startswith(TIMM) else "imagenet"


def dilated_encoder(encoder: str, *, download: object) -> nn.Module:
    """An smp or timm encoder of five stages; the last two keep stride 8, dilated by 2 and 4."""
    return smp.encoders.get_encoder(
        encoder, in_channels=3, depth=5, weights=download, output_stride=8
    )


def plain_encoder(encoder: str, *, download: object) -> nn.Module:
    """An smp or timm encoder of five stages at strides 2 to 32."""
    return smp.encoders.get_encoder(encoder, in_channels=3, depth=5, weights=download)
