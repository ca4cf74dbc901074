"""A run and what it trains and is scored with: network, data, noising, teacher and distiller."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from labkit.datasets import DatasetInfo, Split, dataset_info, open_split
from labkit.datasets.batches import Batch, ScoringBatch, TrainBatches
from labkit.datasets.memory import resident_split
from labkit.distillers.base import Distiller
from labkit.errors import RecordError
from labkit.method import (
    DISTANCES,
    LabelNoising,
    Outputs,
    StepOutput,
    cross_entropy,
    hard_pixel_cross_entropy,
    student_step,
    teacher_step,
)
from labkit.networks import SegmentationNetwork, build_network
from labkit.networks.doubling import use_doubling_blocks
from labkit.records import Run
from labkit.training.assistance import (
    distillation_noising,
    label_noising,
    take_weights,
)
from labkit.training.calibration import prepare_distiller
from labkit.training.compiled import CompiledNetwork
from labkit.training.depthwise import use_float32_depthwise
from labkit.training.device import choose_device, full_float32, to_device
from labkit.training.distributed import ALONE, Ranks
from labkit.training.planning import plan_run, weights_source
from labkit.training.predict import (
    label_size_logits,
    predict_from_image,
    predict_with_foreign_label,
    predict_with_label,
    predict_with_zero_label,
    predicted_classes,
)
from labkit.training.preflight import check_class_names

__all__ = [
    "Experiment",
    "distillation_noising",
    "load_experiment",
    "plan_run",
    "prepare",
    "training_step",
]

Predictor = Callable[[ScoringBatch], Outputs]
Step = Callable[[Batch, torch.Generator], StepOutput]


@dataclass(frozen=True)
class Experiment:
    """One run and everything it trains and is scored with."""

    run: Run
    info: DatasetInfo
    network: SegmentationNetwork
    noising: LabelNoising | None  # what an assisted teacher reads; None = the image alone
    device: torch.device
    precision: str  # of training; predictions are scored in float32
    teacher: "Experiment | None" = None
    distiller: Distiller | None = None

    @property
    def settings(self) -> Any:
        return self.run.settings

    @cached_property
    def train_split(self) -> Split:
        """Training frames, opened at first use."""
        return self.open_split("train", self.settings.train_size)

    @cached_property
    def val_split(self) -> Split:
        """Frames that score the run, opened at first use: those of `score_split`."""
        return self.open_split(self.settings.score_split, self.settings.val_size)

    def open_split(self, split: str, size: int = 0) -> Split:
        """A split of the run's data set, the first `size` frames (0 = all)."""
        settings = self.settings
        return open_split(settings.dataset, split, root=settings.data_root, size=size)

    @property
    def train_batches(self) -> TrainBatches:
        """Augmented training batches, a function of (seed, step)."""
        settings = self.settings
        split = self.train_split
        return TrainBatches(
            resident_split(split, self.device) if settings.resident else split,
            self.info,
            resize=settings.resize,
            crop=(settings.crop_height, settings.crop_width),
            scale=(settings.scale_min, settings.scale_max),
            brightness=settings.brightness,
            batch_size=settings.batch_size,
            seed=settings.seed,
        )

    @property
    def segmentation_loss(self) -> Callable[..., Tensor]:
        """(logits, target, *, stride) -> scalar, of the logits and of auxiliary heads."""
        return hard_pixel_cross_entropy if self.settings.hard_pixels else cross_entropy

    def predictors(self) -> dict[str, Predictor]:
        """What this network can be given to read, by the names of the tables."""
        network, noising, seed = self.network, self.noising, self.settings.seed
        if noising is None:
            return {"image": partial(predict_from_image, network)}
        return {
            "true_label": partial(predict_with_label, network, noising=noising, seed=seed),
            "foreign_label": partial(
                predict_with_foreign_label, network, noising=noising, seed=seed
            ),
            "zero_label": partial(predict_with_zero_label, network),
        }

    def logits(self, reading: str, batch: ScoringBatch) -> Tensor:
        """Logits (N, K, H, W) of a reading at the label's size, without gradient, on the CPU."""
        return self._at_label_size(label_size_logits, reading, batch)

    def prediction(self, reading: str, batch: ScoringBatch) -> Tensor:
        """Classes (N, H, W) int64 of a reading at the label's size, in bounded memory, CPU."""
        return self._at_label_size(predicted_classes, reading, batch)

    @torch.no_grad()
    def _at_label_size(
        self, resize: Callable[..., Tensor], reading: str, batch: ScoringBatch
    ) -> Tensor:
        with full_float32(self.device):
            outputs = self.predictors()[reading](to_device(batch, self.device))
            image_size, label_size = tuple(batch.images.shape[2:]), tuple(batch.target.shape[1:])
            sizes = {"image_size": image_size, "label_size": label_size}
            return resize(outputs.logits, outputs.stride, **sizes).cpu()


