"""Maps of both branches of the stem against the grad-cam library."""

import copy
from collections.abc import Iterator

import numpy as np
import torch
from pytorch_grad_cam import LayerCAM
from pytorch_grad_cam.utils.image import scale_cam_image
from torch import nn

from labkit.attribution.layercam import BranchMaps, branch_layercam
from labkit.attribution.library import MeanLogit, SplitStem
from labkit.networks import build_network, find_stem
from labkit.networks.export import FullSizeLogits
from tests.benchmarks.timing import milliseconds, row

CLASSES, IMAGES, HEIGHT, WIDTH = 8, 8, 64, 128


def map_rows() -> Iterator[dict]:
    """All classes of a batch: one forward pass of ours against the library's calls.

    Maps equal the library's after its scaling. Its one call for both branches is `targets` of a
    class with both halves as layers.
    """
    case = _Case()
    for category, drawn in enumerate(case.per_class_and_branch()):
        for maps, reference in zip(case.ours()[:2], drawn, strict=True):
            values = scale_cam_image(maps[:, category].numpy(), (WIDTH, HEIGHT))
            scaled = scale_cam_image(np.maximum(values, 0))
            np.testing.assert_allclose(scaled, reference, rtol=0, atol=1e-4)
    size = f"{IMAGES} x {HEIGHT} x {WIDTH}, {CLASSES} classes, two branches, Unet"
    ours, each, both = milliseconds(case.ours, case.per_class_and_branch, case.per_class, repeat=3)
    yield row("branch maps vs a grad-cam call per class and branch", size, ours, each)
    yield row("branch maps vs a grad-cam call per class", size, ours, both)


class _Case:
    """A network, a batch in which every class occurs, and both ways to its maps."""

    def __init__(self) -> None:
        self.network = build_network(
            "unet", "tu-mobilenetv3_small_100", num_classes=CLASSES, label_channels=1
        ).eval()
        generator = torch.Generator().manual_seed(0)
        self.images = torch.randn(IMAGES, 3, HEIGHT, WIDTH, generator=generator)
        self.label = torch.randn(IMAGES, 1, HEIGHT, WIDTH, generator=generator)
        blocks = torch.randint(CLASSES, (IMAGES, HEIGHT // 16, WIDTH // 16), generator=generator)
        self.target = blocks.repeat_interleave(16, 1).repeat_interleave(16, 2)
        self.target[:, 0, :CLASSES] = torch.arange(CLASSES)  # every class in every frame
        self.full = FullSizeLogits(copy.deepcopy(self.network)).requires_grad_(True)
        name, stem = find_stem(self.full.network.encoder)
        self.split = SplitStem(stem)
        self.full.network.encoder.set_submodule(name, self.split)
        self.inputs = torch.cat([self.images, self.label], 1)

    def ours(self) -> BranchMaps:
        return branch_layercam(
            self.network,
            self.images,
            self.label,
            category=range(CLASSES),
            region="true",
            target=self.target,
            layer="raw",
        )

    def per_class_and_branch(self) -> list[list[np.ndarray]]:
        branches = (self.split.image, self.split.label)
        return [[self._library([b], category) for b in branches] for category in range(CLASSES)]

    def per_class(self) -> None:
        for category in range(CLASSES):
            self._library([self.split.image, self.split.label], category)

    def _library(self, layers: list[nn.Module], category: int) -> np.ndarray:
        cam = LayerCAM(self.full, layers)
        targets = [MeanLogit(category, region) for region in self.target == category]
        maps = cam(self.inputs, targets=targets)
        cam.activations_and_grads.release()
        return maps
