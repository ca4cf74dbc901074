"""Decoupled knowledge distillation."""

import torch
from torch import Tensor

from labkit.distillers.base import (
    Distiller,
    check_at_least,
    check_classes,
    check_logit_settings,
    mean_of_kept,
)
from labkit.method import IGNORE_INDEX, Outputs, common_grid, target_on_grid


class DecoupledKD(Distiller):
    """KD split into the true class against the rest, and the rest among themselves.

    Per labelled pixel with class y, p = softmax_k(x / T):
    T^2 * [alpha * KL(p_t,y, 1 - p_t,y || p_s,y, 1 - p_s,y) + beta * KL over the classes other than
    y, renormalised]; mean over labelled pixels, in nats. KD is alpha = 1, beta = 1 - p_t,y.

    Args:
        alpha: weight of the true class against the rest.
        beta: weight of the rest among themselves.
        temperature: T, 0.001 to 1000.
        stride: finer logits are average-pooled to it, pixels.

    Source: Zhao et al. 2022, arXiv 2203.08679; alpha 1, beta 2, T 1 as its segmentation fork.
    Differs: void pixels are left out (the loss needs labels). In log space: the true class is
    masked out of the softmax, where the code subtracts 1000 from its logit.
    """

    def __init__(
        self,
        student: Outputs,
        teacher: Outputs,
        *,
        weight: float = 1.0,
        alpha: float = 1.0,
        beta: float = 2.0,
        temperature: float = 1.0,
        stride: int = 1,
    ) -> None:
        super().__init__(weight=weight)
        check_classes(student, teacher, least=2)
        check_logit_settings(temperature, stride)
        check_at_least(0, alpha=alpha, beta=beta)
        self.alpha, self.beta = alpha, beta
        self.temperature, self.stride = temperature, stride

    def loss(self, student: Outputs, teacher: Outputs, target: Tensor) -> Tensor:
        s, t, stride = common_grid(student, teacher, stride=self.stride)
        ids = target_on_grid(target, stride, (s.shape[2], s.shape[3]))
        is_true = ids.unsqueeze(1) == torch.arange(s.shape[1], device=ids.device)[:, None, None]
        log_s, log_t = ((x / self.temperature).log_softmax(1) for x in (s, t))
        true = _divergence(_true_and_rest(log_s, is_true), _true_and_rest(log_t, is_true))
        rest = _divergence(_among_rest(log_s, is_true), _among_rest(log_t, is_true))
        value = mean_of_kept(self.alpha * true + self.beta * rest, ids != IGNORE_INDEX)
        return self.temperature**2 * value


def _true_and_rest(log_probability: Tensor, is_true: Tensor) -> Tensor:
    """(N, 2, h, w) log-probability of the true class and of all others together."""
    true = log_probability.masked_fill(~is_true, 0).sum(1)
    rest = log_probability.masked_fill(is_true, -torch.inf).logsumexp(1)
    return torch.stack([true, rest], 1)


def _among_rest(log_probability: Tensor, is_true: Tensor) -> Tensor:
    """(N, K, h, w) log-probability given that it is not the true class; -inf at the true class."""
    return log_probability.masked_fill(is_true, -torch.inf).log_softmax(1)


def _divergence(log_student: Tensor, log_teacher: Tensor) -> Tensor:
    """(N, h, w) KL(teacher || student) over dimension 1; where both are -inf, 0."""
    impossible = log_teacher == -torch.inf
    difference = (log_teacher - log_student).masked_fill(impossible, 0)
    return (log_teacher.exp() * difference).sum(1)
