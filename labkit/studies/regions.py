"""Confusions of a complete run per validation frame, apart for pixels near a class boundary and inside."""

from typing import NamedTuple

import numpy as np
import torch

from labkit.datasets import evaluation_batches
from labkit.engine import predictions
from labkit.experiments import EVALUATION_BATCH, load_experiment
from labkit.lnm import IGNORE_INDEX
from labkit.metrics import boundary_mask, confusion_matrix, scores_from_confusion
from labkit.products import save_arrays
from labkit.records import RecordError, Run
from labkit.studies.rows import Study, complete_runs

APART = 0.5  # points of mIoU: more is no rounding of another device, it is other frames


class RegionConfusions(NamedTuple):
    """(F, K, K) int64 counts per frame, rows = label, columns = prediction."""

    boundary: np.ndarray
    interior: np.ndarray

    @property
    def whole(self) -> np.ndarray:
        """Every labelled pixel."""
        return self.boundary + self.interior


def measure(
    study: Study, *, boundary_width: int, data_root: str = "", device: str = "auto", threads: int = 0
) -> dict[str, RegionConfusions]:
    """`region_confusions` of every complete student, by run id."""
    where = {"data_root": data_root, "device": device, "threads": threads}
    return {run.run_id: region_confusions(run, boundary_width=boundary_width, **where) for run in complete_runs(study.students)}


def region_confusions(run: Run, *, boundary_width: int, data_root: str = "", device: str = "auto", threads: int = 0) -> RegionConfusions:
    """A run's answers from the image alone on its own validation frames (its val_size, height and width).

    Kept in the run's folder as evaluations/val-regions.npz, and counted anew where checkpoint or width are others.

    Args:
        run: complete, a student or a plain teacher.
        boundary_width: pixels; see `metrics.boundary_mask`.

    Raises:
        RecordError: the run reads a label, or its score is not the recorded one: the frames are not those it was scored on.
    """
    path = run.folder / "evaluations" / "val-regions.npz"
    made_from = {"checkpoint": np.array(run.checkpoint_hash()), "boundary_width": np.array(boundary_width)}
    if path.is_file():
        with np.load(path) as kept:
            if all(kept[name] == value for name, value in made_from.items()):
                return RegionConfusions(kept["boundary"], kept["interior"])
    found = _counted(run, boundary_width, {"data_root": data_root, "device": device, "threads": threads})
    save_arrays(path, made_from | found._asdict())
    return found


def _counted(run: Run, boundary_width: int, where: dict) -> RegionConfusions:
    experiment = load_experiment(run, **where)
    if experiment.noising is not None:
        raise RecordError(f"run {run.run_id}: reads a label; expected a student or a plain teacher.")
    batches = evaluation_batches(experiment.val_split, experiment.info, batch_size=EVALUATION_BATCH)
    num_classes, counts = experiment.info.num_classes, ([], [])
    answers = predictions(experiment.readings()["image"], batches, device=experiment.device, precision=experiment.precision)
    for prediction, target in answers:
        near = boundary_mask(target[None], width=boundary_width)[0]
        for part, region in zip(counts, (near, ~near), strict=True):
            part.append(confusion_matrix(prediction, target.where(region, IGNORE_INDEX), num_classes=num_classes))
    found = RegionConfusions(*(torch.stack(part).numpy() for part in counts))
    score, recorded = scores_from_confusion(torch.from_numpy(found.whole.sum(0))).miou, run.metrics()["readings"]["image"]["miou"]
    if abs(score - recorded) > APART:
        raise RecordError(
            f"run {run.run_id}: scores {score:.2f} mIoU on val; its record says {recorded:.2f}. "
            "The frames are not those it was scored on: give the same data_root, or delete the run and run it again."
        )
    return found
