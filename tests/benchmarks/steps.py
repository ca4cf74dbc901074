"""The training loop beside the bare network, and steps beside those of public scripts.

The ceiling is forward and backward of the bare network on random data that are in memory, in the
same precision. The loop makes its batches, the first epoch's included, and steps, checks and logs.
"""

import copy
import itertools
import statistics
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from labkit.method import LabelNoising, StepOutput
from labkit.training.checkpoint import TrainedParts
from labkit.training.device import autocast
from labkit.training.experiment import Experiment, Step, plan_run, prepare, training_step
from labkit.training.fit import fit
from labkit.training.loop import Session
from tests.benchmarks.camvid_files import write_camvid
from tests.benchmarks.reference import reference_student_step, reference_teacher_step
from tests.benchmarks.timing import Clock, milliseconds, quiet, row, seconds_of

SMALL = {"architecture": "unet", "encoder": "tu-mobilenetv3_small_100"}
PSPNET = {"architecture": "pspnet", "encoder": "resnet18", "encoder_weights": "none"}
FULL_SIZE = {"resize": "native", "crop_height": 360, "crop_width": 480}
NEVER = 10**6  # steps


class Size(NamedTuple):
    """What is trained, and for how long."""

    name: str
    values: dict[str, Any]
    epoch: int  # steps in the first of two epochs


SIZES = (
    Size("8 x 64 x 128, small Unet", {"batch_size": 8} | SMALL, 12),
    Size(
        "4 x 360 x 480, small Unet",
        {"dataset": "camvid", "batch_size": 4} | FULL_SIZE | SMALL,
        3,
    ),
    Size(
        "4 x 360 x 480, PSPNet-ResNet-18",
        {"dataset": "camvid", "batch_size": 4} | FULL_SIZE | PSPNET,
        3,
    ),
)


def step_rows() -> Iterator[dict]:
    """Rows of every size: the loop against its ceiling, and two steps against their references."""
    with tempfile.TemporaryDirectory(prefix="labkit-bench-") as folder:
        most = max(size.epoch * size.values["batch_size"] for size in SIZES)
        write_camvid(Path(folder), train=most, val=2)
        for size in SIZES:
            epoch = 2 if Clock.once else size.epoch
            common = {
                "runs": f"{folder}/runs",
                "data_root": folder,
                "threads": torch.get_num_threads(),
                "train_size": epoch * size.values["batch_size"],
                "val_size": 2,
                "warmup_steps": 0,
                "evaluate_every_steps": NEVER,
                "checkpoint_every_steps": NEVER,
                "checkpoint_every_minutes": 0,
            }
            yield from _rows_of_size(size.name, size.values | common, epoch)


def _rows_of_size(name: str, values: dict[str, Any], epoch: int) -> Iterator[dict]:
    experiment = prepare(plan_run("teacher", values | {"train_steps": 2 * epoch}))
    precision = experiment.precision
    ceilings, steps = _paired_times(experiment)
    for part, slots in (("first epoch", slice(1, epoch)), ("later epochs", slice(epoch, None))):
        times = [1000 * statistics.median(taken[slots] or taken) for taken in (steps, ceilings)]
        title = f"training loop of an assisted teacher vs bare network, {part}"
        yield row(title, f"{name}, {precision}", *times)
    yield _teacher_row(name, experiment)
    taught_by = prepare(plan_run("teacher", values | {"train_steps": 1}))
    with quiet():
        fit(taught_by)
    student = prepare(plan_run("student", values | {"teacher": taught_by.run.run_id}))
    yield _student_row(name, student)


def _paired_times(experiment: Experiment) -> tuple[list[float], list[float]]:
    """Seconds of the bare network before each step, and of the loop from a step to the next."""
    real, bare, marks = training_step(experiment), bare_network(experiment), []

    def step(batch: Any, generator: torch.Generator) -> StepOutput:
        end = Clock.read()
        ceiling = seconds_of(bare)
        marks.append((end, ceiling, Clock.read()))
        return real(batch, generator)

    session = open_session(experiment, step)
    with quiet():
        session.train(experiment.train_batches, start=0, seconds=0.0, write_row=lambda row: None)
    steps = [following[0] - now[2] for now, following in itertools.pairwise(marks)]
    return [ceiling for _, ceiling, _ in marks[:-1]], steps


def bare_network(experiment: Experiment) -> Callable[[], None]:
    """Forward and backward of a copy of the network, on both paths of a batch of random numbers."""
    network, settings = copy.deepcopy(experiment.network).train(), experiment.settings
    paths, channels = 2 * settings.batch_size, 3 + network.label_channels
    inputs = torch.randn(paths, channels, settings.crop_height, settings.crop_width)
    inputs = inputs.to(experiment.device, memory_format=torch.channels_last)

    def call() -> None:
        network.zero_grad(set_to_none=True)  # else gradients would add up, which takes time too
        with autocast(experiment.device, experiment.precision):
            logits = network(inputs).logits
        logits.mean().backward()

    return call


def open_session(experiment: Experiment, step: Step | None = None) -> Session:
    """A training without scores and without a checkpoint."""
    parts = TrainedParts(experiment.network.train(), experiment.distiller)
    step = step or training_step(experiment)
    session = Session(step, parts, experiment.run, dict, experiment.device)
    session.save = lambda done: None
    session.evaluate = lambda done: None
    return session


def _teacher_row(name: str, experiment: Experiment) -> dict:
    session, batch = open_session(experiment), _batch(experiment)
    network, optimiser = _plain_copy(experiment)
    step = reference_teacher_step(network, optimiser, experiment.noising, _generator(experiment))
    times = _in_turns(session, batch, step)
    return row("teacher step vs a public script's", f"{name}, {experiment.precision}", *times)


def _student_row(name: str, experiment: Experiment) -> dict:
    session, batch = open_session(experiment), _batch(experiment)
    network, optimiser = _plain_copy(experiment)
    teacher = _plain(experiment.teacher)
    noising: LabelNoising = experiment.teacher.noising
    step = reference_student_step(network, teacher, optimiser, noising, _generator(experiment))
    times = _in_turns(session, batch, step)
    return row("distillation step vs a public script's", f"{name}, {experiment.precision}", *times)


def _in_turns(session: Session, batch: Any, step: Any) -> list[float]:
    images: Tensor = batch.images.contiguous()
    repeat = 9 if images.numel() < 10**6 else 3
    return milliseconds(
        lambda: session.update(batch, 1), lambda: step(images, batch.target), repeat=repeat
    )


def _batch(experiment: Experiment) -> Any:
    return experiment.train_batches[0].to(experiment.device)


def _plain(experiment: Experiment) -> torch.nn.Module:
    """A copy of the network in NCHW."""
    return copy.deepcopy(experiment.network).to(memory_format=torch.contiguous_format)


def _plain_copy(experiment: Experiment) -> tuple[torch.nn.Module, torch.optim.Optimizer]:
    network = _plain(experiment).train()
    return network, torch.optim.AdamW(network.parameters(), lr=experiment.settings.learning_rate)


def _generator(experiment: Experiment) -> torch.Generator:
    return torch.Generator(experiment.device).manual_seed(0)
