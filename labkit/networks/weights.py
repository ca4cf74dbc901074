"""Encoder weights from a file of tensors."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from labkit.errors import SettingsError

SHOWN = 5  # names of each list in a message


def encoder_weights_fingerprint(encoder_weights: str) -> str:
    """Empty for none, "imagenet" for the download, else the SHA-256 of the file."""
    if encoder_weights in ("none", ""):
        return ""
    if encoder_weights == "imagenet":
        return "imagenet"
    with Path(encoder_weights).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def load_encoder_weights(encoder: nn.Module, path: Path) -> tuple[str, ...]:
    """Fill an encoder from a file of tensors; tensors of other parts, a classifier, are not used.

    Args:
        encoder: changed in place.
        path: .safetensors, or a torch file of tensors (no code in it is run). Names may begin with
            "encoder.".

    Returns:
        Names in the file that the encoder has no use for.

    Raises:
        SettingsError: no such file, or the encoder needs tensors that it lacks or has in another
            shape; the message lists what is missing, misshaped and left over.
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
        {name: prefix + name.removeprefix("encoder.") for name in loaded}
        for prefix in ("", "model.")
    )
    names = max(by_prefix, key=lambda names: len(set(names.values()) & expected.keys()))
    best = {ours: loaded[name] for name, ours in names.items()}
    left_over = sorted(name for name, ours in names.items() if ours not in expected)
    faults = _faults(best, expected)
    if faults:
        others = f" Left over: {some_names(left_over)}." if left_over else ""
        raise SettingsError(
            f"setting encoder_weights: {path.name} is not of this encoder: {'; '.join(faults)}."
            f"{others} Expected the {len(expected)} tensors of {type(encoder).__name__}."
        )
    encoder.load_state_dict({name: best.get(name, value) for name, value in expected.items()})
    return tuple(left_over)


def _faults(state: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> list[str]:
    """Which of the expected tensors a file lacks, and which have another shape."""
    needed = {n: v for n, v in expected.items() if not n.endswith("num_batches_tracked")}
    missing = [name for name in needed if name not in state]
    misshaped = [
        f"{name} {tuple(state[name].shape)} instead of {tuple(value.shape)}"
        for name, value in needed.items()
        if name in state and state[name].shape != value.shape
    ]
    lists = {"missing": missing, "of another shape": misshaped}
    return [f"{len(names)} {what}: {some_names(names)}" for what, names in lists.items() if names]


def some_names(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(ascii(name[:100])[1:-1] for name in names[:SHOWN]) + more
