"""BatchNorm whose statistics are those of the batches of all processes."""

from timm.layers import convert_sync_batchnorm
from torch import nn


def use_synchronised_batch_norm(network: nn.Module) -> None:
    """Replace every BatchNorm inside a network by one that all processes share, in place.

    Weights and their names stay. timm's layers that join BatchNorm and activation keep their
    activation, which torch's own conversion would drop.
    """
    convert_sync_batchnorm(network)
