"""An exponential moving average of a network's weights, with which a run is scored and saved."""

import contextlib
from collections.abc import Iterator

from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


def moving_average(network: nn.Module, decay: float) -> AveragedModel | None:
    """The average of a network's weights and buffers, which begins at the first update.

    Args:
        decay: share of the average that an update keeps; 0 = None, there is no average.
    """
    if not decay:
        return None
    update = get_ema_multi_avg_fn(decay)
    return AveragedModel(network, multi_avg_fn=update, use_buffers=True).requires_grad_(False)


def take_average(network: nn.Module, average: AveragedModel | None) -> None:
    """Give the network the averaged weights, where there is an average."""
    if average is not None:
        network.load_state_dict(average.module.state_dict())


@contextlib.contextmanager
def averaged(network: nn.Module, average: AveragedModel | None) -> Iterator[None]:
    """The network has the averaged weights inside, and its own again afterwards."""
    own = {name: value.clone() for name, value in network.state_dict().items()} if average else {}
    take_average(network, average)
    try:
        yield
    finally:
        if average:
            network.load_state_dict(own)
