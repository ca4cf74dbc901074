"""The loop: schedule, precision, evaluation, when to checkpoint. Knows nothing of teachers and students."""

import contextlib
import json
import math
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm import tqdm

from labkit.checkpoints import load_checkpoint, save_checkpoint
from labkit.config import SettingsError, TrainSettings
from labkit.datasets import Batch, TrainBatches
from labkit.files import cannot_write, write_text
from labkit.metrics import confusion_matrix
from labkit.records import Run
from labkit.steps import StepOutput
from labkit.streams import stream_generator, stream_seed

Step = Callable[[Batch, torch.Generator], StepOutput]
Predict = Callable[[Batch], Tensor]

# What is said where memory runs out and torch raises no OutOfMemoryError: by the driver, by cuBLAS, by the CPU's allocator.
OUT_OF_MEMORY = ("out of memory", "ALLOC_FAILED", "can't allocate memory", "not enough memory")


class TrainingError(RuntimeError):
    """Training cannot go on; the message holds the step and its terms."""


def choose_device(device: str) -> torch.device:
    """auto = cuda where there is one."""
    if device == "cuda" and not torch.cuda.is_available():
        raise SettingsError("setting device: got cuda; this machine has none that torch can use. Use device=auto or cpu.", names=["device"])
    return torch.device("cuda" if device != "cpu" and torch.cuda.is_available() else "cpu")


