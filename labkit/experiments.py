"""From settings to a finished run: what a teacher and a student are made of, trained, scored and recorded."""

import contextlib
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from labkit.checkpoints import drop_checkpoints
from labkit.config import StudentSettings, TeacherSettings, TrainSettings
from labkit.datasets import (
    Batch,
    DataError,
    DatasetInfo,
    Split,
    TrainBatches,
    dataset_info,
    evaluation_batches,
    joint_augmentation,
    open_split,
)
from labkit.engine import Predict, Step, autocast, choose_device, choose_precision, confusions, train
from labkit.files import FileError, write_bytes, write_json
from labkit.lnm import LabelNoising
from labkit.losses import DISTANCES
from labkit.metrics import Scores, scores_from_confusion
from labkit.models import SegmentationNetwork, build_network
from labkit.planning import look_through, planned_run
from labkit.records import RecordError, Run, check_outputs, start_run
from labkit.steps import (
    predict_from_image,
    predict_with_foreign_label,
    predict_with_label,
    predict_with_zero_label,
    student_step,
    teacher_step,
)

EVALUATION_BATCH = 20  # frames; fixed, because low precision rounds differently in other batches


@dataclass(frozen=True)
class Experiment:
    """One run and everything it trains and is judged with."""

    run: Run
    info: DatasetInfo
    network: SegmentationNetwork
    noising: LabelNoising | None  # what an assisted teacher reads; None = the image alone
    device: torch.device
    precision: str
    teacher: "Experiment | None" = None

    @property
    def settings(self) -> TrainSettings:
        return self.run.settings

    @cached_property
    def train_split(self) -> Split:
        """Training frames, opened when first looked at."""
        return self._open("train", self.settings.train_size)

    @cached_property
    def val_split(self) -> Split:
        """Validation frames, opened when first looked at."""
        return self._open("val", self.settings.val_size)

    def _open(self, split: str, size: int) -> Split:
        settings = self.settings
        look_through(settings, split)
        return open_split(settings.dataset, split, root=settings.data_root, size=size, height=settings.height, width=settings.width)

    @property
    def train_batches(self) -> TrainBatches:
        """Augmented training batches, a function of (seed, step)."""
        settings = self.settings
        augmentation = joint_augmentation(
            self.info,
            crop=(settings.crop_height, settings.crop_width),
            scale=(settings.scale_min, settings.scale_max),
            brightness=settings.brightness,
        )
        return TrainBatches(self.train_split, self.info, augmentation, batch_size=settings.batch_size, seed=settings.seed)

    def readings(self) -> dict[str, Predict]:
        """What this network can be shown, by the name the tables use."""
        network, noising, seed = self.network, self.noising, self.settings.seed
        if noising is None:
            return {"image": lambda batch: predict_from_image(network, batch)}
        return {
            "true_label": lambda batch: predict_with_label(network, batch, noising, seed=seed),
            "foreign_label": lambda batch: predict_with_foreign_label(network, batch, noising, seed=seed),
            "zero_label": lambda batch: predict_with_zero_label(network, batch),
        }

    def confusions(self, split: Split) -> dict[str, list[Tensor]]:
        """Per reading, one (K, K) confusion matrix per frame of a split."""
        return {
            reading: confusions(
                predict, evaluation_batches(split, self.info, batch_size=EVALUATION_BATCH),
                num_classes=self.info.num_classes, device=self.device, precision=self.precision,
            )
            for reading, predict in self.readings().items()
        }  # fmt: skip

    def scores(self, split: Split) -> dict[str, Scores]:
        """Per reading, the scores over a split."""
        return {reading: scores_from_confusion(sum(found)) for reading, found in self.confusions(split).items()}

    def logits(self, reading: str, batch: Batch) -> Tensor:
        """Full-size logits (N, K, H, W) of one reading, without gradient, on the CPU."""
        with torch.no_grad(), autocast(self.device, self.precision):
            return self.readings()[reading](batch.to(self.device)).cpu()


