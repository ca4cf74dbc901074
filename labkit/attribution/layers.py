"""LayerCAM of the joint evidence at deeper layers, by name. Behind the stem image and label are
mixed: there is one map.

Source: LayerCAM, Jiang et al. 2021, doi 10.1109/TIP.2021.3089943.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labkit.attribution.common import (
    Region,
    Score,
    check_categories,
    check_request,
    class_region,
    class_score,
    eval_float32,
    full_size_logits,
    hooks,
    record_and_clone,
    without_padding,
)
from labkit.attribution.layercam import layercam
from labkit.errors import nearest_name
from labkit.networks import SegmentationNetwork
from labkit.networks.base import padded

GAMMA = 2.0  # of the authors' scaling before the maximum


class JointMaps(NamedTuple):
    """Maps of the undivided network at the image's size."""

    layers: dict[str, Tensor]  # by name, (N, H, W), at least 0, unscaled: logits of the class score
    scaled: dict[str, Tensor]  # the same in 0-1, as they are combined
    strides: dict[str, int]  # by name, input pixels across per position of the layer's own map
    combined: Tensor  # (N, H, W), 0-1
    score: Tensor  # (N,); NaN where the region is empty, and so are the maps
    present: Tensor  # (N,) bool, False flags those frames


def joint_layercam(
    network: SegmentationNetwork,
    images: Tensor,
    label_channel: Tensor,
    *,
    layers: Sequence[str],
    category: int,
    region: Region = "predicted",
    target: Tensor | None = None,
    score: Score = "logit",
    combine: Literal["max", "mean"] = "max",
) -> JointMaps:
    """LayerCAM at named layers, and all of them in one map.

    Args:
        layers: names of the network's modules, such as "encoder.layer2"; see `layer_names`.
        combine: "max" = element-wise maximum of tanh(2 * map / its maximum), as LayerCAM's authors
            do; "mean" = mean of the maps each scaled to 0-1, scaled again, as the grad-cam library
            does.
        others: as for `branch_layercam`.

    Raises:
        ValueError: no such layer, or its output is no feature map, or as `branch_layercam`.

    Differs: the authors scale the maps of their first three stages only; here every layer is
        scaled.
    """
    check_request(network, images, label_channel, region=region, score=score, target=target)
    if combine not in ("max", "mean"):
        raise ValueError(f"joint_layercam: combine {combine!r}; expected max or mean.")
    with eval_float32(network, images.device) as explained:
        records = {}
        modules = [(name, _find(explained, name)) for name in layers]
        with hooks(
            [module.register_forward_hook(_recorder(name, records)) for name, module in modules]
        ):
            logits = full_size_logits(explained, images.clone().requires_grad_(), label_channel)
        (category,) = check_categories(category, logits.shape[1])
        inside = class_region(logits.detach(), category=category, region=region, target=target)
        value = class_score(logits, inside, category=category, score=score)
        unused = [name for name in layers if name not in records]
        if unused:
            raise ValueError(
                f"joint_layercam: layer {', '.join(unused)} takes no part in a prediction; choose "
                "another."
            )
        outputs = [records[name] for name in layers]
        gradients = torch.autograd.grad(
            value.nansum(), outputs, allow_unused=True, materialize_grads=True
        )
    empty = value.detach().isnan()
    size = images.shape[2:]
    coarse, steps = {}, {}
    for name, output, gradient in zip(layers, outputs, gradients, strict=True):
        maps = layercam(output.detach(), gradient).relu()
        coarse[name] = without_padding(maps.masked_fill(empty[:, None, None], torch.nan), size)
        steps[name] = tuple(padded(s) // n for s, n in zip(size, maps.shape[1:], strict=True))
    fine = {name: _upsampled(one, steps[name], size) for name, one in coarse.items()}
    if combine == "max":
        scaled = {name: torch.tanh(GAMMA * one / _largest(one)) for name, one in fine.items()}
        combined = torch.stack(list(scaled.values())).amax(0)
    else:
        scaled = {name: _upsampled(_unit(one), steps[name], size) for name, one in coarse.items()}
        combined = _unit(torch.stack(list(scaled.values())).mean(0))
    strides = {name: across for name, (_, across) in steps.items()}
    return JointMaps(fine, scaled, strides, combined, value.detach(), ~empty)


def layer_names(network: SegmentationNetwork, *, with_maps: bool = False) -> list[str]:
    """Names of the network's pieces in the order they run, from the stem to the logits; each holds
    parameters.

    A piece is named down to its first number: encoder.layer1.0, decoder.blocks.3.

    Args:
        with_maps: only those that run once and return a feature map (1, D, h, w), as
            `joint_layercam` needs.
    """
    ran: list[str] = []
    outputs: dict[str, list[int]] = {}

    def note_output(name: str, output: object) -> None:
        outputs.setdefault(name, []).append(getattr(output, "ndim", 0))

    handles = []
    for name, module in named_layers(network).items():
        if module._parameters:
            handles.append(module.register_forward_pre_hook(lambda *_, name=name: ran.append(name)))
        handles.append(
            module.register_forward_hook(lambda *call, name=name: note_output(name, call[2]))
        )
    device = next(network.parameters()).device
    with hooks(handles), eval_float32(network, device) as explained, torch.no_grad():
        explained(
            torch.zeros(1, 3 + network.label_channels, 64, 64, device=device)
        )  # a float32 copy keeps the hooks
    pieces = list(dict.fromkeys(piece_of(name) for name in ran))
    return [name for name in pieces if outputs.get(name) == [4]] if with_maps else pieces


def named_layers(network: SegmentationNetwork) -> dict[str, nn.Module]:
    """Modules of encoder, decoder and head by name; without auxiliary heads."""
    modules = dict(network.named_modules())
    return {name: modules[name] for name in modules if name and not name.startswith("auxiliary")}


def piece_of(name: str) -> str:
    """A module's name down to its first number: "encoder.layer1.0.conv1" -> "encoder.layer1.0"."""
    parts = name.split(".")
    number = next((i for i, part in enumerate(parts) if part.isdigit()), len(parts))
    return ".".join(parts[: number + 1])


def _upsampled(maps: Tensor, steps: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """(N, h, w) -> (N, H, W): bilinear to steps * (h, w), then cropped, as the logits are."""
    covered = [one * step for one, step in zip(maps.shape[1:], steps, strict=True)]
    fine = F.interpolate(maps[:, None], covered, mode="bilinear", align_corners=False)[:, 0]
    return fine[:, : size[0], : size[1]]


def _unit(maps: Tensor) -> Tensor:
    """Each frame brought to 0-1 by its own least and largest value."""
    lowered = maps - maps.amin((1, 2), keepdim=True)
    return lowered / _largest(lowered)


def _largest(maps: Tensor) -> Tensor:
    return maps.amax((1, 2), keepdim=True).clamp(min=1e-12)


def _find(network: SegmentationNetwork, name: str) -> nn.Module:
    known = named_layers(network)
    if name not in known:
        pieces = ", ".join(dict.fromkeys(piece_of(one) for one in known))
        raise ValueError(
            f"joint_layercam: no layer {name!r}; {nearest_name(name, known)} The network has "
            f"{pieces}, and their parts."
        )
    return known[name]


def _recorder(name: str, records: dict):
    def keep(module: nn.Module, inputs: tuple, output: Tensor) -> Tensor:
        if name in records:
            raise ValueError(
                f"joint_layercam: layer {name} runs more than once in a pass; choose one that runs "
                "once."
            )
        if not isinstance(output, Tensor) or output.ndim != 4:
            raise ValueError(
                f"joint_layercam: layer {name} returns no feature map (N, D, h, w); choose a "
                "convolutional one."
            )
        return record_and_clone(output, records, name)

    return keep
