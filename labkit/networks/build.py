"""A network by the names of its parts. Families are found by their files."""

import contextlib
import importlib
import pkgutil
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Literal

import torch

from labkit.errors import SettingsError, nearest_name
from labkit.method import stream_generator, stream_seed
from labkit.networks.base import SegmentationNetwork
from labkit.networks.encoders import check_encoder, has_imagenet_weights, imagenet_download
from labkit.networks.stem import widen_stem
from labkit.networks.weights import load_encoder_weights

CANNOT_BUILD = (
    AssertionError,
    KeyError,
    NotImplementedError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)
TRIAL = (64, 96)  # pixels, of the image every new network is tried with
UNEXPLAINED = "the library refuses the stride or the stages asked for"


@lru_cache(maxsize=1)
def _families() -> tuple[dict[str, Callable], dict[str, tuple[str, ...]]]:
    """Builders by network, and encoders of its own by network, from every file with NETWORKS."""
    builders, encoders = {}, {}
    for module in pkgutil.iter_modules([str(Path(__file__).parent)]):
        family = importlib.import_module(f"labkit.networks.{module.name}")
        builders |= getattr(family, "NETWORKS", {})
        encoders |= getattr(family, "ENCODERS", {})
    return builders, encoders


def available() -> list[str]:
    """Names of all networks."""
    return sorted(_families()[0])


def own_encoders(architecture: str) -> tuple[str, ...]:
    """Encoders that a network has beside smp's and timm's."""
    return _families()[1].get(architecture, ())


def check_names(architecture: str | None, encoder: str | None) -> None:
    """Refuse unknown names without building anything; None is not checked.

    Raises:
        SettingsError: no such network or encoder, with the nearest known one.
    """
    faults, names = [], []
    if architecture is not None and architecture not in available():
        faults.append(
            f"setting architecture: got {architecture!r}; expected one of "
            f"{', '.join(available())}; {nearest_name(architecture, available())}"
        )
        names.append("architecture")
    if encoder is not None:
        try:
            check_encoder(encoder, own_encoders(architecture or ""))
        except SettingsError as error:
            faults.append(str(error))
            names.append("encoder")
    if faults:
        raise SettingsError("\n".join(faults), names=names)


def build_network(
    architecture: str,
    encoder: str,
    *,
    num_classes: int,
    label_channels: int = 0,
    encoder_weights: str = "none",
    label_init: Literal["normal", "zeros"] = "normal",
    auxiliary_weight: float = 0.0,
    seed: int = 0,
) -> SegmentationNetwork:
    """A network by the names of its parts.

    Networks with and without label channels or auxiliary heads share every other weight.

    Args:
        architecture: a name in `available()`.
        encoder: an smp encoder, "tu-<timm name>", or one of the network's own.
        num_classes: K, without void.
        label_channels: 0 for students and plain teachers.
        encoder_weights: "none", "imagenet" (smp's or timm's download) or a file of tensors.
        label_init: see `widen_stem`.
        auxiliary_weight: of the auxiliary heads' losses; 0 builds none.
        seed: of the weights; the global generator is left as it was.

    Raises:
        SettingsError: no such network, encoder or weights, or a pair that cannot be built.
    """
    check_names(architecture, encoder)
    network = _bare_network(architecture, encoder, num_classes, encoder_weights, seed)
    if encoder_weights not in ("none", "imagenet"):
        network.left_over = load_encoder_weights(network.encoder, Path(encoder_weights))
    if label_channels:
        generator = stream_generator("label slice", seed)
        try:
            widen_stem(network.encoder, label_channels, label_init=label_init, generator=generator)
        except ValueError as error:
            raise SettingsError(
                f"setting encoder: {encoder}: {error}", names=["encoder"]
            ) from error
        network.label_channels = label_channels
    if auxiliary_weight:
        network.auxiliary_weight = auxiliary_weight
        with _seeded("auxiliary heads", seed):
            network.auxiliary.update(network.auxiliary_heads())
    return network


def _bare_network(
    architecture: str, encoder: str, num_classes: int, encoder_weights: str, seed: int
) -> SegmentationNetwork:
    """A network of images without auxiliary heads, after one trial image."""
    imagenet = encoder_weights == "imagenet"
    if imagenet and not has_imagenet_weights(encoder):
        raise SettingsError(
            f"setting encoder_weights: smp and timm have no imagenet weights of {encoder!r}; "
            "expected none or a file.",
            names=["encoder_weights"],
        )
    download = imagenet_download(encoder) if imagenet else None
    try:
        with _seeded("weights", seed):
            builder = _families()[0][architecture]
            network = builder(encoder, num_classes=num_classes, download=download)
        _check_stride(network)
    except CANNOT_BUILD as error:
        reason = str(error).splitlines()[0][:200] if str(error) else UNEXPLAINED
        if imagenet and isinstance(error, OSError):
            raise SettingsError(
                f"setting encoder_weights: the imagenet weights of {encoder!r} cannot be loaded: "
                f"{reason} Expected a connection, or a file of weights given by its path.",
                names=["encoder_weights"],
            ) from error
        examples = ", ".join((*own_encoders(architecture), "resnet18", "tu-mobilenetv3_small_100"))
        raise SettingsError(
            f"setting encoder: {encoder!r} cannot be built with {architecture}: {reason}. "
            f"Expected one with the stages and dilation that it needs, such as {examples}.",
            names=["encoder"],
        ) from error
    return network


@torch.no_grad()
def _check_stride(network: SegmentationNetwork) -> None:
    """Refuse encoders that accept one image size alone, or whose stages have other strides."""
    training, (height, width) = network.training, TRIAL
    logits = network.eval()(torch.zeros(1, 3, height, width)).logits
    network.train(training)
    expected = (height // network.stride, width // network.stride)
    if tuple(logits.shape[2:]) != expected:
        raise ValueError(f"logits are {tuple(logits.shape[2:])} for {TRIAL}, not {expected}")


@contextlib.contextmanager
def _seeded(stream: str, seed: int) -> Iterator[None]:
    """The global CPU generator seeded inside, and as it was afterwards."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(stream_seed(stream, seed))
        yield
