"""The training loop: schedule, precision, evaluation, checkpoints; the same for every method."""

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from labkit.datasets.batches import Batch, TrainBatches
from labkit.method import StepOutput
from labkit.method.seeding import stream_generator, stream_seed
from labkit.records import Run
from labkit.training.allocator import keep_freed_memory
from labkit.training.checkpoint import TrainedParts, load_checkpoint, save_checkpoint
from labkit.training.device import autocast, explain_out_of_memory, to_device
from labkit.training.distributed import ALONE, Ranks
from labkit.training.finite import FiniteCheck
from labkit.training.log import WriteRow, open_log
from labkit.training.optimiser import learning_rate_at, make_optimiser
from labkit.training.progress import Progress, report

Step = Callable[[Batch, torch.Generator], StepOutput]
Evaluation = Callable[[], dict[str, float]]
IGNORED_LABEL = 1.0  # reliance in mIoU below which an assisted teacher is in effect a plain one


def train(
    step: Step,
    parts: TrainedParts,
    batches: TrainBatches,
    *,
    run: Run,
    evaluation: Evaluation,
    device: torch.device,
    ranks: Ranks = ALONE,
    first_row: Mapping[str, Any] | None = None,
) -> None:
    """Train to settings.train_steps, from the run's checkpoint where it has one.

    Args:
        step: (batch, generator) -> StepOutput; all that depends on the method.
        parts: network and distiller, on the device; one optimiser trains both.
        batches: item s is the batch of step s.
        run: its folder takes the checkpoint and log.jsonl, whose seconds count all sessions.
        evaluation: () -> mIoU by reading, called every evaluate_every_steps and at the end.
        ranks: the processes that train the run; the first writes its files.
        first_row: what the log's row of step 0 says; None or empty = no such row.

    Raises:
        TrainingError: the loss is not finite, or memory ran out. The last checkpoint stays.
        FileError: log or checkpoint cannot be written.
    """
    keep_freed_memory()
    settings = run.settings
    session = Session(step, parts, run, evaluation, device, ranks)
    start, facts = session.load()
    rows = [row for row in run.log_rows() if row["step"] <= start]
    if not start:
        rows = [{"step": 0, "seconds": 0.0, **first_row}] if first_row else []
    seconds = rows[-1].get("seconds", 0.0) if rows else 0.0
    if start and facts["device"] != device.type:
        devices = {"device": device.type, "device_before": facts["device"]}
        rows.append({"step": start, "seconds": seconds, **devices})
    at = (
        f"batch_size={settings.batch_size}, crop {settings.crop_height} x {settings.crop_width}, "
        f"precision={settings.precision}"
    )
    smaller = settings.batch_size // 2
    advice = [f"lower batch_size first (try {smaller})"] if smaller else []
    advice += ["use precision=bf16"] if settings.precision != "bf16" else []
    advice.append("lower crop_height and crop_width")
    memory = explain_out_of_memory(device, at=at, advice=advice)
    log = open_log(run.folder / "log.jsonl", rows) if ranks.first else contextlib.nullcontext(_skip)
    with memory, log as write_row:
        session.train(batches, start=start, seconds=seconds, write_row=write_row)


