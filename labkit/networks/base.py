"""The network every family builds: images of any size in, `Outputs` at the decoder's stride out."""

from collections.abc import Callable, Mapping, Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from labkit.method import Outputs, cross_entropy

SIDE_MULTIPLE = 32  # most encoders refuse sides that are no multiple of their largest stride


class SegmentationNetwork(nn.Module):
    """Encoder, decoder and segmentation head, as segmentation-models-pytorch writes a model.

    Attributes:
        encoder: images -> the input and one map per stage, finest first.
        decoder: the encoder's list -> what the head reads.
        segmentation_head: -> logits at the decoder's stride.
        auxiliary: heads by name, used in training alone; their modules' names start with
            "auxiliary", and they are no part of the exported weights.
        num_classes: K, without void.
        label_channels: inputs beyond RGB; 0 = reads the image alone.
        stride: input pixels per logit.
        auxiliary_weight: of the auxiliary heads' losses.
        left_over: names in the file of encoder weights that the encoder has no use for.
        own_losses: of auxiliary heads that predict no classes, by name: (logits, target, *, stride)
            -> scalar.
    """

    own_losses: Mapping[str, Callable[..., Tensor]] = {}

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        segmentation_head: nn.Module,
        *,
        num_classes: int,
        stride: int,
    ) -> None:
        super().__init__()
        self.encoder, self.decoder, self.segmentation_head = encoder, decoder, segmentation_head
        self.auxiliary = nn.ModuleDict()
        self.num_classes, self.stride = num_classes, stride
        self.label_channels, self.auxiliary_weight = 0, 0.0
        self.left_over: tuple[str, ...] = ()

    def forward(self, inputs: Tensor) -> Outputs:
        """Logits at the decoder's stride.

        Args:
            inputs: (N, 3 + label_channels, H, W), normalised image and label channels.

        Returns:
            Outputs; logits are (N, K, h, w) with h = ceil(H / stride). Sides are padded with zeros
            to a multiple of 32 inside; features and auxiliary logits keep the padding.

        Raises:
            ValueError: other channels, or one image in training where BatchNorm follows a global
                mean.
        """
        expected = 3 + self.label_channels
        if inputs.ndim != 4 or inputs.shape[1] != expected:
            raise ValueError(
                f"network: input is {tuple(inputs.shape)}; expected (N, {expected}, H, W): "
                f"RGB and {self.label_channels} label channels."
            )
        height, width = inputs.shape[2:]
        try:
            features = self.encoder(pad_sides(inputs))
            logits, auxiliary = self.decode(features)
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):
                raise
            raise ValueError(
                f"network: {len(inputs)} image in a training batch; expected at least 2, because "
                "BatchNorm follows a global mean. Raise batch_size, or choose another architecture."
            ) from error
        logits = logits[..., : divided_up(height, self.stride), : divided_up(width, self.stride)]
        return Outputs(logits, self.stride, auxiliary, tuple(features[1:]))

    def decode(self, features: Sequence[Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Logits and, in training, auxiliary logits by head, of the stage before last."""
        logits = self.segmentation_head(self.decoder(features))
        heads = self.auxiliary if self.training else {}
        return logits, {name: head(features[-2]) for name, head in heads.items()}

    def auxiliary_heads(self) -> dict[str, nn.Module]:
        """New auxiliary heads by name; the builder seeds them apart from all other weights."""
        from labkit.networks.heads import fcn_head

        channels = self.encoder.out_channels[-2]
        return {"auxiliary": fcn_head(channels, channels // 4, self.num_classes)}

    def auxiliary_terms(
        self,
        outputs: Outputs,
        target: Tensor,
        segmentation_loss: Callable[..., Tensor] = cross_entropy,
    ) -> dict[str, Tensor]:
        """Weighted losses of the auxiliary heads by name; empty where there is none.

        Args:
            outputs: of this network in training mode.
            target: (N, H, W) int64 at the input's size, 255 = void.
            segmentation_loss: (logits, target, *, stride) -> scalar.

        Returns:
            The loss of each head times `auxiliary_weight`, scalars in nats; heads of `own_losses`
            have theirs.
        """
        losses = {name: segmentation_loss for name in outputs.auxiliary} | self.own_losses
        return {
            name: self.auxiliary_weight
            * losses[name](logits, target, stride=padded(target.shape[1]) // logits.shape[2])
            for name, logits in outputs.auxiliary.items()
        }


def pad_sides(inputs: Tensor) -> Tensor:
    """(N, C, H, W) padded with zeros below and to the right, to sides the encoders accept."""
    height, width = inputs.shape[2:]
    return F.pad(inputs, (0, padded(width) - width, 0, padded(height) - height))


def padded(side: int) -> int:
    """The next multiple of 32, pixels."""
    return divided_up(side, SIDE_MULTIPLE) * SIDE_MULTIPLE


def divided_up(side: int, stride: int) -> int:
    """side / stride, rounded up. No negative number: ONNX divides these towards zero."""
    return (side + stride - 1) // stride