def choose_precision(precision: str, device: torch.device) -> str:
    """auto = bf16 where the device computes in it natively, else fp32."""
    if precision != "auto":
        return precision
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    return "bf16" if torch.cpu.get_capabilities().get("avx512_bf16", False) else "fp32"


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """bf16 autocast, or a context that does nothing."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


def learning_rate_at(step: int, *, peak: float, steps: int, warmup_steps: int, poly_power: float) -> float:
    """Linear warm-up times poly decay: peak * min(1, (step+1)/warmup) * (1 - step/steps)^power."""
    warm = min(1.0, (step + 1) / warmup_steps) if warmup_steps else 1.0
    return peak * warm * (1 - step / steps) ** poly_power


def make_optimiser(network: nn.Module, settings: TrainSettings) -> torch.optim.Optimizer:
    """SGD with momentum or AdamW, over every parameter."""
    common = {"lr": settings.learning_rate, "weight_decay": settings.weight_decay}
    if settings.optimiser == "sgd":
        return torch.optim.SGD(network.parameters(), momentum=settings.momentum, **common)
    return torch.optim.AdamW(network.parameters(), **common)


@torch.no_grad()
def predictions(predict: Predict, batches: Iterable[Batch], *, device: torch.device, precision: str) -> Iterator[tuple[Tensor, Tensor]]:
    """Prediction and target of every frame in order, (H, W) int64 each, on the CPU.

    Args:
        predict: Batch -> full-size logits (N, K, H, W); its network is in eval mode.
        batches: every frame once.

    Raises:
        TrainingError: the answers are not finite.
    """
    for batch in batches:
        batch = batch.to(device)
        with autocast(device, precision):
            logits = predict(batch)
        if not torch.isfinite(logits).all():
            raise TrainingError("evaluation: the network's answers are not finite. Lower learning_rate, or use precision=fp32.")
        yield from zip(logits.argmax(1).cpu(), batch.target.cpu(), strict=True)


def confusions(predict: Predict, batches: Iterable[Batch], *, num_classes: int, device: torch.device, precision: str) -> list[Tensor]:
    """Judge a predictor over a set: whole images, single scale, void excluded. Arguments and errors as in `predictions`.

    Returns:
        One (K, K) confusion matrix per frame, in order, on the CPU; their sum is the set's.
    """
    pairs = predictions(predict, batches, device=device, precision=precision)
    return [confusion_matrix(prediction, target, num_classes=num_classes) for prediction, target in pairs]


def train(
    step: Step,
    network: nn.Module,
    batches: TrainBatches,
    *,
    settings: TrainSettings,
    run: Run,
    evaluation: Callable[[], dict[str, float]],
    device: torch.device,
    precision: str,
) -> None:
    """Train to settings.train_steps, from the run's checkpoint where it has one.

    Args:
        step: (batch, generator) -> StepOutput; the only thing that knows the method.
        network: what is trained; on the device.
        batches: item s is the batch of step s.
        run: its folder takes log.jsonl (rows carry the seconds trained so far, over all sessions) and the checkpoint.
        evaluation: () -> {reading: mIoU}, called every evaluate_every_steps and at the end, network in eval mode.

    Raises:
        TrainingError: the loss is not finite, or memory ran out; nothing after the last checkpoint is kept.
        FileError: log or checkpoint cannot be written.
    """
    optimiser = make_optimiser(network, settings)
    start = load_checkpoint(run, network, optimiser)
    log = [row for row in run.log_rows() if row["step"] <= start]
    every = settings.evaluate_every_steps or math.ceil(settings.train_steps / 4)
    began = time.monotonic() - (log[-1]["seconds"] if log else 0.0)
    due = _checkpoint_times(settings)
    log_file = _log_file(run.folder / "log.jsonl", log)
    with log_file as write_row, _progress(start, settings.train_steps) as bar, memory_told(settings, device, precision):
        network.train()
        loader = batches.loader(start=start, steps=settings.train_steps, workers=settings.workers)
        for number, batch in enumerate(loader, start=start):
            rate = learning_rate_at(
                number, peak=settings.learning_rate, steps=settings.train_steps,
                warmup_steps=settings.warmup_steps, poly_power=settings.poly_power,
            )  # fmt: skip
            output = _update(step, batch.to(device), optimiser, rate, settings.seed, number, device, precision)
            bar.update()
            done = number + 1
            if done % settings.log_every_steps == 0 or done == settings.train_steps:
                terms = {name: value.item() for name, value in output.terms.items()}
                bar.set_postfix({name: f"{value:.3f}" for name, value in terms.items()} | {"img/s": _images_per_second(bar, settings)})
                write_row({"step": done, **_elapsed(began), "learning_rate": rate, "loss": output.loss.item(), **terms})
            if done % every == 0 or done == settings.train_steps:
                network.eval()
                write_row({"step": done, **_elapsed(began), "miou": _told(evaluation(), done, settings.train_steps)})
                network.train()
            if due(done):
                save_checkpoint(run, network, optimiser, step=done)
    network.eval()


def _update(
    step: Step, batch: Batch, optimiser: torch.optim.Optimizer, rate: float, seed: int, number: int,
    device: torch.device, precision: str,
) -> StepOutput:  # fmt: skip
    """One optimiser step; noise and dropout are functions of (seed, step)."""
    for group in optimiser.param_groups:
        group["lr"] = rate
    torch.manual_seed(stream_seed("dropout", seed, number))
    with autocast(device, precision):
        output = step(batch, stream_generator("noise", seed, number, device=device))
    if not torch.isfinite(output.loss):
        terms = ", ".join(f"{name} {value.item():.4g}" for name, value in output.terms.items())
        raise TrainingError(f"step {number + 1}: the loss is not finite ({terms}). Lower learning_rate, or use precision=fp32.")
    optimiser.zero_grad(set_to_none=True)
    output.loss.backward()
    optimiser.step()
    return output


def _told(miou: dict[str, float], step: int, steps: int) -> dict[str, float]:
    """Print an evaluation; say in words when an assisted teacher does not use its label."""
    readings = ", ".join(f"{reading} {value:.1f}" for reading, value in miou.items())
    tqdm.write(f"step {step}: mIoU {readings}", file=sys.stdout)
    if "true_label" in miou:
        reliance = miou["true_label"] - miou["foreign_label"]
        if 2 * step > steps and reliance < 1:
            tqdm.write(
                f"warning: reliance (true minus foreign label) is {reliance:.1f} mIoU: this teacher ignores its label and is in effect "
                "a plain one. Raise label_scale, lower consistency_weight, or train longer.",
                file=sys.stdout,
            )
    return miou


def _checkpoint_times(settings: TrainSettings) -> Callable[[int], bool]:
    """Step -> whether a checkpoint is due: by steps, by minutes since the last one, and at the end."""
    last = time.monotonic()

    def due(done: int) -> bool:
        nonlocal last
        minutes = (time.monotonic() - last) / 60
        by_clock = settings.checkpoint_every_minutes > 0 and minutes >= settings.checkpoint_every_minutes
        if by_clock or done % settings.checkpoint_every_steps == 0 or done == settings.train_steps:
            last = time.monotonic()
            return True
        return False

    return due


@contextlib.contextmanager
def memory_told(settings: TrainSettings, device: torch.device, precision: str) -> Iterator[None]:
    """Out of memory as one sentence: what was in use, and what to lower first.

    Raises:
        TrainingError: in place of torch's error.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        known = isinstance(error, torch.OutOfMemoryError | MemoryError) or any(words in str(error) for words in OUT_OF_MEMORY)
        if not known or isinstance(error, TrainingError):
            raise
        advice = [f"lower batch_size first (try {settings.batch_size // 2})"] if settings.batch_size > 1 else []
        advice += ["use precision=bf16"] if precision != "bf16" else []
        text = ", then ".join([*advice, "lower crop_height and crop_width"])
        raise TrainingError(
            f"out of memory on {device.type} at batch_size={settings.batch_size}, crop {settings.crop_height} x {settings.crop_width}, "
            f"precision={precision}. {text[0].upper()}{text[1:]}."
        ) from error


@contextlib.contextmanager
def _log_file(path: Path, rows: list[dict]) -> Iterator[Callable[[dict], None]]:
    """Append rows to a log, one JSON object per line, each synced; rows after the checkpoint are dropped first."""
    write_text(path, "".join(json.dumps(row) + "\n" for row in rows))
    with path.open("a", encoding="utf-8") as file:

        def write_row(row: dict) -> None:
            try:
                file.write(json.dumps(row) + "\n")
                file.flush()
                os.fsync(file.fileno())
            except OSError as error:
                raise cannot_write(path, error) from error

        yield write_row


def _elapsed(began: float) -> dict[str, float]:
    return {"seconds": round(time.monotonic() - began, 1)}


def _progress(start: int, steps: int) -> tqdm:
    interval = 0.5 if sys.stdout.isatty() else 5
    return tqdm(total=steps, initial=start, file=sys.stdout, unit="step", mininterval=interval, ncols=110, leave=True)


def _images_per_second(bar: tqdm, settings: TrainSettings) -> str:
    rate = bar.format_dict["rate"]
    return f"{rate * settings.batch_size:.0f}" if rate else "?"
