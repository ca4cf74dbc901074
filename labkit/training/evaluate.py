"""Scores of a network over a split: counts per frame for every reading, one pass, float32."""

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from labkit.datasets import Split
from labkit.datasets.batches import (
    ScoringBatch,
    equal_size_groups,
    frames_batch,
    scoring_batches,
)
from labkit.errors import DataError, TrainingError
from labkit.method import Counts, Outputs, Scores, boundary_mask, count_pixels, scores_from_counts
from labkit.training.device import explain_out_of_memory, full_float32, to_device
from labkit.training.distributed import ALONE, Ranks
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
    experiment: Experiment, split: Split, *, workers: int = 0, ranks: Ranks = ALONE
) -> dict[str, SplitCounts]:
    """Count hits, labelled and predicted pixels of every frame at the label's size, without void.

    The split is read once for all readings. One frame alone has no foreign label, no such reading.

    Args:
        workers: processes that load frames; unused where `ranks` are several.
        ranks: processes that score together; all of them get the counts of all frames.

    Returns:
        Counts by reading, frames in the split's order, on the CPU.

    Raises:
        TrainingError: the network's outputs are not finite, or memory ran out.
    """
    predictors = dict(experiment.predictors())
    if len(split) < 2:
        predictors.pop("foreign_label", None)
    batches = _batches(experiment, split, "foreign_label" in predictors, workers, ranks)
    device, index, rows = experiment.device, [], []
    finite = torch.ones((), dtype=torch.bool, device=device)
    size = experiment.settings.scoring_batch
    advice = [f"lower scoring_batch (try {size // 2})"] if size > 1 else []
    advice.append("score smaller images (score_size)")
    memory = explain_out_of_memory(device, at=f"scoring_batch={size}", advice=advice)
    with memory, evaluating(experiment.network), torch.no_grad(), full_float32(device):
        for batch in batches:
            batch = to_device(batch, device)
            index += batch.index.tolist()
            readings = []
            for predictor in predictors.values():
                outputs = predictor(batch)
                finite &= outputs.logits.isfinite().all()
                readings.append(_count(experiment, outputs, batch))
            rows.append(torch.stack(readings, 1))  # (N, R, 2, 3, K)
    if not finite:  # the only read from the device
        raise TrainingError(
            "evaluation: the network's outputs are not finite. "
            "Lower learning_rate, or use precision=fp32."
        )
    counts = _every_frame_once(index, [row.cpu() for row in rows], ranks, frames=len(split))
    return {reading: _split_counts(counts[:, n]) for n, reading in enumerate(predictors)}


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


def _batches(
    experiment: Experiment, split: Split, foreign: bool, workers: int, ranks: Ranks
) -> Iterable[ScoringBatch]:
    """Scoring batches of a split; of several processes each takes every R-th batch."""
    settings = experiment.settings
    options = {"resize": settings.score_size, "foreign": foreign}
    if ranks.world == 1:
        size = settings.scoring_batch
        options |= {"batch_size": size, "workers": workers}
        return scoring_batches(split, experiment.info, **options)
    groups = equal_size_groups(split, range(len(split)), at_most=settings.scoring_batch)
    own = groups[ranks.rank :: ranks.world]
    return (frames_batch(split, experiment.info, index, **options) for index in own)


def _count(experiment: Experiment, outputs: Outputs, batch: ScoringBatch) -> Tensor:
    """(N, 2, 3, K): hits, labelled and predicted pixels of whole frames and of boundaries."""
    prediction = predicted_classes(
        outputs.logits,
        outputs.stride,
        image_size=tuple(batch.images.shape[2:]),
        label_size=tuple(batch.target.shape[1:]),
    )
    boundary = boundary_mask(batch.target, width=experiment.settings.boundary_width)
    regions = [
        count_pixels(prediction, batch.target, num_classes=experiment.info.num_classes, where=where)
        for where in (None, boundary)
    ]
    return torch.stack([torch.stack(region, 1) for region in regions], 1)


def _every_frame_once(index: list[int], rows: list[Tensor], ranks: Ranks, *, frames: int) -> Tensor:
    """(F, R, 2, 3, K) counts of all processes in the split's order.

    Raises:
        RuntimeError: a frame was counted twice or not at all.
    """
    gathered = ranks.gather((index, rows))
    order = torch.tensor([i for part, _ in gathered for i in part])
    if order.sort().values.tolist() != list(range(frames)):
        raise RuntimeError(f"evaluation: {len(order)} frames were counted; expected {frames}.")
    return torch.cat([row for _, part in gathered for row in part])[order.argsort()]


def _split_counts(counts: Tensor) -> SplitCounts:
    """Counts of one reading by region, from (F, 2, 3, K)."""
    whole, boundary = counts.unbind(1)
    regions = (whole, boundary, whole - boundary)
    return SplitCounts(*(Counts(*region.unbind(1)) for region in regions))


def _exported_parameters(network: nn.Module) -> int:
    """Number of parameters without auxiliary heads, as in model.safetensors."""
    named = network.named_parameters()
    return sum(p.numel() for name, p in named if not name.startswith("auxiliary"))


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
