"""Networks by name, with logits at the decoder's own stride."""

from collections.abc import Callable
from pathlib import Path

import segmentation_models_pytorch as smp
import timm
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from labkit.config import SettingsError, nearest_name
from labkit.models.stem import widen_stem
from labkit.streams import stream_generator, stream_seed

# Builder and stride of the logits. PSPNet and DeepLabV3 read a dilated encoder of full depth: the paper's stride 8.
ARCHITECTURES: dict[str, tuple[Callable[..., nn.Module], int]] = {
    "unet": (smp.Unet, 1),
    "fpn": (lambda **options: smp.FPN(upsampling=1, **options), 4),
    "pspnet": (lambda **options: smp.PSPNet(encoder_depth=5, output_stride=8, upsampling=1, **options), 8),
    "deeplabv3": (lambda **options: smp.DeepLabV3(encoder_output_stride=8, upsampling=1, **options), 8),
}

SIDE_MULTIPLE = 32  # most smp networks refuse sides that are no multiple of their encoder's stride


class SegmentationNetwork(nn.Module):
    """An smp network that takes images of any size and answers at its decoder's stride.

    Attributes:
        label_channels: inputs beyond RGB; 0 = reads the image alone.
        output_stride: input pixels per logit.
    """

    def __init__(self, network: nn.Module, *, label_channels: int, output_stride: int) -> None:
        super().__init__()
        self.network, self.label_channels, self.output_stride = network, label_channels, output_stride

    @property
    def encoder(self) -> nn.Module:
        return self.network.encoder

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits at the decoder's stride.

        Args:
            inputs: (N, 3 + label_channels, H, W), normalised image and label channel.

        Returns:
            (N, K, h, w) with h = ceil(H / output_stride); padding needed inside is cropped away.
        """
        expected = 3 + self.label_channels
        if inputs.ndim != 4 or inputs.shape[1] != expected:
            raise ValueError(
                f"network: input is {tuple(inputs.shape)}; expected (N, {expected}, H, W): RGB and {self.label_channels} label channels."
            )
        height, width = inputs.shape[2:]
        logits = self.network(pad_sides(inputs))
        return logits[..., : -(-height // self.output_stride), : -(-width // self.output_stride)]

    def to_full_size(self, logits: Tensor, size: tuple[int, int]) -> Tensor:
        """Bilinear to the image's size: (N, K, h, w) -> (N, K, H, W) float32."""
        if logits.shape[2:] == size:
            return logits.float()
        height, width = (self.output_stride * side for side in logits.shape[2:])
        full = F.interpolate(logits.float(), (height, width), mode="bilinear", align_corners=False)
        return full[..., : size[0], : size[1]]


def pad_sides(inputs: Tensor) -> Tensor:
    """(N, C, H, W) padded with zeros below and to the right, to sides the networks accept."""
    height, width = inputs.shape[2:]
    return F.pad(inputs, (0, -width % SIDE_MULTIPLE, 0, -height % SIDE_MULTIPLE))


def check_names(architecture: str | None, encoder: str | None) -> None:
    """Refuse names nobody knows, without building anything; None is not looked at.

    Raises:
        SettingsError: no such architecture or encoder.
    """
    faults = []
    if architecture is not None and architecture not in ARCHITECTURES:
        faults.append(f"setting architecture: got {architecture!r}; expected one of {', '.join(ARCHITECTURES)}.")
    names = timm.list_models() if (encoder or "").startswith("tu-") else smp.encoders.get_encoder_names()
    bare = (encoder or "").removeprefix("tu-").split(".")[0]
    if encoder is not None and bare not in names:
        faults.append(f"setting encoder: got {encoder!r}; expected an encoder of smp, or tu-<timm name>; {nearest_name(bare, names)}")
    if faults:
        raise SettingsError("\n".join(faults))


def build_network(
    architecture: str,
    encoder: str,
    *,
    num_classes: int,
    label_channels: int = 0,
    encoder_weights: str = "none",
    label_init: str = "normal",
    seed: int = 0,
) -> SegmentationNetwork:
    """A network by the names of its parts.

    Args:
        architecture: a name in `ARCHITECTURES`.
        encoder: an smp encoder, or "tu-<timm name>".
        num_classes: K, without void.
        label_channels: 0 for students and plain teachers; a network with and one without share every other weight.
        encoder_weights: "none", "imagenet" (smp's or timm's download) or a path to a safetensors or torch file.
        label_init: "normal" or "zeros", see `widen_stem`.
        seed: of the weights; the global generator is left as it was.

    Raises:
        SettingsError: no such architecture, encoder or weights; the message says what to choose.
    """
    check_names(architecture, encoder)
    build, output_stride = ARCHITECTURES[architecture]
    timm_encoder = encoder.startswith("tu-")
    download = (True if timm_encoder else "imagenet") if encoder_weights == "imagenet" else None
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(stream_seed("weights", seed))
        try:
            network = build(encoder_name=encoder, encoder_weights=download, classes=num_classes)
        except (KeyError, RuntimeError, ValueError, OSError) as error:
            raise SettingsError(
                f"setting encoder: {encoder!r} with {architecture} cannot be built: {str(error)[:300]}. "
                "Expected an smp encoder such as resnet18, or tu-<timm name>."
            ) from error
    if encoder_weights not in ("none", "imagenet"):
        load_encoder_weights(network.encoder, Path(encoder_weights))
    if label_channels:
        generator = stream_generator("label slice", seed)
        widen_stem(network.encoder, label_channels, label_init=label_init, generator=generator)
    return SegmentationNetwork(network, label_channels=label_channels, output_stride=output_stride)


def load_encoder_weights(encoder: nn.Module, path: Path) -> None:
    """Fill an encoder from a file of tensors; a classifier's left-over weights are ignored, nothing else may be missing.

    Args:
        encoder: changed in place.
        path: .safetensors, or a torch file of tensors (no code in it is run).

    Raises:
        SettingsError: no such file, or it is not this encoder's.
    """
    if not path.is_file():
        raise SettingsError(f"setting encoder_weights: got {str(path)!r}; expected none, imagenet or a file that exists.")
    try:
        found = load_file(path) if path.suffix == ".safetensors" else torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the readers raise whatever the bytes lead them to
        raise SettingsError(
            f"setting encoder_weights: {path.name} cannot be read as tensors ({type(error).__name__}); "
            "expected a safetensors file, or a torch file that holds tensors and nothing else."
        ) from error
    if not isinstance(found, dict) or not all(isinstance(name, str) and isinstance(value, Tensor) for name, value in found.items()):
        raise SettingsError(f"setting encoder_weights: {path.name} holds other things than tensors by name; expected a plain state dict.")
    expected = encoder.state_dict()
    by_prefix = ({prefix + name.removeprefix("encoder."): value for name, value in found.items()} for prefix in ("", "model."))
    best = max(by_prefix, key=lambda state: len(state.keys() & expected.keys()))
    wrong = [name for name, value in expected.items() if name not in best or best[name].shape != value.shape]
    wrong = [name for name in wrong if not name.endswith("num_batches_tracked")]
    if wrong:
        raise SettingsError(
            f"setting encoder_weights: {path.name} lacks or misshapes {len(wrong)} of {len(expected)} tensors, "
            f"first {', '.join(wrong[:3])}; expected the weights of {type(encoder).__name__}."
        )
    encoder.load_state_dict({name: best.get(name, value) for name, value in expected.items()})
