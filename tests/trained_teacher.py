"""A small trained teacher whose images are scored smaller than their labels, and changed splits."""

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from labkit.attribution.request import altered
from labkit.training.experiment import Experiment
from labkit.training.fit import fit
from tests.training import teacher

ROAD = 0  # of streets: in every frame
_FOLDERS: list[TemporaryDirectory] = []  # removed when the tests end


@cache
def trained_teacher() -> Experiment:
    """An assisted teacher after two steps, complete; made once."""
    _FOLDERS.append(TemporaryDirectory(ignore_cleanup_errors=True))
    experiment = teacher(Path(_FOLDERS[-1].name) / "runs", train_steps=2, score_size="45x80")
    fit(experiment)
    return experiment


class WithSplit:
    """A split in which some frames are replaced."""

    def __init__(self, split, frames):
        self.split, self.frames = split, frames

    def __len__(self):
        return len(self.split)

    def __getitem__(self, index):
        return self.frames.get(index) or self.split[index]

    def size(self, index):
        return tuple(self[index].target.shape)

    def frame_name(self, index):
        return self.split.frame_name(index)


def with_val_split(experiment, split):
    other = altered(experiment)
    vars(other)["val_split"] = split
    return other
