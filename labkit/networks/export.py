"""Files of a trained network for use without labkit: how smp loads its weights, and ONNX.

onnx, onnxruntime and onnxscript are imported when they are needed; they come with the extra
"export".
"""

import contextlib
import copy
import importlib
import io
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from segmentation_models_pytorch.decoders.pspnet.decoder import PSPBlock
from torch import Tensor, nn

from labkit.errors import SettingsError
from labkit.method import full_size
from labkit.networks.base import SegmentationNetwork

TOLERANCE = 1e-4  # largest difference of ONNX from PyTorch, relative to the largest logit above 1
EXAMPLE = (2, 3, 70, 100)  # batch, channels, height, width of the traced input
LEAST_SIDE = 33  # pixels; smaller images are padded to one stride-32 position


class FullSizeLogits(nn.Module):
    """(N, 3, H, W) normalised image -> logits (N, K, H, W) at the image's size."""

    def __init__(self, network: SegmentationNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        outputs = self.network(image)
        return full_size(outputs.logits, outputs.stride, image.shape[2:])


class BinPool(nn.Module):
    """Adaptive average pooling by two matrices, for sides that are not known when it is traced.

    Args:
        bins: rows and columns of the result. Bin i of b over n positions averages
            floor(i * n / b) to ceil((i + 1) * n / b), as torch's AdaptiveAvgPool2d.
    """

    def __init__(self, bins: int) -> None:
        super().__init__()
        self.bins = bins

    def forward(self, features: Tensor) -> Tensor:
        rows, columns = (self._means(side, features) for side in features.shape[2:])
        return rows @ features @ columns.T  # (N, D, bins, bins)

    def _means(self, side: int, like: Tensor) -> Tensor:
        """(bins, side), each row sums to 1."""
        position = torch.arange(side, device=like.device)
        number = torch.arange(self.bins, device=like.device)[:, None]
        first = number * side // self.bins
        end = ((number + 1) * side + self.bins - 1) // self.bins
        inside = ((position >= first) & (position < end)).to(like.dtype)
        return inside / inside.sum(1, keepdim=True)


class _PyramidBlock(nn.Module):
    """smp's pyramid pooling block with `BinPool`."""

    def __init__(self, block: PSPBlock) -> None:
        super().__init__()
        self.pool, self.convolution = BinPool(block.pool_size), block.pool[1]

    def forward(self, features: Tensor) -> Tensor:
        pooled = self.convolution(self.pool(features))
        size = features.shape[2:]
        return F.interpolate(pooled, size=size, mode="bilinear", align_corners=True)


def write_onnx(network: SegmentationNetwork, path: Path) -> None:
    """Write a network of images as ONNX: `image` (N, 3, H, W) -> `logits` (N, K, H, W), float32.

    Batch, height (from 33) and width (from 33) are free.

    Args:
        network: reads images alone; unchanged.

    Raises:
        SettingsError: a package of the extra "export" is missing, or the network also reads a
            label.
    """
    if network.label_channels:
        raise SettingsError(
            "export: this network reads a label channel beside the image; expected one that reads "
            "images alone."
        )
    check_packages()
    free = {
        0: torch.export.Dim("batch", min=1, max=65536),
        2: torch.export.Dim("height", min=LEAST_SIDE, max=65536),
        3: torch.export.Dim("width", min=LEAST_SIDE, max=65536),
    }
    traced = _traceable(network)
    with _quiet(), torch.no_grad():
        program = torch.onnx.export(
            FullSizeLogits(traced),
            (torch.zeros(EXAMPLE),),
            dynamo=True,
            dynamic_shapes=(free,),
            input_names=["image"],
            output_names=["logits"],
            verbose=False,
        )
        program.save(path)


def onnx_difference(
    network: SegmentationNetwork, path: Path, *, sizes: Sequence[tuple[int, int, int]]
) -> float:
    """Largest difference of an ONNX file's logits from the network's, over random images.

    Args:
        network: in eval mode, on the CPU.
        sizes: (N, H, W) of the images.

    Returns:
        Largest |difference| / max(1, largest |logit|).

    Raises:
        SettingsError: onnxruntime is missing.
    """
    session = onnx_session(path)
    largest = 0.0
    generator = torch.Generator().manual_seed(0)
    for number, height, width in sizes:
        image = torch.randn(number, 3, height, width, generator=generator)
        with torch.no_grad():
            expected = FullSizeLogits(network)(image)
        (logits,) = session.run(["logits"], {"image": image.numpy()})
        difference = (torch.from_numpy(logits) - expected).abs().max()
        largest = max(largest, float(difference / expected.abs().max().clamp(min=1)))
    return largest


def onnx_session(path: Path):
    """An onnxruntime session on the CPU, with as many threads as torch."""
    runtime = _package("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    return runtime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def _traceable(network: SegmentationNetwork) -> SegmentationNetwork:
    """A copy on the CPU in eval mode, with pooling that can be traced at any size."""
    traced = copy.deepcopy(network).cpu().eval()
    traced = traced.to(memory_format=torch.contiguous_format)
    for name, module in list(traced.named_modules()):
        if isinstance(module, PSPBlock):
            traced.set_submodule(name, _PyramidBlock(module))
    return traced


def check_packages() -> None:
    """Refuse to begin where a package of the extra "export" is missing.

    Raises:
        SettingsError: it names the package and how to install it.
    """
    for name in ("onnx", "onnxscript", "onnxruntime"):
        _package(name)


def _package(name: str):
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise SettingsError(
            f"export: ONNX files need the package {name}, which is missing. "
            'Install the extra: pip install "labkit[export]"'
        ) from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's progress on standard output and its deprecation warnings."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield
