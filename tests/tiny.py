"""Small networks that return Outputs, and small targets, for tests of the method."""

import contextlib
import random

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labkit.method import Outputs, cross_entropy

NUM_CLASSES = 4


def seeded(seed: int = 3) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class TinyNetwork(nn.Module):
    """Three layers with BatchNorm; logits at stride 2, features at strides 2 and 4."""

    def __init__(
        self,
        label_channels: int = 0,
        *,
        num_classes: int = NUM_CLASSES,
        width: int = 6,
        auxiliary_weight: float = 0.0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.stem = nn.Conv2d(3 + label_channels, width, 3, stride=2, padding=1)
            self.norm = nn.BatchNorm2d(width)
            self.body = nn.Conv2d(width, width + 2, 3, stride=2, padding=1)
            self.head = nn.Conv2d(2 * width + 2, num_classes, 1)
            self.auxiliary_head = nn.Conv2d(width + 2, num_classes, 1)
        self.label_channels, self.num_classes, self.stride = label_channels, num_classes, 2
        self.auxiliary_weight = auxiliary_weight

    def forward(self, inputs: Tensor) -> Outputs:
        fine = self.norm(self.stem(inputs)).relu()
        coarse = self.body(fine).tanh()
        joined = torch.cat([fine, F.interpolate(coarse, fine.shape[2:])], 1)
        auxiliary = {}
        if self.auxiliary_weight and self.training:
            auxiliary["auxiliary"] = self.auxiliary_head(coarse)
        return Outputs(self.head(joined), 2, auxiliary, (fine, coarse))

    def auxiliary_terms(
        self, outputs: Outputs, target: Tensor, segmentation_loss=cross_entropy
    ) -> dict[str, Tensor]:
        return {
            name: self.auxiliary_weight * segmentation_loss(logits, target, stride=4)
            for name, logits in outputs.auxiliary.items()
        }


def frozen(network: nn.Module) -> nn.Module:
    return network.eval().requires_grad_(False)


def block_target(
    n: int = 2,
    height: int = 32,
    width: int = 32,
    *,
    num_classes: int = NUM_CLASSES,
    seed: int = 0,
    side: int = 8,
) -> Tensor:
    """(N, H, W) int64 of square blocks of class ids, a few of them void."""
    blocks = (n, -(-height // side), -(-width // side))
    ids = torch.randint(num_classes + 1, blocks, generator=seeded(seed))
    ids = ids.masked_fill(ids == num_classes, 255)
    ids = ids.repeat_interleave(side, 1).repeat_interleave(side, 2)
    return ids[:, :height, :width].contiguous()


def random_images(n: int = 2, height: int = 32, width: int = 32, *, seed: int = 0) -> Tensor:
    return torch.randn(n, 3, height, width, generator=seeded(seed))


def random_outputs(
    n: int = 2,
    classes: int = NUM_CLASSES,
    size: tuple[int, int] = (4, 6),
    *,
    widths: tuple[int, ...] = (6, 8),
    stride: int = 4,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
) -> Outputs:
    """Outputs of random leaves that want a gradient; feature i is 2^i times coarser."""
    generator = seeded(seed)

    def leaf(channels: int, height: int, width: int) -> Tensor:
        values = torch.randn(n, channels, height, width, generator=generator, dtype=torch.float64)
        return values.to(dtype).requires_grad_()

    features = tuple(
        leaf(channels, max(1, size[0] >> i), max(1, size[1] >> i))
        for i, channels in enumerate(widths)
    )
    return Outputs(leaf(classes, *size), stride, {}, features)


class _HostReads(torch.utils._python_dispatch.TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function in (
            torch.ops.aten._local_scalar_dense.default,
            torch.ops.aten.is_nonzero.default,
            torch.ops.aten.nonzero.default,
            torch.ops.aten.equal.default,
            torch.ops.aten.masked_select.default,
        ):
            self.count += 1
        return function(*args, **(kwargs or {}))


@contextlib.contextmanager
def no_host_reads():
    """Fails where a tensor's value is read by Python, or a shape depends on values."""
    with _HostReads() as reads:
        yield
    assert reads.count == 0


@contextlib.contextmanager
def rng_untouched():
    """Fails where the global random state of torch or Python differs afterwards."""
    before = torch.get_rng_state(), random.getstate()
    yield
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1] == random.getstate()
