"""What explorers conclude: an edit's verdict, the least right class, a run's baseline."""

import numpy as np
import pytest
import torch

from labkit.datasets import dataset_info
from labkit.explore.confusion import Confusion, confusion_panel
from labkit.explore.edits import REMOVED, describe_effect
from labkit.explore.teachers import related_runs
from labkit.training.experiment import plan_run
from tests.explorers import SIZES
from tests.training import SMALL

ROAD, BUILDING = 0, 2


@pytest.mark.parametrize(
    ("edit", "before", "after", "follows"),
    [
        ("building", "bbbb", "bbbb", "neither"),
        ("building", "rrrr", "rrrr", "the image"),
        ("building", "rrrr", "bbbb", "the label"),
        ("building", "rbbb", "bbbb", "the label"),
        ("building", "rrrr", "ssss", "neither"),
        (REMOVED, "bbbb", "bbbb", "neither"),
        (REMOVED, "rrrr", "rrss", "the image"),
        (REMOVED, "rrrr", "rsss", "the label"),
    ],
)
def test_an_edit_s_verdict_counts_what_the_edit_changed(edit, before, after, follows):
    info = dataset_info("streets")
    ids = {"r": ROAD, "b": BUILDING, "s": info.class_id("sky")}
    assert info.class_names[ROAD] == "road"
    assert info.class_names[BUILDING] == "building"
    truth = torch.full((1, 4), ROAD)
    answers = {
        "true label": torch.tensor([[ids[one] for one in before]]),
        "edited label": torch.tensor([[ids[one] for one in after]]),
    }
    _, verdict = describe_effect(truth == ROAD, truth, answers, info, edit=edit)
    assert verdict.startswith(f"The prediction follows {follows}:")


def test_a_class_without_a_labelled_pixel_is_not_least_right():
    info = dataset_info("streets")
    counts = np.diag([8, 6, 0, 9, 9, 9, 9, 9])
    counts[:2, 2] = 1, 4
    panel = confusion_panel(Confusion(counts, 1), info, title="confusion")
    assert panel.note.endswith(f"least right: {info.class_names[1]}")
    assert info.class_names[2] not in panel.alt


def test_a_baseline_is_the_same_student_alone(tmp_path):
    def planned(seed=0, **values):
        given = SMALL | SIZES | {"runs": str(tmp_path), "seed": seed} | values
        return plan_run("student", given)

    first, same, longer, fewer = (
        planned(), planned(seed=1), planned(train_steps=9), planned(train_size=4),
    )  # fmt: skip
    assert related_runs([longer, fewer, same, first], first) == [first, same]
