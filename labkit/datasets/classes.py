"""Tables of classes: names, ids in the files and colours, from tables/*.csv.

Columns: train_id (255 = void), source_id (the id in the set's own table), name, red, green, blue.
"""

import csv
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from labkit.method.noising import IGNORE_INDEX

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class ClassTable:
    """Classes in the order of their train ids, and the source ids that are void."""

    names: tuple[str, ...]
    source_ids: tuple[int, ...]
    palette: tuple[Colour, ...]
    void_ids: tuple[int, ...]  # negative ones included

    def raw_ids(self, *, shift: int = 0) -> dict[int, int]:
        """Return train ids (255 = void) by raw value: source id + shift, where not negative."""
        ids = dict.fromkeys(self.void_ids, IGNORE_INDEX)
        ids |= {source: train for train, source in enumerate(self.source_ids)}
        return {source + shift: train for source, train in ids.items() if source + shift >= 0}


@lru_cache
def load_classes(name: str) -> ClassTable:
    """Return the table of a data set.

    Raises:
        ValueError: the train ids are not 0, 1, 2, ... in order.
    """
    path = Path(__file__).parent / "tables" / f"{name}.csv"
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    classes = [row for row in rows if int(row["train_id"]) != IGNORE_INDEX]
    if [int(row["train_id"]) for row in classes] != list(range(len(classes))):
        raise ValueError(f"{path.name}: expected train ids 0, 1, 2, ... in order.")
    return ClassTable(
        names=tuple(row["name"] for row in classes),
        source_ids=tuple(int(row["source_id"]) for row in classes),
        palette=tuple((int(r["red"]), int(r["green"]), int(r["blue"])) for r in classes),
        void_ids=tuple(int(r["source_id"]) for r in rows if int(r["train_id"]) == IGNORE_INDEX),
    )


def bit_colour(category: int) -> Colour:
    """Return the colour of an id by Pascal VOC's rule; injective on 0-255.

    Bits 0, 1, 2 of the id become the highest bits of red, green, blue, bits 3, 4, 5 the next, ...
    """
    channels = [0, 0, 0]
    for bit in range(8):
        channels[bit % 3] |= (category >> bit & 1) << (7 - bit // 3)
    return channels[0], channels[1], channels[2]
