"""Encoder weights from a file of tensors."""

import hashlib
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from labkit.errors import SettingsError


def encoder_weights_fingerprint(encoder_weights: str) -> str:
    """Empty for none, "imagenet" for the download, else the SHA-256 of the file."""
    if encoder_weights in ("none", ""):
        return ""
    if encoder_weights == "imagenet":
        return "imagenet"
    with Path(encoder_weights).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def load_encoder_weights(encoder: nn.Module, path: Path) -> None:
    """Fill an encoder from a file of tensors; nothing but a classifier's weights may be left over.

    Args:
        encoder: changed in place.
        path: .safetensors, or a torch file of tensors (no code in it is run).

    Raises:
        SettingsError: no such file, or it is not this encoder's.
    """
    if not path.is_file():
        raise SettingsError(
            f"setting encoder_weights: got {str(path)!r}; expected none, imagenet or a file."
        )
    try:
        loaded = (
            load_file(path)
            if path.suffix == ".safetensors"
            else torch.load(path, map_location="cpu", weights_only=True)
        )
    except Exception as error:  # the readers raise whatever the bytes lead them to
        raise SettingsError(
            f"setting encoder_weights: {path.name} cannot be read as tensors "
            f"({type(error).__name__}); expected a safetensors file, or a torch file that holds "
            "tensors and nothing else."
        ) from error
    if not isinstance(loaded, dict) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in loaded.items()
    ):
        raise SettingsError(
            f"setting encoder_weights: {path.name} holds other things than tensors by name; "
            "expected a plain state dict."
        )
    expected = encoder.state_dict()
    by_prefix = (
        {prefix + name.removeprefix("encoder."): value for name, value in loaded.items()}
        for prefix in ("", "model.")
    )
    best = max(by_prefix, key=lambda state: len(state.keys() & expected.keys()))
    wrong = [
        name
        for name, value in expected.items()
        if name not in best or best[name].shape != value.shape
    ]
    wrong = [name for name in wrong if not name.endswith("num_batches_tracked")]
    if wrong:
        raise SettingsError(
            f"setting encoder_weights: {path.name} lacks or misshapes {len(wrong)} of "
            f"{len(expected)} tensors, first {', '.join(wrong[:3])}; expected the weights of "
            f"{type(encoder).__name__}."
        )
    encoder.load_state_dict({name: best.get(name, value) for name, value in expected.items()})