def prepare(settings: TeacherSettings | StudentSettings) -> Experiment:
    """Network, data, noising and teacher by the settings of a run; nothing is trained or written yet."""
    run = planned_run(settings)
    where = {"data_root": settings.data_root, "device": settings.device, "threads": settings.threads}
    return replace(_assemble(run), teacher=load_experiment(run.teacher, **where) if run.teacher else None)


def load_experiment(run: Run, **changes: Any) -> Experiment:
    """A complete run's network with its trained weights, in eval mode, at the precision it was trained and scored in; no teacher.

    Args:
        changes: settings that say where it runs (device, threads, data_root).

    Raises:
        RecordError: the weights are not those the manifest recorded.
    """
    manifest = run.manifest()
    check_outputs(run.folder, manifest, ("model.safetensors",))
    known = {"precision": manifest["precision"], "encoder_weights": "none"}  # the trained weights replace every other
    experiment = _assemble(replace(run, settings=run.settings.model_copy(update=known | changes)))
    _load_weights(experiment)
    return experiment


def training_step(experiment: Experiment) -> Step:
    """The paper's step for this experiment, as the engine calls it."""
    settings, network = experiment.settings, experiment.network
    if isinstance(settings, TeacherSettings) and settings.method == "lad":
        return lambda batch, generator: teacher_step(
            network, batch, experiment.noising, generator=generator, consistency_weight=settings.consistency_weight,
            distance=DISTANCES[settings.consistency_distance], temperature=settings.consistency_temperature,
            distance_stride=settings.distance_stride, void_in_distance=settings.void_in_distance,
        )  # fmt: skip
    if experiment.teacher is None:
        return lambda batch, generator: student_step(
            network, None, batch, None, generator=generator, distillation_weight=0, distance=DISTANCES["kd"], temperature=1
        )
    shown = shown_to_student(experiment)
    return lambda batch, generator: student_step(
        network, experiment.teacher.network, batch, shown, generator=generator,
        distillation_weight=settings.distillation_weight, distance=DISTANCES[settings.distance],
        temperature=settings.distillation_temperature, distance_stride=settings.distance_stride,
        void_in_distance=settings.void_in_distance,
    )  # fmt: skip


def shown_to_student(experiment: Experiment) -> LabelNoising | None:
    """The noising an assisted teacher reads while it teaches: its own, with the student's weights and pixel noise."""
    noising, settings = experiment.teacher.noising, experiment.settings
    return replace(noising, weights=settings.distill_weights, pixel_std=settings.pixel_std) if noising else None


def fit(experiment: Experiment) -> dict[str, Any]:
    """Train (or go on from the last checkpoint), score, save and record; a complete run is only read.

    Returns:
        The run's metrics.

    Raises:
        FileError: another process trains this run, or something cannot be written.
        TrainingError: the loss is not finite, or memory ran out.
    """
    run = experiment.run
    with run.held():
        if run.state != "complete":
            return _fit(experiment)
        print(f"{run.run_id} is complete; its weights are loaded.")
        drop_checkpoints(run)
        check_outputs(run.folder, run.manifest(), ("model.safetensors", "metrics.json"))
        _load_weights(experiment)
        return run.metrics()


