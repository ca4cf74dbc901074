"""Size and cost of every network with a typical encoder."""

import copy
from typing import Any

import torch
from torch import nn

from labkit.networks.base import SegmentationNetwork
from labkit.networks.build import available, build_network, own_encoders

HEIGHT, WIDTH = 512, 1024  # pixels, of the cost
DEFAULT_ENCODER = "resnet18"
EXAMPLES = {"ocrnet": "tu-hrnet_w18_small_v2", "stdc": "stdc1", "unet": "tu-mobilenetv3_small_100"}


def networks_table(*, num_classes: int = 19) -> list[dict[str, Any]]:
    """One row per network with its usual encoder.

    Returns:
        Rows of architecture, encoder, own_encoders, stride (input pixels per logit), parameters,
        inference (parameters without auxiliary heads), gmac (1e9 multiply-adds of convolutions at
        512 x 1024, auxiliary heads not counted), auxiliary (names of the heads).
    """
    rows = []
    for architecture in available():
        encoder = EXAMPLES.get(architecture, DEFAULT_ENCODER)
        network = build_network(
            architecture, encoder, num_classes=num_classes, auxiliary_weight=0.4
        )
        rows.append(
            {
                "architecture": architecture,
                "encoder": encoder,
                "own_encoders": ", ".join(own_encoders(architecture)),
                "stride": network.stride,
                "parameters": parameters(network),
                "inference": parameters(network, inference=True),
                "gmac": round(multiply_adds(network, (HEIGHT, WIDTH)) / 1e9, 1),
                "auxiliary": ", ".join(auxiliary_names(network)),
            }
        )
    return rows


def parameters(network: SegmentationNetwork, *, inference: bool = False) -> int:
    """Number of parameters; inference leaves the auxiliary heads out."""
    return sum(
        value.numel()
        for name, value in network.named_parameters()
        if not (inference and name.startswith("auxiliary"))
    )


def auxiliary_names(network: SegmentationNetwork) -> list[str]:
    """Names of the auxiliary losses in training."""
    training = network.training
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        inputs = torch.zeros(2, 3 + network.label_channels, 64, 64)
        state = {name: value.clone() for name, value in network.named_buffers()}
        names = list(network.train()(inputs).auxiliary)
        for name, value in network.named_buffers():
            value.copy_(state[name])  # BatchNorm statistics as they were
    network.train(training)
    return names


def multiply_adds(network: SegmentationNetwork, size: tuple[int, int]) -> int:
    """Multiply-adds of all convolutions for one image, in eval mode; computed without memory.

    Args:
        size: height and width of the image, pixels.
    """
    total = 0

    def count(module: nn.Conv2d, inputs: tuple, output: torch.Tensor) -> None:
        nonlocal total
        per_output = module.weight[0].numel()
        total += per_output * output.numel()

    training = network.training
    meta = _on_meta(network.eval())
    handles = [
        module.register_forward_hook(count)
        for module in meta.modules()
        if isinstance(module, nn.Conv2d)
    ]
    meta(torch.zeros(1, 3 + network.label_channels, *size, device="meta"))
    for handle in handles:
        handle.remove()
    network.train(training)
    return total


def _on_meta(network: SegmentationNetwork) -> SegmentationNetwork:
    """A copy that computes shapes alone."""
    return copy.deepcopy(network).to("meta")
