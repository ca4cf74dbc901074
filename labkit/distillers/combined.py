"""Several distillers as one."""

from collections.abc import Iterable, Mapping

from torch import Tensor, nn

from labkit.distillers.base import Distiller
from labkit.method import Outputs


class DistillerSum(Distiller):
    """Several distillers; the terms of all."""

    def __init__(self, distillers: Iterable[Distiller]) -> None:
        super().__init__(weight=1.0)
        self.parts = nn.ModuleDict({distiller.name: distiller for distiller in distillers})

    def forward(self, student: Outputs, teacher: Outputs, target: Tensor) -> dict[str, Tensor]:
        terms = {}
        for distiller in self.parts.values():
            terms |= distiller(student, teacher, target)
        return terms

    def describe(self) -> list[str]:
        return [line for distiller in self.parts.values() for line in distiller.describe()]

    @property
    def weights(self) -> dict[str, float]:
        """Weight of each distiller by name."""
        return {name: distiller.weight for name, distiller in self.parts.items()}

    def set_weights(self, weights: Mapping[str, float]) -> None:
        """Give distillers their weights, by name."""
        for name, weight in weights.items():
            self.parts[name].weight = weight
