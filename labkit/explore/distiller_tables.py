"""Tables of all distillers: what they compare, see and cost, and what students gained by them."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import torch

from labkit.distillers import available, build_distiller, distiller_facts
from labkit.distillers.probe import cost, random_outputs
from labkit.explore.distiller_map import DistillerState, toy_changes

SIZES = ((16, 32), (32, 64), (64, 128))  # of the logits
CLASSES, WIDTHS = 19, (16, 32, 64, 128)
UNSEEN = 1e-5  # relative change of the value below which a change is not seen
TEACHERS = ("plain", "assisted")


def facts_table() -> pd.DataFrame:
    """A row per distiller: what it compares, its tap, default weight, and a line."""
    return pd.DataFrame([distiller_facts(name) for name in available()]).set_index("name")


def changes_table(seed: int = 0) -> pd.DataFrame:
    """A row per distiller, a column per change of `probe.CHANGES`: by how much its value on the toy
    map changes, percent of the value; "" where it does not.
    """
    rows = {
        name: {
            change: "" if moved < UNSEEN else f"{100 * moved:.3g}"
            for change, moved in toy_changes(DistillerState(distiller=name, seed=seed)).items()
        }
        for name in available()
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("distiller")


def cost_table(sizes: Sequence[tuple[int, int]] = SIZES) -> pd.DataFrame:
    """A row per distiller: processor time (ms) and memory (MB) of a forward and backward pass.

    Args:
        sizes: of the logits; one image, 19 classes, four encoder stages, the last 8 times coarser.
    """
    columns = {}
    for size in sizes:
        student, teacher = (
            random_outputs(size, images=1, classes=CLASSES, widths=WIDTHS, seed=seed)
            for seed in (0, 1)
        )
        generator = torch.Generator().manual_seed(2)
        target = torch.randint(CLASSES, (1, 4 * size[0], 4 * size[1]), generator=generator)
        measured = []
        for name in available():
            distiller = build_distiller(name, {}, student=student, teacher=teacher, seed=0)
            measured.append(cost(distiller, student, teacher, target))
        text = f"{size[0]} x {size[1]}"
        columns[f"{text}, ms"] = [one.milliseconds for one in measured]
        columns[f"{text}, MB"] = [one.megabytes for one in measured]
    return pd.DataFrame(columns, index=pd.Index(available(), name="distiller"))


def gains_table(folder: Path) -> pd.DataFrame:
    """Gains over the student without a teacher, mIoU in percent, with calibrated weights.

    Args:
        folder: of the tables of `matrices/distillers.yaml`.

    Returns:
        A row per distiller that has a gain, columns "plain" and "assisted"; empty where there are
        no tables.
    """
    path = folder / "gains.csv"
    if not path.is_file():
        return pd.DataFrame()
    gains = pd.read_csv(path)
    gains = gains[gains.over == "alone"].set_index("method").gain
    rows = {
        name: {teacher: gains.get(f"{name} of {teacher}", float("nan")) for teacher in TEACHERS}
        for name in available()
    }
    return pd.DataFrame.from_dict(rows, orient="index").dropna(how="all").rename_axis("distiller")
