"""Scores of a complete run on any split, kept in the run's folder."""

from labkit.datasets import check_scored, dataset_info, open_split
from labkit.errors import DataError
from labkit.records import find_run, now, provenance, runs_folder, write_json
from labkit.records.artifacts import save_arrays
from labkit.settings import EvaluateSettings
from labkit.training.evaluate import frame_arrays, metrics_record, score_split
from labkit.training.experiment import load_experiment
from labkit.training.preflight import check_data_files


def evaluate_run(name: str, settings: EvaluateSettings) -> list[str]:
    """Score a complete run on a split and keep the result in its folder.

    Writes evaluations/<split>.json, the scores, and evaluations/<split>.npz, arrays like those of
    frames.npz. The names begin with the data set where it is not the run's own, and end with the
    number of frames where not all were scored.

    Args:
        name: run id, the beginning of one, or a run folder.

    Returns:
        Lines to print: the protocol, one per reading, and the file.

    Raises:
        RecordError: no such complete run.
        DataError: another data set's classes differ, or its files are missing or malformed.
    """
    run = find_run(name, settings.runs)
    changes = settings.model_dump(include={"data_root", "device", "threads", "scoring_batch"})
    experiment = load_experiment(run, **changes)
    dataset, root = settings.dataset or run.settings.dataset, settings.data_root
    info = dataset_info(dataset, root=root)
    check_scored(info, settings.split, trained_on=experiment.info)
    class_names = info.class_names
    if class_names != experiment.info.class_names:
        raise DataError(
            f"{dataset}: its classes are {', '.join(class_names)}; expected the run's, "
            f"{', '.join(experiment.info.class_names)}."
        )
    cache = runs_folder(settings.runs) / ".preflight"
    data = check_data_files(dataset, settings.split, root=root, size=settings.size, cache=cache)
    split = open_split(dataset, settings.split, root=root, size=settings.size)
    counts = score_split(experiment, split)
    metrics = metrics_record(experiment, counts, settings.split, split)
    stem = settings.split if dataset == run.settings.dataset else f"{dataset}-{settings.split}"
    stem += f"-{settings.size}" if settings.size else ""
    folder = run.folder / "evaluations"
    save_arrays(folder / f"{stem}.npz", frame_arrays(counts, split))
    facts = {
        "run_id": run.run_id,
        "checkpoint": run.checkpoint_hash(),
        "dataset": dataset,
        "data": data,
        "evaluated": now(),
        "provenance": provenance(experiment.device.type),
    }
    write_json(folder / f"{stem}.json", facts | metrics)
    lines = [
        f"{reading}: mIoU {score['miou']:.2f}, pixel accuracy {score['pixel_accuracy']:.2f}"
        for reading, score in metrics["readings"].items()
    ]
    return [metrics["protocol"], *lines, str(folder / f"{stem}.json")]
