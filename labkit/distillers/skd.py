"""Structured knowledge distillation, its pair-wise term."""

import torch.nn.functional as F
from torch import Tensor

from labkit.distillers.base import FeatureDistiller, check_at_least, pooling_for, unit_vectors
from labkit.method import Outputs


class PairwiseSKD(FeatureDistiller):
    """Compares how similar the regions of an image are to each other.

    Features are max-pooled to m nodes; S = cosine between nodes (m x m); (S_f - S_g)^2, mean over
    N and m^2. Unchanged by the scale of each node; widths may differ.

    Args:
        stage: encoder stage, finest first; -1 is the last.
        pool: side of the pooling window, positions.
        max_nodes: the window grows until at most so many nodes are left: the matrices are at most
            max_nodes x max_nodes per image.

    Source: Liu et al. 2019, arXiv 1903.04197; weight 10 and pool 2 as CIRKD's code (.5 and a 2 x 2
    grid upstream).
    Differs: nodes are bounded; the gradient passes through the norm, as in CIRKD's code. Tap:
    encoder stage.
    """

    def __init__(
        self,
        student: Outputs,
        teacher: Outputs,
        *,
        weight: float = 10.0,
        stage: int = -1,
        pool: int = 2,
        max_nodes: int = 1024,
    ) -> None:
        super().__init__(student, teacher, weight=weight, stage=stage, same_width=False)
        check_at_least(1, pool=pool, max_nodes=max_nodes)
        self.pool, self.max_nodes = pool, max_nodes

    def loss(self, student: Outputs, teacher: Outputs, target: Tensor) -> Tensor:
        f, g = (self._similarity(x) for x in self.feature_pair(student, teacher))
        return (f - g).square().mean()

    def _similarity(self, features: Tensor) -> Tensor:
        """(N, m, m) cosines between pooled positions."""
        size = (features.shape[2], features.shape[3])
        window = pooling_for(size, least=self.pool, most_nodes=self.max_nodes)
        nodes = F.max_pool2d(features, window, ceil_mode=True).flatten(2)  # (N, C, m)
        nodes = unit_vectors(nodes, 1)
        return nodes.transpose(1, 2) @ nodes
