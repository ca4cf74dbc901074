"""Label channels that also enter every stage of an encoder."""

from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from labkit.networks.stem import LABEL_STD


class LabelInjection(nn.Module):
    """Adds the label, averaged to a stage's size and through a 1x1 convolution, to its features.

    What the decoder reads of each stage changes; the stages themselves read the label through the
    stem alone.
    """

    def __init__(
        self,
        widths: Sequence[int],
        label_channels: int,
        *,
        label_init: Literal["normal", "zeros"],
    ) -> None:
        """`widths` are the stages' channels; weights are drawn from the global generator.

        Raises:
            ValueError: a stage has no channels.
        """
        super().__init__()
        if not all(widths):
            raise ValueError(
                f"its stages have {list(widths)} channels, and a stage without any cannot take the "
                "label. Choose another encoder, or label_injection=stem."
            )
        self.stages = nn.ModuleList(
            nn.Conv2d(label_channels, width, 1, bias=False) for width in widths
        )
        for stage in self.stages:
            nn.init.normal_(stage.weight, 0, LABEL_STD if label_init == "normal" else 0)

    def forward(self, features: Sequence[Tensor], label: Tensor) -> list[Tensor]:
        """Features of the stages, finest first, and (N, C, H, W) label channels -> features."""
        return [
            feature + stage(adaptive_avg_pool2d(label, feature.shape[2:]))
            for feature, stage in zip(features, self.stages, strict=True)
        ]
