"""`make bench`: rows name, size, ours, reference, ratio, unit (or a budget instead of a reference); printed, and kept in runs/bench.json.

Ratios are taken within one run on one machine; milliseconds of two machines say nothing about each other.
"""

import copy
import statistics
import timeit
from collections.abc import Callable

import numpy as np
import torch
from pytorch_grad_cam import LayerCAM
from pytorch_grad_cam.utils.image import scale_cam_image
from torch import Tensor, nn

from labkit.attribution import BranchMaps, branch_layercam
from labkit.attribution.library import FullSize, MeanLogit, SplitStem
from labkit.files import write_json
from labkit.lnm import IGNORE_INDEX, LabelNoising
from labkit.models import build_network, find_stem
from labkit.records import project_root
from tests.benchmarks.explorers import explorer_rows

CLASSES = 8


def milliseconds(call: Callable[[], object], *, repeat: int = 9) -> float:
    """Median time of a call, after one to warm up."""
    call()
    return 1000 * statistics.median(timeit.repeat(call, number=1, repeat=repeat))


def masked_loop(target: Tensor, noising: LabelNoising, generator: torch.Generator) -> Tensor:
    """The reference: one mask per image and class."""
    weights = noising.draw_weights(len(target), generator=generator)
    channel = torch.zeros(len(target), 1, *target.shape[1:])
    for image, one in enumerate(target):
        for category in range(noising.num_classes):
            channel[image, 0][one == category] = weights[image, 0, category]
        channel[image, 0][one == IGNORE_INDEX] = weights[image, 0, -1]
    noise = torch.randn(channel.shape, generator=generator)
    return noising.label_scale * (channel + noising.pixel_std * noise)


def noising_row() -> dict:
    """Label noising by gather against the masked loop, the same numbers out."""
    generator = torch.Generator().manual_seed(0)
    target = torch.randint(0, 22, (8, 512, 512), generator=generator)
    target[target == 21] = IGNORE_INDEX
    noising = LabelNoising(num_classes=21)
    ours = noising(target, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(ours, masked_loop(target, noising, torch.Generator().manual_seed(1)))
    return row(
        "label noising vs masked loop over images and classes",
        "8 x 512 x 512, 21 classes + void",
        milliseconds(lambda: noising(target, generator=generator)),
        milliseconds(lambda: masked_loop(target, noising, generator)),
    )


def layercam_rows() -> list[dict]:
    """Two branches, all classes of a batch of 8: one forward pass against the library per class and branch, and per class.

    Maps equal the library's after its scaling. Its one call for both branches is `targets` of a class with both halves as layers.
    """
    network = build_network("unet", "tu-mobilenetv3_small_100", num_classes=CLASSES, label_channels=1).eval()
    generator = torch.Generator().manual_seed(0)
    images, label = torch.randn(8, 3, 64, 128, generator=generator), torch.randn(8, 1, 64, 128, generator=generator)
    target = torch.randint(CLASSES, (8, 4, 8), generator=generator).repeat_interleave(16, 1).repeat_interleave(16, 2)
    target[:, 0, :CLASSES] = torch.arange(CLASSES)  # every class in every frame
    full = FullSize(copy.deepcopy(network)).requires_grad_(True)
    name, stem = find_stem(full.network.encoder)
    split = SplitStem(stem)
    full.network.encoder.set_submodule(name, split)
    inputs = torch.cat([images, label], 1)

    def ours() -> BranchMaps:
        return branch_layercam(network, images, label, category=range(CLASSES), region="true", target=target, layer="raw")

    def library(layers: list[nn.Module], category: int) -> LayerCAM:
        cam = LayerCAM(full, layers)
        targets = [MeanLogit(category, one) for one in target == category]
        cam.maps = cam(inputs, targets=targets)
        cam.activations_and_grads.release()
        return cam

    def per_class_and_branch() -> list[list[np.ndarray]]:
        return [[library([branch], category).maps for branch in (split.image, split.label)] for category in range(CLASSES)]

    def per_class() -> None:
        for category in range(CLASSES):
            library([split.image, split.label], category)

    for category, drawn in enumerate(per_class_and_branch()):
        for maps, reference in zip(ours()[:2], drawn, strict=True):
            scaled = scale_cam_image(np.maximum(scale_cam_image(maps[:, category].numpy(), (128, 64)), 0))
            np.testing.assert_allclose(scaled, reference, rtol=0, atol=1e-4)
    size = f"8 x 64 x 128, {CLASSES} classes, two branches, Unet"
    fast = milliseconds(ours, repeat=3)
    return [
        row("branch LayerCAM vs one library call per class and branch", size, fast, milliseconds(per_class_and_branch, repeat=3)),
        row("branch LayerCAM vs one library call per class", size, fast, milliseconds(per_class, repeat=3)),
    ]


def row(name: str, size: str, ours: float, reference: float) -> dict:
    """One measurement, with the ratio reference / ours."""
    ratio = round(reference / ours, 2)
    return {"name": name, "size": size, "ours": round(ours, 2), "reference": round(reference, 2), "ratio": ratio, "unit": "ms"}


def main() -> None:
    """Print and keep every row."""
    torch.set_num_threads(1)
    rows = [noising_row(), *layercam_rows(), *explorer_rows()]
    for found in rows:
        print("  ".join(f"{name}={value}" for name, value in found.items()))
    write_json(project_root() / "runs" / "bench.json", rows)


if __name__ == "__main__":
    main()
