"""References: steps as public scripts of this field write them.

Two float32 passes in NCHW, label noising by a mask per image and class, logits upsampled whole
before the cross-entropy, softmax().log() in the distance, and every loss term read by the host.
"""

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labkit.method import IGNORE_INDEX, LabelNoising


def masked_loop(target: Tensor, noising: LabelNoising, generator: torch.Generator) -> Tensor:
    """(N, 1, H, W) label channel: one mask per image and class."""
    codes = noising.draw_codes(len(target), generator=generator)
    channel = torch.zeros(len(target), 1, *target.shape[1:], device=target.device)
    for image, ids in enumerate(target):
        for category in range(noising.num_classes):
            channel[image, 0][ids == category] = codes[image, 0, category]
        channel[image, 0][ids == IGNORE_INDEX] = codes[image, 0, -1]
    noise = torch.randn(channel.shape, generator=generator, device=generator.device)
    return noising.label_scale * (channel + noising.pixel_std * noise)


def plain_cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Logits upsampled to the target's size in one piece, then torch's cross-entropy."""
    full = F.interpolate(logits, target.shape[1:], mode="bilinear", align_corners=False)
    return F.cross_entropy(full, target, ignore_index=IGNORE_INDEX)


def plain_distance(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Channel-wise distance with a softmax and its logarithm in two steps."""
    n, k = student.shape[:2]
    s = F.softmax(student.flatten(2) / temperature, dim=2)
    t = F.softmax(teacher.detach().flatten(2) / temperature, dim=2)
    divergence = t * (t.clamp(min=1e-30).log() - s.clamp(min=1e-30).log())
    return temperature**2 * divergence.sum() / (n * k)


def reference_teacher_step(
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
    noising: LabelNoising,
    generator: torch.Generator,
) -> Callable[[Tensor, Tensor], None]:
    """One step of an assisted teacher: (images, target) -> None."""

    def step(images: Tensor, target: Tensor) -> None:
        paths = []
        for _ in range(2):
            channel = masked_loop(target, noising, generator)
            paths.append(network(torch.cat([images, channel], 1)).logits)
        terms = [plain_cross_entropy(logits, target) for logits in paths]
        terms.append(0.1 * plain_distance(paths[0], paths[1], 4.0))
        terms.append(0.1 * plain_distance(paths[1], paths[0], 4.0))
        _update(terms, optimiser)

    return step


def reference_student_step(
    student: nn.Module,
    teacher: nn.Module,
    optimiser: torch.optim.Optimizer,
    noising: LabelNoising,
    generator: torch.Generator,
) -> Callable[[Tensor, Tensor], None]:
    """One step of a student of an assisted teacher: (images, target) -> None."""

    def step(images: Tensor, target: Tensor) -> None:
        with torch.no_grad():
            channel = masked_loop(target, noising, generator)
            taught = teacher(torch.cat([images, channel], 1)).logits
        logits = student(images).logits
        terms = [plain_cross_entropy(logits, target), 3 * plain_distance(logits, taught, 1.0)]
        _update(terms, optimiser)

    return step


def _update(terms: list[Tensor], optimiser: torch.optim.Optimizer) -> None:
    loss = sum(terms)
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    for value in (loss, *terms):
        value.item()  # printed at every step


def frame_confusion(prediction: np.ndarray, target: np.ndarray, classes: int) -> np.ndarray:
    """(K, K) pixels by label and prediction of one frame, by numpy's bincount."""
    keep = target != IGNORE_INDEX
    pairs = classes * target[keep].astype(np.int64) + prediction[keep]
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)
