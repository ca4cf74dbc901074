"""Training, distillation and scoring on every data set's public layout, in its recipe's form."""

import pytest

from tests import trees
from tests.training import SMALL, tiny_networks  # noqa: F401  an autouse fixture

# Of a recipe's form all but the amount of work; pictures of the trees have 20 to 40 pixels.
SHRUNK = {"crop_height": 32, "crop_width": 32, "train_size": 0, "val_size": 0}


@pytest.mark.parametrize("name", trees.WRITERS)
def test_a_teacher_and_its_student_train_and_are_scored(name, tmp_path):
    raw = trees.WRITERS[name](tmp_path)
    scale = {"resize": "native", "score_size": "native"}
    teacher, student = trees.train_both(name, tmp_path, SMALL | SHRUNK | scale | {"train_steps": 2})
    assert set(teacher.metrics()["readings"]) == {"true_label", "foreign_label", "zero_label"}
    assert set(student.metrics()["readings"]) == {"image"}
    counts = student.frame_counts()
    assert len(counts["frames"]) == sum(1 for split, _ in raw if split == "val")
    ids = [ids for (split, _), ids in sorted(raw.items()) if split == "val"]
    labelled = counts["image.whole.labelled"].sum(1)
    assert all(0 < n <= i.size for n, i in zip(labelled, ids, strict=True))