def prepare(run: Run) -> Experiment:
    """Network, noising, teacher and distiller of a run; nothing is trained or written.

    Raises:
        SettingsError: a setting does not fit the networks, or a weight cannot be calibrated.
    """
    settings = run.settings
    experiment = _assemble(run, auxiliary_weight=settings.auxiliary_weight)
    if run.teacher is None:
        return experiment
    place = {"data_root": settings.data_root, "device": settings.device}
    teacher = load_experiment(run.teacher, threads=settings.threads, **place)
    experiment = replace(experiment, teacher=teacher)
    if settings.start_from_teacher:
        take_weights(experiment.network, teacher.network)
    distiller = prepare_distiller(experiment, distillation_noising(experiment))
    return replace(experiment, distiller=distiller)


def load_experiment(run: Run, **changes: Any) -> Experiment:
    """A complete run's network with its trained weights, frozen and in eval mode; no teacher.

    Args:
        changes: settings that say where it runs: device, threads, data_root.

    Raises:
        RecordError: the weights are not those the manifest recorded.
        DataError: the data set's classes are not those the run was trained on.
    """
    known = {"encoder_weights": "none"}  # the trained weights replace every other
    changed = replace(run, settings=run.settings.model_copy(update=known | changes))
    experiment = _assemble(changed, auxiliary_weight=0.0)
    check_class_names(run, experiment.info)
    load_weights(experiment)
    return experiment


def load_weights(experiment: Experiment) -> None:
    """Fill the network from its run's model.safetensors and freeze it.

    Raises:
        RecordError: the file is not what the manifest recorded, or not this network's.
    """
    run, network = experiment.run, experiment.network
    run.check_weights()
    path = run.folder / "model.safetensors"
    try:
        weights = load_file(path, device=str(experiment.device))  # the format holds no code
    except (SafetensorError, OSError) as error:
        raise RecordError(
            f"run {run.run_id}: model.safetensors holds no weights ({error}); "
            "expected a safetensors file. Delete the run and run it again."
        ) from error
    expected = exported_weights(network)
    if weights.keys() != expected.keys():
        raise RecordError(
            f"run {run.run_id}: model.safetensors holds the tensors of another network; "
            f"expected {experiment.settings.architecture}. Delete the run and run it again."
        )
    network.load_state_dict(network.state_dict() | weights)
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    network.eval()


def exported_weights(network: SegmentationNetwork) -> dict[str, Tensor]:
    """State of a network without its auxiliary head, which only training needs."""
    return {n: v for n, v in network.state_dict().items() if not n.startswith("auxiliary")}


def training_step(experiment: Experiment, ranks: Ranks = ALONE) -> Step:
    """The paper's step for this experiment: (batch, generator on its device) -> StepOutput.

    Args:
        ranks: the processes that train the run, each with a part of the batch.
    """
    settings, network = experiment.settings, experiment.network
    network = CompiledNetwork(network) if settings.compile else network
    segmentation_loss = ranks.segmentation_loss(experiment.segmentation_loss)
    if experiment.noising is not None:
        noising = ranks.noising(experiment.noising)
        step = partial(
            teacher_step,
            consistency_weight=settings.consistency_weight,
            distance=DISTANCES[settings.consistency_distance],
            temperature=settings.consistency_temperature,
            distance_stride=settings.distance_stride,
            void_in_distance=settings.void_in_distance,
            separate_paths=settings.separate_paths,
            segmentation_loss=segmentation_loss,
        )
        return lambda batch, generator: step(
            network, batch.images, batch.target, noising, generator=generator
        )
    teacher = experiment.teacher.network if experiment.teacher else None
    noising = ranks.noising(distillation_noising(experiment))
    return lambda batch, generator: student_step(
        network,
        teacher,
        batch.images,
        batch.target,
        noising,
        experiment.distiller,
        generator=generator,
        segmentation_loss=segmentation_loss,
    )


def _assemble(run: Run, *, auxiliary_weight: float) -> Experiment:
    """Network and noising of a run; no data is opened."""
    settings = run.settings
    if settings.threads:
        torch.set_num_threads(settings.threads)
    info = dataset_info(settings.dataset, root=settings.data_root)
    device = choose_device(settings.device)
    assisted = (run.role, run.kind) == ("teacher", "assisted")
    noising = label_noising(settings, info.num_classes) if assisted else None
    label = {}
    if noising:
        names = ("label_channels", "label_init")
        label = {name: getattr(settings, name) for name in names}
    network = build_network(
        settings.architecture,
        settings.encoder,
        num_classes=info.num_classes,
        encoder_weights=weights_source(settings.encoder_weights),
        auxiliary_weight=auxiliary_weight,
        seed=settings.seed,
        **label,
    )
    network = network.to(device, memory_format=torch.channels_last).eval()
    if device.type == "cpu":
        use_float32_depthwise(network)
        use_doubling_blocks(network)
    return Experiment(run, info, network, noising, device, settings.precision)
