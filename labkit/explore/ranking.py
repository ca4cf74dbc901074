"""Best and worst frames of a class, from the counts that every run records."""

from collections.abc import Mapping

import numpy as np

from labkit.explore.view import Table
from labkit.records import Run

PICKS = (
    "the frame by number", "A's worst of the class", "A's best of the class",
    "most gained, A over B", "most lost, A under B",
)  # fmt: skip
SHOWN = 3  # frames of each end


def frame_ious(run: Run) -> np.ndarray:
    """(F, K) IoU of every frame and class, percent; NaN where the class is in neither.

    Of the run's first reading: the true label for an assisted teacher, else the image.
    """
    counts = run.frame_counts()
    reading = next(name for name in counts if name.endswith(".whole.hits")).split(".")[0]
    hits, labelled, predicted = (
        np.asarray(counts[f"{reading}.whole.{kind}"], dtype=np.float64)
        for kind in ("hits", "labelled", "predicted")
    )
    union = labelled + predicted - hits
    return np.where((union > 0) & (labelled > 0), 100 * hits / np.maximum(union, 1), np.nan)


def scored_frames(run: Run) -> list[str]:
    """Split and name of every frame that scored a run."""
    return [f"{run.settings.score_split}/{name}" for name in run.frame_counts()["frames"]]


def comparable_ious(runs: Mapping[str, Run]) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """IoU of every frame and class by letter: of A, and of the runs that A's frames score.

    Returns:
        `frame_ious` by letter, at most as many frames as A has; and a sentence for every run that
        is left out because other frames score it.
    """
    frames = {k: scored_frames(run) for k, run in runs.items()}
    ious, left_out = {}, []
    for k, run in runs.items():
        if all(a == one for a, one in zip(frames["A"], frames[k], strict=False)):
            ious[k] = frame_ious(run)[: len(frames["A"])]
        else:
            pairs = "; so are A - B and the frames gained or lost most" if k == "B" else ""
            left_out.append(
                f"{k} is scored on other frames than A ({run.settings.score_split} split): its "
                f"best and worst frames are left out{pairs}."
            )
    return ious, tuple(left_out)


def picked_frame(pick: str, frame: int, ious: Mapping[str, np.ndarray], category: int) -> int:
    """The frame that a choice of `PICKS` names; the given one where no frame holds the class, or
    where a gain is asked for and B is not comparable.

    Args:
        ious: of A, and of B where it is comparable, as `comparable_ious`.
    """
    first = ious["A"][:, category]
    if pick == PICKS[0] or np.isnan(first).all():
        return frame
    if pick in PICKS[1:3]:
        return int(np.nanargmin(first) if pick == PICKS[1] else np.nanargmax(first))
    if "B" not in ious:
        return frame
    second = ious["B"][:, category]
    count = min(len(first), len(second))
    gain = first[:count] - second[:count]
    if np.isnan(gain).all():
        return frame
    return int(np.nanargmax(gain) if pick == PICKS[3] else np.nanargmin(gain))


def ranking_table(ious: Mapping[str, np.ndarray], category: int, name: str) -> Table:
    """The best and worst frames of a class by run, and A's gain over B where it is comparable."""
    columns = {k: values[:, category] for k, values in ious.items()}
    if "B" in columns:
        count = min(len(columns[k]) for k in "AB")
        columns["A - B"] = columns["A"][:count] - columns["B"][:count]
    rows = []
    for k, values in columns.items():
        order = [i for i in np.argsort(values, kind="stable") if not np.isnan(values[i])]
        ends = (order[::-1][:SHOWN], order[:SHOWN])
        rows.append((k, *(", ".join(f"{i} ({values[i]:.0f})" for i in one) or "–" for one in ends)))
    caption = f"Frames of A's split by IoU of {name}: number (percent)."
    return Table(caption, ("run", "best", "worst"), tuple(rows))