class Session:
    """One process's share of a training: optimiser, and what follows a step when it is due.

    Arguments are those of `train`.
    """

    def __init__(
        self,
        step: Step,
        parts: TrainedParts,
        run: Run,
        evaluation: Evaluation,
        device: torch.device,
        ranks: Ranks = ALONE,
    ) -> None:
        self.step = ranks.step(step, parts.network, parts.distiller)
        self.parts, self.run, self.evaluation, self.ranks = parts, run, evaluation, ranks
        self.device, self.settings = device, run.settings
        self.optimiser = make_optimiser(
            parts.parameters(),
            optimiser=self.settings.optimiser,
            learning_rate=self.settings.learning_rate,
            weight_decay=self.settings.weight_decay,
            momentum=self.settings.momentum,
        )
        self.finite = FiniteCheck(device)
        self.waiting = 0.0  # seconds this session waited for data
        self.aside = 0.0  # seconds it evaluated and wrote checkpoints

    def load(self) -> tuple[int, dict[str, str]]:
        """Restore the newest usable checkpoint, the first process before the others."""
        if not self.ranks.first:
            self.ranks.barrier()
        loaded = load_checkpoint(self.run, self.parts, self.optimiser, device=self.device)
        if self.ranks.first:
            self.ranks.barrier()
        return loaded

    def train(
        self, batches: TrainBatches, *, start: int, seconds: float, write_row: WriteRow
    ) -> None:
        """Steps start+1 .. train_steps, with log rows, evaluations and checkpoints when due.

        Args:
            seconds: trained before this session.
            write_row: writes a row of the log.
        """
        settings, self.write_row = self.settings, write_row
        self.session_began = time.monotonic()
        self.began = self.session_began - seconds
        checkpoint_due = checkpoint_times(
            every_steps=settings.checkpoint_every_steps,
            every_minutes=settings.checkpoint_every_minutes,
            steps=settings.train_steps,
        )
        every = settings.evaluate_every_steps or math.ceil(settings.train_steps / 4)
        self.start = start
        self.parts.network.train()
        with Progress(start=start, steps=settings.train_steps) as self.progress:
            for number, batch in enumerate(self._timed(batches, start), start=start):
                output = self.update(to_device(batch, self.device), number)
                done = number + 1
                last = done == settings.train_steps
                self.progress.advance()
                if last or done % settings.log_every_steps == 0:
                    self.log(output, done)
                with self._aside():
                    if last or done % every == 0:
                        self.evaluate(done)
                    if checkpoint_due(done):
                        self.save(done)
        self.parts.network.eval()

    def update(self, batch: Batch, number: int) -> StepOutput:
        """One optimiser step, without reading from the device; noise follows (seed, step)."""
        settings = self.settings
        for group in self.optimiser.param_groups:
            group["lr"] = self._rate(number)
        torch.manual_seed(stream_seed("dropout", settings.seed, number, self.ranks.rank))
        generator = stream_generator("noise", settings.seed, number, device=self.device)
        with autocast(self.device, settings.precision):
            output = self.step(batch, generator)
        self.finite.add(output, number + 1)
        self.optimiser.zero_grad(set_to_none=True)
        output.loss.backward()
        self.optimiser.step()
        return output

    def log(self, output: StepOutput, done: int) -> None:
        """Write and show loss and terms of a step."""
        self.finite.read()
        values = torch.stack([_detached(value) for value in (output.loss, *output.terms.values())])
        loss, *terms = self.ranks.mean(values).tolist()
        row = {"learning_rate": self._rate(done - 1), "loss": loss}
        row |= dict(zip(output.terms, terms, strict=True))
        training = max(time.monotonic() - self.session_began - self.aside, 1e-6)
        waiting = round(self.waiting / training, 3)
        speed = round((done - self.start) * self.settings.batch_size / training, 1)
        row |= {"waiting": waiting, "images_per_second": speed}
        self.write_row({"step": done, **self._seconds(), **row})
        self.progress.show(loss=f"{row['loss']:.3f}", waiting=f"{waiting:.0%}")

    def evaluate(self, done: int) -> None:
        """Score the network; write and show mIoU by reading."""
        self.finite.read()
        miou = self.evaluation()
        self.write_row({"step": done, **self._seconds(), "miou": miou})
        self.progress.show(mIoU="/".join(f"{value:.1f}" for value in miou.values()))
        report_evaluation(miou, step=done, steps=self.settings.train_steps)

    def save(self, done: int) -> None:
        """Write a checkpoint of finite weights; of several processes the first does."""
        self.finite.read()
        if not self.ranks.first:
            return
        save_checkpoint(self.run, self.parts, self.optimiser, step=done, device=self.device)

    @contextlib.contextmanager
    def _aside(self) -> Iterator[None]:
        """Count the seconds inside as not spent on training steps."""
        began = time.monotonic()
        yield
        self.aside += time.monotonic() - began

    def _timed(self, batches: TrainBatches, start: int) -> Iterator[Batch]:
        """Batches in order; the time until each is there is counted as waiting."""
        settings = self.settings
        loader = iter(
            batches.loader(start=start, steps=settings.train_steps, workers=settings.workers)
        )
        while True:
            asked = time.monotonic()
            batch = next(loader, None)
            self.waiting += time.monotonic() - asked
            if batch is None:
                return
            yield batch

    def _rate(self, number: int) -> float:
        settings = self.settings
        return learning_rate_at(
            number,
            peak=settings.learning_rate,
            steps=settings.train_steps,
            warmup_steps=settings.warmup_steps,
            poly_power=settings.poly_power,
        )

    def _seconds(self) -> dict[str, float]:
        return {"seconds": round(time.monotonic() - self.began, 1)}


def _skip(row: dict[str, Any]) -> None:
    """Stands for the log where another process writes it."""


def _detached(value: Tensor) -> Tensor:
    return value.detach().float()


def report_evaluation(miou: dict[str, float], *, step: int, steps: int) -> None:
    """Print mIoU by reading; in the second half warn where a teacher ignores its label."""
    readings = ", ".join(f"{reading} {value:.1f}" for reading, value in miou.items())
    report(f"step {step} of {steps}: mIoU {readings}")
    if {"true_label", "foreign_label"} <= miou.keys() and 2 * step > steps:
        reliance = miou["true_label"] - miou["foreign_label"]
        if reliance < IGNORED_LABEL:
            report(
                f"warning: reliance (true minus foreign label) is {reliance:.1f} mIoU: "
                "this teacher ignores its label. Raise label_scale, lower consistency_weight or "
                "learning_rate, or train longer."
            )


def checkpoint_times(
    *, every_steps: int, every_minutes: float, steps: int
) -> Callable[[int], bool]:
    """Step -> whether a checkpoint is due: by steps, minutes since the last one, at the end."""
    last = time.monotonic()

    def due(done: int) -> bool:
        nonlocal last
        minutes = (time.monotonic() - last) / 60
        is_due = done % every_steps == 0 or done == steps or 0 < every_minutes <= minutes
        if is_due:
            last = time.monotonic()
        return is_due

    return due
