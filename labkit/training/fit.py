"""Train one run from its settings to its complete manifest."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from safetensors.torch import save

from labkit.errors import FileError
from labkit.networks.weights import some_names
from labkit.records import Run, start_run, write_bytes, write_json
from labkit.records.artifacts import save_arrays
from labkit.training.checkpoint import TrainedParts, drop_checkpoints
from labkit.training.distributed import Ranks, process_group, synchronise_batch_norm
from labkit.training.evaluate import SplitCounts, frame_arrays, metrics_record, score_split
from labkit.training.experiment import (
    Experiment,
    exported_weights,
    load_weights,
    prepare,
    training_step,
)
from labkit.training.loop import train
from labkit.training.planning import plan_run
from labkit.training.progress import report
from labkit.training.shapes import Named, shape_lines


def train_run(role: str, values: Mapping[str, Any]) -> Run:
    """Train the run that a role and its settings make; a complete run is left as it is.

    Args:
        role: "teacher" or "student".
        values: settings that differ from the data set's recipe.

    Returns:
        The complete run.

    Raises:
        LabkitError: by kind, as `plan_run` and `fit` describe.
    """
    run = plan_run(role, values)
    report(run.run_id)
    fit(prepare(run))
    return run


def fit(experiment: Experiment, *, watch: Callable[[], None] = lambda: None) -> dict[str, Any]:
    """Train from the last checkpoint, score, save and record; a complete run is only read.

    Args:
        watch: called after every evaluation of the first process; leaves the network as it is.

    Returns:
        The run's metrics.

    Raises:
        FileError: another process trains this run, or something cannot be written.
        TrainingError: the loss is not finite, or memory ran out.
        RecordError: a complete run's files are not those it was completed with.
    """
    run = experiment.run
    with process_group() as ranks, _lock(run, ranks):
        if ranks.share(run.state) != "complete":
            return _fit(experiment, ranks, watch)
        if ranks.first:
            drop_checkpoints(run)  # left by a kill between the manifest and their removal
        load_weights(experiment)
        report(f"{run.run_id} is complete; its weights are loaded.")
        return run.metrics()


@contextlib.contextmanager
def _lock(run: Run, ranks: Ranks) -> Iterator[None]:
    """The run's lock, held by the first process before the others go on."""
    with run.lock() if ranks.first else contextlib.nullcontext():
        ranks.barrier()
        yield


def _fit(experiment: Experiment, ranks: Ranks, watch: Callable[[], None]) -> dict[str, Any]:
    run, settings, network = experiment.run, experiment.settings, experiment.network
    counts: dict[str, SplitCounts] = {}  # of the latest evaluation; the last is at the last step

    def evaluation() -> dict[str, float]:
        ranks.share_buffers(network)
        split, workers = experiment.val_split, settings.workers
        counts.update(score_split(experiment, split, workers=workers, ranks=ranks))
        if ranks.first:
            watch()
        return {reading: split_counts.scores().miou for reading, split_counts in counts.items()}

    if ranks.first:
        report(start_run(run, device=experiment.device.type))
        report("\n".join([*describe_networks(experiment), *describe_distillers(experiment)]))
        report(getattr(experiment.train_split, "note", ""))  # such as: the plain VOC split
    ranks.barrier()
    try:
        synchronise_batch_norm(network, experiment.device, ranks)
        train(
            training_step(experiment, ranks),
            TrainedParts(network, experiment.distiller),
            ranks.batches(experiment.train_batches),
            run=run,
            evaluation=evaluation,
            device=experiment.device,
            ranks=ranks,
            first_row=_distillation_facts(experiment),
        )
        if not counts:  # an earlier process stopped between the last checkpoint and the manifest
            evaluation()
        if ranks.first:
            _write_outputs(experiment, counts)
            run.complete(**_facts(experiment, ranks))
    except BaseException as error:
        state = "failed" if isinstance(error, Exception) else "stopped"
        with contextlib.suppress(FileError):  # what cannot be written is not complete either
            if ranks.first:
                run.mark(state, error=f"{type(error).__name__}: {error}"[:2000])
        raise
    if ranks.first:
        drop_checkpoints(run)
    ranks.barrier()
    return run.metrics()


def describe_networks(experiment: Experiment) -> list[str]:
    """Lines of the networks that take part, their strides and the grid on which they compare."""
    settings, teacher = experiment.settings, experiment.teacher
    networks = {experiment.run.role: Named(settings, experiment.network)}
    strides = [getattr(settings, "distance_stride", 1)]
    if teacher:
        networks["teacher"] = Named(teacher.settings, teacher.network)
        options = settings.distiller_options.items()
        strides += [value for name, value in options if name.endswith(".stride")]
    crop = (settings.crop_height, settings.crop_width)
    lines = shape_lines(networks, crop=crop, distance_stride=max(strides))
    left_over = getattr(experiment.network, "left_over", ())
    if left_over:
        lines.append(f"encoder weights: left over in the file: {some_names(left_over)}")
    return lines


def describe_distillers(experiment: Experiment) -> list[str]:
    """Lines of the distillers with the weights they have, and of the layers added for them."""
    distiller = experiment.distiller
    if distiller is None:
        return []
    weights = "+".join(f"{name}:{weight:g}" for name, weight in distiller.weights.items())
    return [f"distillation: {weights}", *distiller.describe()]


def _write_outputs(experiment: Experiment, counts: Mapping[str, SplitCounts]) -> None:
    """Write metrics.json, frames.npz and model.safetensors."""
    folder, split = experiment.run.folder, experiment.val_split
    metrics = metrics_record(experiment, counts, experiment.settings.score_split, split)
    weights = exported_weights(experiment.network)
    weights = {name: value.cpu().contiguous() for name, value in weights.items()}
    write_bytes(folder / "model.safetensors", save(weights))
    save_arrays(folder / "frames.npz", frame_arrays(counts, split))
    write_json(folder / "metrics.json", metrics)


def _facts(experiment: Experiment, ranks: Ranks) -> dict[str, Any]:
    """What the manifest says of a training beside its settings and provenance."""
    settings, rows = experiment.settings, experiment.run.log_rows()
    return {
        "seconds": max((row.get("seconds", 0.0) for row in rows), default=0.0),
        "images_seen": settings.train_steps * settings.batch_size,
        "device": experiment.device.type,
        "precision": experiment.precision,
        "processes": ranks.world,
        "compiled": settings.compile,
        "data_note": getattr(experiment.train_split, "note", ""),
    } | _distillation_facts(experiment)


def _distillation_facts(experiment: Experiment) -> dict[str, Any]:
    """Weights the distillers had, calibrated ones included, and the layers added for them."""
    distiller = experiment.distiller
    if distiller is None:
        return {}
    return {"distillation_weights": distiller.weights, "adapters": distiller.describe()}
