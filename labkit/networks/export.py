"""Files of a trained network for use without labkit: weights as safetensors, and ONNX.

The ONNX file maps normalised images (N, 3, H, W) of any size to logits (N, K, H, W) in float32.
"""

import copy
import time
import warnings
from collections.abc import Iterable
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from labkit.errors import FileError
from labkit.networks.base import SegmentationNetwork

OPSET = 18
SIZES = ((2, 64, 64), (1, 45, 70), (1, 128, 97))  # images, height, width of the check
TOLERANCE = 1e-4  # between ONNX and PyTorch, relative to the largest logit where that is above 1


class FullSizeLogits(nn.Module):
    """A network that returns the logits at the image's size and nothing else."""

    def __init__(self, network: SegmentationNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, K, H, W) of images (N, C, H, W); as `labkit.method.full_size`."""
        outputs = self.network(images)
        logits = outputs.logits
        if outputs.stride > 1:
            scale = float(outputs.stride)
            logits = F.interpolate(logits, scale_factor=scale, mode="bilinear", align_corners=False)
        return logits[..., : images.shape[2], : images.shape[3]]


class MatrixPool(nn.Module):
    """Adaptive average pooling as two matrix products, because ONNX has none for any size."""

    def __init__(self, bins: tuple[int, int]) -> None:
        super().__init__()
        self.bins = bins

    def forward(self, features: Tensor) -> Tensor:
        """(N, C, *bins) of (N, C, h, w)."""
        rows, columns = (
            bin_means(bins, side, features)
            for bins, side in zip(self.bins, features.shape[2:], strict=True)
        )
        return rows @ features @ columns.transpose(0, 1)


def bin_means(bins: int, side: int, like: Tensor) -> Tensor:
    """(bins, side): bin b averages floor(b * side / bins) to ceil((b + 1) * side / bins) - 1."""
    position = torch.arange(side, device=like.device)
    number = torch.arange(bins, device=like.device).unsqueeze(1)
    start = number * side // bins
    end = ((number + 1) * side + bins - 1) // bins
    inside = ((position >= start) & (position < end)).to(like.dtype)
    return inside / inside.sum(1, keepdim=True)


def inference_weights(network: SegmentationNetwork) -> dict[str, Tensor]:
    """Weights and BatchNorm statistics without the auxiliary heads, on the CPU, contiguous."""
    return {
        name: value.detach().cpu().contiguous()
        for name, value in network.state_dict().items()
        if not name.startswith("auxiliary")
    }


def save_weights(network: SegmentationNetwork, path: Path) -> None:
    """Write the inference weights; smp's own model loads them where smp owns the network."""
    save_file(inference_weights(network), path)


def inference_network(network: SegmentationNetwork) -> nn.Module:
    """A copy in float32 and eval mode, on the CPU, that returns logits at the image's size."""
    network = copy.deepcopy(network).float().cpu()
    network.auxiliary = nn.ModuleDict()
    return FullSizeLogits(network).eval()


def save_onnx(network: SegmentationNetwork, path: Path) -> float:
    """Write an ONNX file for any batch, height and width, and compare it with the network.

    Returns:
        Largest difference of logits over `SIZES`, see `onnx_difference`.

    Raises:
        FileError: onnxruntime's logits differ by more than `TOLERANCE`; the file is removed.
    """
    model = inference_network(network)
    channels = 3 + network.label_channels
    example = torch.randn(2, channels, 96, 160, generator=torch.Generator().manual_seed(0))
    sides = {
        0: torch.export.Dim("images", min=1),
        2: torch.export.Dim("height", min=2),
        3: torch.export.Dim("width", min=2),
    }
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=FutureWarning)  # inside torch's exporter
        graph = torch.export.export(
            _with_matrix_pools(model), (example,), dynamic_shapes={"images": sides}
        )  # apart from the conversion, during which smp pools in a form of fixed size
        program = torch.onnx.export(
            graph,
            dynamo=True,
            verbose=False,
            opset_version=OPSET,
            input_names=["images"],
            output_names=["logits"],
        )
    program.save(path)
    difference = onnx_difference(model, path, SIZES)
    if not difference <= TOLERANCE:
        path.unlink()
        raise FileError(
            f"{path.name}: logits of onnxruntime differ by {difference:.1e} from PyTorch's; "
            f"expected at most {TOLERANCE:.0e}. The file was removed."
        )
    return difference


def onnx_difference(
    model: nn.Module, path: Path, sizes: Iterable[tuple[int, int, int]] = SIZES
) -> float:
    """Largest absolute difference of logits between PyTorch and onnxruntime.

    Args:
        model: of `inference_network`.
        path: the ONNX file.
        sizes: images, height and width; standard normal images are drawn for each.

    Returns:
        Divided by the largest logit of its size where that is above 1.
    """
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    channels = 3 + model.network.label_channels
    generator, largest = torch.Generator().manual_seed(0), 0.0
    for number, height, width in sizes:
        images = torch.randn(number, channels, height, width, generator=generator)
        with torch.inference_mode():
            expected = model(images)
        logits = torch.from_numpy(session.run(None, {"images": images.numpy()})[0])
        scale = max(1.0, expected.abs().max().item())
        largest = max(largest, (logits - expected).abs().max().item() / scale)
    return largest


def latency(
    network: SegmentationNetwork,
    size: tuple[int, int],
    *,
    device: str | torch.device = "cpu",
    repeats: int = 5,
) -> float:
    """Median seconds of one image through the network at its full size, after one warm-up.

    Args:
        size: height and width of the image, pixels.
        repeats: timed passes.
    """
    model = inference_network(network).to(device)
    images = torch.zeros(1, 3 + network.label_channels, *size, device=device)
    seconds = []
    with torch.inference_mode():
        for _ in range(repeats + 1):
            start = time.perf_counter()
            model(images)
            if images.is_cuda:
                torch.cuda.synchronize(images.device)
            seconds.append(time.perf_counter() - start)
    return sorted(seconds[1:])[repeats // 2]


def _with_matrix_pools(model: nn.Module) -> nn.Module:
    """A copy whose adaptive poolings to more than one bin are matrix products."""
    model = copy.deepcopy(model)
    for name, module in list(model.named_modules()):
        if isinstance(module, nn.AdaptiveAvgPool2d) and module.output_size not in (1, (1, 1)):
            size = module.output_size
            model.set_submodule(name, MatrixPool(size if isinstance(size, tuple) else (size, size)))
    return model
