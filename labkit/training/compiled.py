"""A network compiled for training, with the plain one where compilation fails."""

import torch
from torch import Tensor
from torch._dynamo.exc import TorchDynamoException

from labkit.method import Outputs
from labkit.networks import SegmentationNetwork
from labkit.training.progress import report


class CompiledNetwork:
    """A network called through torch.compile; its parameters are those of the plain one.

    Where compilation fails (no C++ compiler, an operator it does not know) one warning is printed
    and the plain network is called from then on.
    """

    def __init__(self, network: SegmentationNetwork) -> None:
        self.network = network
        self.auxiliary_terms = network.auxiliary_terms
        self._call = torch.compile(network, dynamic=False)

    def __call__(self, inputs: Tensor) -> Outputs:
        try:
            return self._call(inputs)
        except TorchDynamoException as error:
            reason = str(error).strip().partition("\n")[0][:200]
            report(f"warning: the network is trained without torch.compile, which failed: {reason}")
            self._call = self.network
            return self.network(inputs)
