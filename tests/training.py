"""Small runs for the tests of training."""

from labkit.records import Run, start_run, write_bytes, write_json
from labkit.training.experiment import Experiment, plan_run, prepare

SMALL = {
    "train_size": 8,
    "val_size": 4,
    "crop_height": 64,
    "crop_width": 64,
    "encoder": "tu-mobilenetv3_small_050",
    "batch_size": 2,
    "train_steps": 4,
    "log_every_steps": 1,
    "threads": 1,
    "device": "cpu",
    "precision": "fp32",
}


class Interrupted(Exception):
    """Stands for a kill."""


def teacher(runs, **values) -> Experiment:
    return prepare(plan_run("teacher", SMALL | {"runs": str(runs)} | values))


def student(runs, **values) -> Experiment:
    return prepare(plan_run("student", SMALL | {"runs": str(runs)} | values))


def weights(experiment: Experiment) -> dict:
    return {name: value.clone() for name, value in experiment.network.state_dict().items()}


def equal(first: dict, second: dict) -> bool:
    """Whether two states hold the same tensors, bit for bit."""
    return first.keys() == second.keys() and all((first[n] == second[n]).all() for n in first)


def raising(error: BaseException):
    """A function of anything that raises an error."""

    def stop(*_, **__):
        raise error

    return stop


def complete_by_hand(run: Run) -> Run:
    """A run completed with small stand-ins for its outputs; nothing is trained."""
    start_run(run)
    reading = {"miou": 50.0, "pixel_accuracy": 50.0, "iou": {"road": 50.0}, "absent": []}
    metrics = {"split": "val", "steps": 1, "readings": {"image": reading}}
    write_json(run.folder / "metrics.json", metrics)
    write_bytes(run.folder / "log.jsonl", b'{"step": 1, "seconds": 1.0}\n')
    write_bytes(run.folder / "model.safetensors", b"")
    write_bytes(run.folder / "frames.npz", b"")
    run.complete()
    return run
