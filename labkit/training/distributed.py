"""Several processes that train one run together: torchrun, one process per device.

The global batch is the setting. Process r of R takes the r-th part of every batch, draws the noise
of the whole batch and keeps its part; cross-entropies are means over the labelled pixels of the
whole batch. BatchNorm's statistics are those of the whole batch on CUDA. So R processes compute
what one does, but for what looks at several pixels or images at once, which each process computes
from its part: hard_pixels' choice, STDC's detail loss, distances that leave void out, distillers
that relate images or hold queues, and BatchNorm on the CPU. The state of process 0 is saved.
"""

import contextlib
import copy
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from labkit.datasets.batches import Batch, TrainBatches
from labkit.errors import SettingsError
from labkit.method import IGNORE_INDEX, LabelNoising

SegmentationLoss = Callable[..., Tensor]


def launch(arguments: Sequence[str], devices: int) -> int:
    """Run `labkit <arguments>` in several processes of this machine under torchrun.

    When one process ends with an error, torchrun ends the others; the same command goes on from
    the last checkpoint.

    Args:
        arguments: such as ["train", "teacher", "--set", "seed=1"].
        devices: number of processes.

    Returns:
        The exit code.
    """
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    torchrun += ["--nproc-per-node", str(devices), "-m", "labkit", *arguments]
    return subprocess.run(torchrun, check=False).returncode


class Ranks:
    """The processes of one run and the number of this one.

    Attributes:
        rank: of this process, from 0.
        world: number of processes.
    """

    def __init__(self, rank: int = 0, world: int = 1) -> None:
        self.rank, self.world = rank, world

    @property
    def first(self) -> bool:
        """Whether this process writes the run's files."""
        return self.rank == 0

    def barrier(self) -> None:
        """Wait until every process is here."""
        if self.world > 1:
            self.gather(None)

    def share(self, value: Any) -> Any:
        """The value of process 0."""
        return self.gather(value)[0]

    def gather(self, value: Any) -> list[Any]:
        """The values of all processes, by rank. Tensors must be on the CPU."""
        values = [value] * self.world
        if self.world > 1:
            dist.all_gather_object(values, value)
        return values

    def mean(self, values: Tensor) -> Tensor:
        """Element-wise mean over the processes."""
        if self.world > 1:
            values = values.clone()
            dist.all_reduce(values)
        return values / self.world

    def batches(self, batches: TrainBatches) -> TrainBatches:
        """This process's part of every batch.

        Raises:
            SettingsError: the batch cannot be divided.
        """
        if self.world == 1:
            return batches
        if batches.batch_size % self.world:
            raise SettingsError(
                f"setting batch_size: got {batches.batch_size} with {self.world} processes; "
                f"expected a multiple of {self.world}, the images of all processes together.",
                names=["batch_size"],
            )
        size = batches.batch_size // self.world
        part = copy.copy(batches)
        part.slots = range(self.rank * size, (self.rank + 1) * size)
        return part

    def noising(self, noising: LabelNoising | None) -> LabelNoising | None:
        """A noising that draws for the whole batch and keeps this process's part."""
        return noising if noising is None or self.world == 1 else _PartNoising(noising, self)

    def segmentation_loss(self, loss: SegmentationLoss) -> SegmentationLoss:
        """A mean over labelled pixels whose mean over the processes is that of the whole batch."""
        if self.world == 1:
            return loss

        def part(logits: Tensor, target: Tensor, *, stride: int = 1) -> Tensor:
            labelled = (target != IGNORE_INDEX).sum().float()
            share = labelled / self.mean(labelled).clamp(min=1e-6)
            return share * loss(logits, target, stride=stride)

        return part

    def step(self, step: Callable, network: nn.Module, distiller: nn.Module | None) -> Callable:
        """The step with gradients averaged over the processes."""
        if self.world == 1:
            return step
        module = _StepModule(step, network, distiller)
        return DistributedDataParallel(module, broadcast_buffers=False, find_unused_parameters=True)

    def share_buffers(self, network: nn.Module) -> None:
        """Give every process the BatchNorm statistics of process 0."""
        if self.world > 1:
            for buffer in network.buffers():
                dist.broadcast(buffer, 0)


ALONE = Ranks()


@contextlib.contextmanager
def process_group() -> Iterator[Ranks]:
    """The processes torchrun started; a single process where it did not."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1 or "RANK" not in os.environ:
        yield ALONE
        return
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    dist.init_process_group(backend)
    try:
        yield Ranks(dist.get_rank(), dist.get_world_size())
    finally:
        dist.destroy_process_group()


def synchronise_batch_norm(network: nn.Module, device: torch.device, ranks: Ranks) -> None:
    """On CUDA with several processes, let BatchNorm take its statistics from the whole batch."""
    if ranks.world > 1 and device.type == "cuda":
        from labkit.networks.batch_norm import use_synchronised_batch_norm  # timm takes seconds

        use_synchronised_batch_norm(network)


class _StepModule(nn.Module):
    """A step as a module, so that gradients of network and distiller are averaged."""

    def __init__(self, step: Callable, network: nn.Module, distiller: nn.Module | None) -> None:
        super().__init__()
        self.step, self.network, self.distiller = step, network, distiller

    def forward(self, batch: Batch, generator: torch.Generator) -> Any:
        return self.step(batch, generator)


class _PartNoising:
    """Noises a part of a batch as `LabelNoising` noises it within the whole."""

    def __init__(self, noising: LabelNoising, ranks: Ranks) -> None:
        self.noising, self.ranks = noising, ranks

    def __call__(self, target: Tensor, *, generator: torch.Generator) -> Tensor:
        n, first = len(target), self.ranks.rank * len(target)
        whole = target.new_zeros(self.ranks.world * n, *target.shape[1:])
        whole[first : first + n] = target
        return self.noising(whole, generator=generator)[first : first + n]