def _fit(experiment: Experiment) -> dict[str, Any]:
    run, settings = experiment.run, experiment.settings
    scores: dict[str, Scores] = {}  # the latest evaluation's; the last one is at the last step

    def evaluation() -> dict[str, float]:
        scores.update(experiment.scores(experiment.val_split))
        return {reading: score.miou for reading, score in scores.items()}

    start_run(run)
    try:
        train(
            training_step(experiment), experiment.network, experiment.train_batches, settings=settings, run=run,
            evaluation=evaluation, device=experiment.device, precision=experiment.precision,
        )  # fmt: skip
        if not scores:  # stopped between the last checkpoint and the record
            evaluation()
        metrics = measured(experiment, scores, "val", experiment.val_split)
        weights = {name: value.cpu().contiguous() for name, value in experiment.network.state_dict().items()}
        write_bytes(run.folder / "model.safetensors", save(weights))
        write_json(run.folder / "metrics.json", metrics)
        run.complete(
            seconds=run.log_rows()[-1]["seconds"], images_seen=settings.train_steps * settings.batch_size,
            device=experiment.device.type, precision=experiment.precision, threads=torch.get_num_threads(), metrics=metrics,
        )  # fmt: skip
    except BaseException as error:
        with contextlib.suppress(FileError):  # where nothing can be written the run is not complete either
            run.mark("failed", error=f"{type(error).__name__}: {error}")
        raise
    drop_checkpoints(run)
    return metrics


def measured(experiment: Experiment, scores: dict[str, Scores], split: str, frames: Split) -> dict[str, Any]:
    """Scores as a record: the protocol, and per reading mIoU, IoU by class, absent classes and pixel accuracy.

    Raises:
        DataError: not one pixel was labelled, so that there is no score.
    """
    if any(len(score.absent) == experiment.info.num_classes for score in scores.values()):
        raise DataError(
            f"{experiment.info.name} {split}: found no labelled pixel in {len(frames)} frames; expected some. Score another split."
        )
    names = experiment.info.class_names
    settings = experiment.settings
    protocol = f"{len(frames)} frames of {split}, whole, {settings.height} x {settings.width}, single scale, void excluded"
    return {
        "split": split, "protocol": protocol, "steps": settings.train_steps, "parameters": _parameters(experiment.network),
        "readings": {
            reading: {
                "miou": round(score.miou, 3), "pixel_accuracy": round(score.pixel_accuracy, 3),
                "iou": {name: None if i in score.absent else round(score.iou[i], 3) for i, name in enumerate(names)},
                "absent": [names[i] for i in score.absent],
            }
            for reading, score in scores.items()
        },
    }  # fmt: skip


def _assemble(run: Run) -> Experiment:
    """Network and noising of a run, without its teacher; no data is opened."""
    settings = run.settings
    if settings.threads:
        torch.set_num_threads(settings.threads)
    info = dataset_info(settings.dataset)
    device = choose_device(settings.device)
    assisted = isinstance(settings, TeacherSettings) and settings.method == "lad"
    network = build_network(
        settings.architecture, settings.encoder, num_classes=info.num_classes,
        label_channels=settings.label_channels if assisted else 0, encoder_weights=settings.encoder_weights,
        label_init=settings.label_init if assisted else "normal", seed=settings.seed,
    )  # fmt: skip
    noising = _noising(settings, info) if assisted else None
    return Experiment(
        run=run,
        info=info,
        network=network.to(device, memory_format=torch.channels_last).eval(),
        noising=noising,
        device=device,
        precision=choose_precision(settings.precision, device),
    )


def _noising(settings: TeacherSettings, info: DatasetInfo) -> LabelNoising:
    return LabelNoising(
        num_classes=info.num_classes, class_std=settings.class_std, pixel_std=settings.pixel_std, label_scale=settings.label_scale,
        void_policy=settings.void_policy, label_channels=settings.label_channels, weights=settings.weights,
    )  # fmt: skip


def _load_weights(experiment: Experiment) -> None:
    path = experiment.run.folder / "model.safetensors"
    try:
        weights = load_file(path, device=str(experiment.device))  # the format holds no code
    except SafetensorError as error:
        raise RecordError(f"{path}: found no weights ({error}); expected a safetensors file. Delete the run and run it again.") from error
    experiment.network.load_state_dict(weights)
    for parameter in experiment.network.parameters():
        parameter.requires_grad_(False)


def _parameters(network: SegmentationNetwork) -> int:
    return sum(parameter.numel() for parameter in network.parameters())
