"""Double similarity distillation."""

import torch.nn.functional as F
from torch import Tensor

from labkit.distillers.at import attention_map
from labkit.distillers.base import (
    Distiller,
    check_at_least,
    check_classes,
    check_logit_settings,
    logit_pair,
    same_size,
    stage_of,
    unit_vectors,
)
from labkit.method import Outputs, at_least_float32


class DoubleSimilarity(Distiller):
    """Compares how attention changes between layers, and which classes share positions.

    psd_weight * PSD + csd_weight * CSD.
    PSD: a_i = attention maps (see `at`) of three taps: stage - 1, stage and the logits, each on the
    coarsest grid; r_ij = (a_j - a_i) of length 1; |r_student - r_teacher|^2, mean over images and
    the 3 pairs: 0 to 4. Unchanged by the scale of each tap.
    CSD: P = softmax over the m positions of (logits average-pooled 2 x 2) / T, G = m P P^T (K x K);
    (G_s - G_t)^2, mean over N and K^2. Unchanged by a constant per map.

    Args:
        psd_weight, csd_weight: of the two parts.
        stage: encoder stage of the second tap, finest first; the first tap is the stage before.
        temperature: T of CSD, 0.001 to 1000; no T^2.
        stride: finer logits are average-pooled to it, pixels.

    Source: Feng et al. 2021, IEEE TIP, Double Similarity Distillation; weights 1000 and 10 as
    CIRKD's code, for n = 64 x 128 and m = 32 x 64.
    Differs: that code averages PSD over positions and has no factor m, so both depend on
    resolution: 1000 becomes 1000 / 8192 = .122, 10 becomes 10 / 2048^2 = 2.4e-6. Its first tap is
    the auxiliary logits, which a teacher in eval mode does not have.
    """

    kind = "logits and features"

    def __init__(
        self,
        student: Outputs,
        teacher: Outputs,
        *,
        weight: float = 1.0,
        psd_weight: float = 0.122,
        csd_weight: float = 2.4e-6,
        stage: int = -1,
        temperature: float = 4.0,
        stride: int = 1,
    ) -> None:
        super().__init__(weight=weight)
        check_classes(student, teacher)
        check_logit_settings(temperature, stride)
        check_at_least(0, psd_weight=psd_weight, csd_weight=csd_weight)
        self.psd_weight, self.csd_weight = psd_weight, csd_weight
        self.stage, self.temperature, self.stride = stage, temperature, stride
        for outputs, whose in ((student, "student"), (teacher, "teacher")):
            stage_of(outputs, stage, whose)
            if stage % len(outputs.features) == 0:
                raise ValueError(f"stage is {stage}, the {whose}'s first; expected a later one.")
        self.note("attention maps are resized bilinearly to the coarsest of the taps")

    def loss(self, student: Outputs, teacher: Outputs, target: Tensor) -> Tensor:
        pixel = self._changes(student, teacher)
        s, t, _ = logit_pair(student, teacher, target, stride=self.stride, void=True)
        category = (self._shared_positions(s) - self._shared_positions(t)).square().mean()
        return self.psd_weight * pixel + self.csd_weight * category

    def _changes(self, student: Outputs, teacher: Outputs) -> Tensor:
        taps = [
            [outputs.features[self.stage - 1], outputs.features[self.stage], outputs.logits]
            for outputs in (student, teacher)
        ]
        coarsest = min((tap for both in taps for tap in both), key=lambda tap: tap[0, 0].numel())
        student_maps, teacher_maps = (
            [attention_map(same_size(at_least_float32(tap), coarsest)[0]) for tap in both]
            for both in taps
        )
        pairs = [(0, 1), (0, 2), (1, 2)]
        differences = [
            unit_vectors(student_maps[j] - student_maps[i], 1)
            - unit_vectors(teacher_maps[j] - teacher_maps[i], 1)
            for i, j in pairs
        ]
        return sum(d.square().sum(1).mean() for d in differences) / len(pairs)

    def _shared_positions(self, logits: Tensor) -> Tensor:
        """(N, K, K): 1 where two classes share no more positions than even maps do."""
        pooled = F.avg_pool2d(logits, 2, ceil_mode=True).flatten(2)
        mass = (pooled / self.temperature).softmax(2)
        return mass.shape[2] * (mass @ mass.transpose(1, 2))
