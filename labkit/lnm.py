"""Label Noising Module: how a target becomes a noised label channel.

Source: Label Assisted Distillation, ECCV 2024, arXiv 2407.13254.
"""

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

IGNORE_INDEX = 255


class NoisingSteps(NamedTuple):
    """The four pictures of the paper's figure 3, for one batch; the last equals what `LabelNoising` returns."""

    one_hot: Tensor  # (N, K+1, H, W), void last
    weighted: Tensor  # (N, C, K+1, H, W)
    summed: Tensor  # (N, C, H, W)
    noised: Tensor  # (N, C, H, W)


@dataclass(frozen=True, kw_only=True)
class LabelNoising:
    """Turns class ids into a channel that keeps the regions and hides the ids. Holds no parameters.

    label_channel(p) = label_scale * (w[y(p)] + e(p)), with one code w_k per image, channel and class.

    Attributes:
        num_classes: K, classes without void.
        class_std: standard deviation of the random class weights.
        pixel_std: standard deviation of e(p), in the units of the class weights.
        label_scale: multiplies the whole channel; in units of the normalised image's standard deviation.
        void_policy: "own" gives void a weight like a class, "zero" gives it weight 0 (pixel noise stays).
        label_channels: C, independent codes per class.
        weights: "random" draws N(0, class_std^2) per image; "fixed" is the ramp linspace(-1.1, 1.0, K+1), void last.
        ignore_index: the id that means void.

    Differs: the formula's one-hot sum is computed as a gather, which is equal and needs no K-fold memory.
    """

    num_classes: int
    class_std: float = 1.0
    pixel_std: float = 0.03
    label_scale: float = 1.0
    void_policy: Literal["own", "zero"] = "own"
    label_channels: int = 1
    weights: Literal["random", "fixed"] = "random"
    ignore_index: int = IGNORE_INDEX

    def __post_init__(self) -> None:
        if self.num_classes < 1 or self.label_channels < 1:
            raise ValueError(
                f"LabelNoising: num_classes={self.num_classes} and label_channels={self.label_channels}; both must be at least 1."
            )
        if not all(0 <= value < math.inf for value in (self.class_std, self.pixel_std, self.label_scale)):
            raise ValueError(
                f"LabelNoising: class_std={self.class_std}, pixel_std={self.pixel_std}, label_scale={self.label_scale}; "
                "expected finite numbers of at least 0."
            )
        if 0 <= self.ignore_index <= self.num_classes - 1:
            raise ValueError(
                f"LabelNoising: ignore_index={self.ignore_index} is a class, of 0..{self.num_classes - 1}; expected another id for void."
            )
        if self.void_policy not in ("own", "zero") or self.weights not in ("random", "fixed"):
            raise ValueError(f"LabelNoising: void_policy={self.void_policy!r} (own or zero), weights={self.weights!r} (random or fixed).")
        if self.weights == "fixed" and self.label_channels > 1:
            raise ValueError(
                "LabelNoising: the fixed ramp is one code, so label_channels > 1 would repeat it; use weights='random' or label_channels=1."
            )

    def __call__(self, target: Tensor, *, generator: torch.Generator) -> Tensor:
        """Noised label channel, already scaled.

        Args:
            target: (N, H, W) int64 class ids in 0..K-1 or ignore_index.
            generator: on the target's device; advanced by this call.

        Returns:
            (N, C, H, W) float32 on the target's device.

        Raises:
            ValueError: the target has another shape, type or ids outside the classes.
        """
        class_index = self._class_index(target)
        weights = self.draw_weights(len(target), generator=generator)
        flat_index = class_index.flatten(1).unsqueeze(1).expand(-1, self.label_channels, -1)  # (N, C, H*W)
        summed = weights.gather(2, flat_index).unflatten(2, target.shape[1:])
        return self._add_pixel_noise(summed, generator)

    def steps(self, target: Tensor, *, generator: torch.Generator) -> NoisingSteps:
        """The same noising as the formula writes it, with every intermediate picture; for looking, not for training.

        Args and errors as for a call; memory grows with C * (K+1).
        """
        class_index = self._class_index(target)
        weights = self.draw_weights(len(target), generator=generator)
        one_hot = torch.nn.functional.one_hot(class_index, self.num_classes + 1).movedim(-1, 1).float()
        weighted = weights[..., None, None] * one_hot.unsqueeze(1)  # (N, C, K+1, H, W)
        summed = weighted.sum(2)
        return NoisingSteps(one_hot, weighted, summed, self._add_pixel_noise(summed, generator))

    def draw_weights(self, batch_size: int, *, generator: torch.Generator) -> Tensor:
        """Class codes before scaling: (N, C, K+1) on the generator's device, void last."""
        shape = (batch_size, self.label_channels, self.num_classes + 1)
        if self.weights == "fixed":
            ramp = torch.linspace(-1.1, 1.0, self.num_classes + 1, device=generator.device)
            weights = ramp.expand(shape).clone()
        else:
            weights = self.class_std * torch.randn(shape, generator=generator, device=generator.device)
        if self.void_policy == "zero":
            weights[..., -1] = 0.0
        return weights

    def _add_pixel_noise(self, summed: Tensor, generator: torch.Generator) -> Tensor:
        noise = torch.randn(summed.shape, generator=generator, device=generator.device)
        return self.label_scale * (summed + self.pixel_std * noise)

    def _class_index(self, target: Tensor) -> Tensor:
        """Ids with void moved to K; refuses what is not a target."""
        if target.ndim != 3 or target.dtype != torch.int64:
            raise ValueError(f"LabelNoising: target is {tuple(target.shape)} {target.dtype}; expected (N, H, W) torch.int64 class ids.")
        void = target == self.ignore_index
        outside = ~void & ((target < 0) | (target >= self.num_classes))
        if outside.any():
            raise ValueError(
                f"LabelNoising: target holds ids {target[outside].unique().tolist()[:8]}; expected 0..{self.num_classes - 1} "
                f"or {self.ignore_index} for void. Map the data set's ids first."
            )
        return target.masked_fill(void, self.num_classes)
