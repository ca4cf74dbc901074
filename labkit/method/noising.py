"""Label Noising Module: a target becomes a noised label channel.

Source: Label Assisted Distillation, ECCV 2024, arXiv 2407.13254.
"""

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

IGNORE_INDEX = 255
GREATEST_IGNORE_INDEX = 65535


class NoisingSteps(NamedTuple):
    """The four intermediate pictures of the paper's figure 3; `noised` equals the call's result."""

    one_hot: Tensor  # (N, K+1, H, W), void last
    weighted: Tensor  # (N, C, K+1, H, W)
    summed: Tensor  # (N, C, H, W)
    noised: Tensor  # (N, C, H, W)


@dataclass(frozen=True, kw_only=True)
class LabelNoising:
    """Turns class ids into channels that keep the regions and hide the ids. Has no parameters.

    label_channel(p) = label_scale * (w[y(p)] + e(p)), one code w_k per image, channel and class.

    Attributes:
        num_classes: K, classes without void.
        class_std: standard deviation of the random class codes; fixed codes ignore it.
        pixel_std: standard deviation of e(p), in the units of the class codes.
        label_scale: multiplies the result; in standard deviations of the normalised image.
        void_policy: "own" gives void a code like a class, "zero" gives it code 0 (noise stays).
        label_channels: C, independent codes per class.
        class_codes: "random" draws N(0, class_std^2) per image; "fixed" is the ramp
            linspace(-1.1, 1.0, K+1), void last.
        ignore_index: the id of void, at least K.

    Differs: the formula's one-hot sum is computed as a gather: equal, without K-fold memory.
    """

    num_classes: int
    class_std: float = 1.0
    pixel_std: float = 0.03
    label_scale: float = 1.0
    void_policy: Literal["own", "zero"] = "own"
    label_channels: int = 1
    class_codes: Literal["random", "fixed"] = "random"
    ignore_index: int = IGNORE_INDEX

    def __post_init__(self) -> None:
        if self.num_classes < 1 or self.label_channels < 1:
            raise ValueError(
                f"LabelNoising: num_classes={self.num_classes}, "
                f"label_channels={self.label_channels}; expected at least 1."
            )
        numbers = (self.class_std, self.pixel_std, self.label_scale)
        if not all(0 <= value < math.inf for value in numbers):
            raise ValueError(
                f"LabelNoising: class_std={self.class_std}, pixel_std={self.pixel_std}, "
                f"label_scale={self.label_scale}; expected finite numbers of at least 0."
            )
        if not self.num_classes <= self.ignore_index <= GREATEST_IGNORE_INDEX:
            raise ValueError(
                f"LabelNoising: ignore_index={self.ignore_index}; expected an id for void from "
                f"{self.num_classes} (the number of classes) to {GREATEST_IGNORE_INDEX}."
            )
        if self.void_policy not in ("own", "zero") or self.class_codes not in ("random", "fixed"):
            raise ValueError(
                f"LabelNoising: void_policy={self.void_policy!r} (expected own or zero), "
                f"class_codes={self.class_codes!r} (expected random or fixed)."
            )
        if self.class_codes == "fixed" and self.label_channels > 1:
            raise ValueError(
                f"LabelNoising: label_channels={self.label_channels} with class_codes='fixed'; "
                "the ramp is one code, expected label_channels=1 or class_codes='random'."
            )

    def __call__(self, target: Tensor, *, generator: torch.Generator) -> Tensor:
        """Noised label channel, already scaled. Reads nothing back from the device.

        Args:
            target: (N, H, W) int64 class ids in 0..K-1 or ignore_index.
            generator: on the target's device; advanced by this call.

        Returns:
            (N, C, H, W) float32 on the target's device.

        Raises:
            ValueError: the target has another shape or type; on the CPU also: other ids. On other
                devices ids are not checked here (that would wait for the device).
        """
        index = self._class_index(target).flatten(1).unsqueeze(1)  # (N, 1, H*W)
        codes = self.draw_codes(len(target), generator=generator)
        try:
            summed = codes.gather(2, index.expand(-1, self.label_channels, -1))
        except RuntimeError:
            self._check_ids(target)
            raise
        return self._add_pixel_noise(summed.unflatten(2, target.shape[1:]), generator)

    def steps(self, target: Tensor, *, generator: torch.Generator) -> NoisingSteps:
        """The same noising as the formula writes it, with every intermediate picture.

        For figures, not for training: memory grows with C * (K+1). Arguments and errors as for a
        call; ids are always checked.
        """
        index = self._class_index(target)
        self._check_ids(target)
        codes = self.draw_codes(len(target), generator=generator)
        one_hot = torch.nn.functional.one_hot(index, self.num_classes + 1).movedim(-1, 1).float()
        weighted = codes[..., None, None] * one_hot.unsqueeze(1)  # (N, C, K+1, H, W)
        summed = weighted.sum(2)
        return NoisingSteps(one_hot, weighted, summed, self._add_pixel_noise(summed, generator))

    def draw_codes(self, batch_size: int, *, generator: torch.Generator) -> Tensor:
        """Class codes before scaling: (N, C, K+1) on the generator's device, void last."""
        shape, device = (batch_size, self.label_channels, self.num_classes + 1), generator.device
        if self.class_codes == "fixed":
            ramp = torch.linspace(-1.1, 1.0, self.num_classes + 1, device=device)
            codes = ramp.expand(shape).clone()
        else:
            codes = torch.randn(shape, generator=generator, device=device).mul_(self.class_std)
        if self.void_policy == "zero":
            codes[..., -1] = 0.0
        return codes

    def _add_pixel_noise(self, summed: Tensor, generator: torch.Generator) -> Tensor:
        noise = torch.randn(summed.shape, generator=generator, device=generator.device)
        return noise.mul_(self.pixel_std).add_(summed).mul_(self.label_scale)

    def _class_index(self, target: Tensor) -> Tensor:
        """(N, H, W) ids with void moved to K; ids that are neither class nor void to K+1."""
        if target.ndim != 3 or target.dtype != torch.int64:
            raise ValueError(
                f"LabelNoising: target is {tuple(target.shape)} {target.dtype}; "
                "expected (N, H, W) torch.int64 class ids."
            )
        table = torch.full((self.ignore_index + 1,), self.num_classes + 1, device=target.device)
        torch.arange(self.num_classes, out=table[: self.num_classes])
        table[self.ignore_index] = self.num_classes
        try:
            return table.expand(len(target), -1).gather(1, target.flatten(1)).view_as(target)
        except RuntimeError:
            self._check_ids(target)
            raise

    def _check_ids(self, target: Tensor) -> None:
        outside = ((target < 0) | (target >= self.num_classes)) & (target != self.ignore_index)
        if outside.any():
            raise ValueError(
                f"LabelNoising: target holds ids {target[outside].unique().tolist()[:8]}; expected "
                f"0..{self.num_classes - 1} or {self.ignore_index} for void. "
                "Map the data set's ids first."
            )
