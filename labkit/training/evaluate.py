"""Scores of a network over a split: counts per frame for every reading, one pass, float32."""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from labkit.datasets import Split
from labkit.datasets.batches import scoring_batches
from labkit.errors import DataError, TrainingError
from labkit.method import Counts, Outputs, Scores, boundary_mask, count_pixels, scores_from_counts
from labkit.training.device import full_float32
from labkit.training.experiment import Experiment
from labkit.training.predict import predicted_classes


class SplitCounts(NamedTuple):
    """Counts of every frame, (F, K) int64: all pixels, those near class boundaries, the others."""

    whole: Counts
    boundary: Counts
    interior: Counts

    def scores(self) -> Scores:
        """Scores over the whole split."""
        return scores_from_counts(Counts(*(counts.sum(0) for counts in self.whole)))


def score_split(
    experiment: Experiment, split: Split, *, workers: int = 0
) -> dict[str, SplitCounts]:
    """Count hits, labelled and predicted pixels of every frame at the label's size, without void.

    The split is read once for all readings. One frame alone has no foreign label, no such reading.

    Returns:
        Counts by reading, frames in the split's order, on the CPU.

    Raises:
        TrainingError: the network's outputs are not finite.
    """
    predictors = dict(experiment.predictors())
    if len(split) < 2:
        predictors.pop("foreign_label", None)
    settings, device = experiment.settings, experiment.device
    batches = scoring_batches(
        split,
        experiment.info,
        resize=settings.score_size,
        batch_size=settings.scoring_batch,
        foreign="foreign_label" in predictors,
        workers=workers,
    )
    rows: dict[str, list[tuple[Counts, Counts]]] = {reading: [] for reading in predictors}
    finite = torch.ones((), dtype=torch.bool, device=device)
    with evaluating(experiment.network), torch.no_grad(), full_float32(device):
        for batch in batches:
            batch = batch.to(device)
            boundary = boundary_mask(batch.target, width=settings.boundary_width)
            sizes = {"image_size": batch.images.shape[2:], "label_size": batch.target.shape[1:]}
            for reading, predictor in predictors.items():
                outputs = predictor(batch)
                finite &= outputs.logits.isfinite().all()
                prediction = _classes(outputs, sizes)
                rows[reading].append(
                    _count(prediction, batch.target, boundary, experiment.info.num_classes)
                )
    if not finite:  # the only read from the device
        raise TrainingError(
            "evaluation: the network's outputs are not finite. "
            "Lower learning_rate, or use precision=fp32."
        )
    return {reading: _join(counts) for reading, counts in rows.items()}


def metrics_record(
    experiment: Experiment, counts: Mapping[str, SplitCounts], split: str, frames: Split
) -> dict[str, Any]:
    """Scores as a record: protocol, and per reading mIoU, accuracy, IoU by class, absent classes.

    Raises:
        DataError: no pixel is labelled, so that there is no score.
    """
    scores = {reading: split_counts.scores() for reading, split_counts in counts.items()}
    names, settings = experiment.info.class_names, experiment.settings
    if any(len(score.absent) == len(names) for score in scores.values()):
        raise DataError(
            f"{experiment.info.name} {split}: no labelled pixel in {len(frames)} frames; "
            "expected some. Score another split."
        )
    size = "native size" if settings.score_size == "native" else f"images at {settings.score_size}"
    return {
        "split": split,
        "protocol": f"{len(frames)} frames of {split}, whole, {size}, labels at native size, "
        "single scale, float32, void excluded",
        "steps": settings.train_steps,
        "parameters": _exported_parameters(experiment.network),
        "readings": {reading: _score_record(score, names) for reading, score in scores.items()},
    }


def frame_arrays(counts: Mapping[str, SplitCounts], split: Split) -> dict[str, Any]:
    """Arrays of frames.npz: "<reading>.<region>.<count>" (F, K) int64, and the frames' names."""
    arrays = {
        f"{reading}.{region}.{name}": values.numpy()
        for reading, split_counts in counts.items()
        for region, region_counts in split_counts._asdict().items()
        for name, values in region_counts._asdict().items()
    }
    return arrays | {"frames": [split.frame_name(i) for i in range(len(split))]}


@contextlib.contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Eval mode; afterwards every module is in the mode it was in."""
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


def _exported_parameters(network: nn.Module) -> int:
    """Number of parameters without auxiliary heads, as in model.safetensors."""
    named = network.named_parameters()
    return sum(p.numel() for name, p in named if not name.startswith("auxiliary"))


def _classes(outputs: Outputs, sizes: Mapping[str, Any]) -> Tensor:
    sizes = {name: tuple(size) for name, size in sizes.items()}
    return predicted_classes(outputs.logits, outputs.stride, **sizes)


def _count(
    prediction: Tensor, target: Tensor, boundary: Tensor, num_classes: int
) -> tuple[Counts, Counts]:
    """Counts (N, K) of the whole frames and of their boundary pixels."""
    whole = count_pixels(prediction, target, num_classes=num_classes)
    return whole, count_pixels(prediction, target, num_classes=num_classes, where=boundary)


def _join(rows: list[tuple[Counts, Counts]]) -> SplitCounts:
    whole, boundary = (
        Counts(*(torch.cat(values).cpu() for values in zip(*region, strict=True)))
        for region in zip(*rows, strict=True)
    )
    interior = Counts(*(w - b for w, b in zip(whole, boundary, strict=True)))
    return SplitCounts(whole, boundary, interior)


def _score_record(score: Scores, names: tuple[str, ...]) -> dict[str, Any]:
    iou = {
        name: None if i in score.absent else round(score.iou[i], 3) for i, name in enumerate(names)
    }
    return {
        "miou": round(score.miou, 3),
        "pixel_accuracy": round(score.pixel_accuracy, 3),
        "iou": iou,
        "absent": [names[i] for i in score.absent],
    }
