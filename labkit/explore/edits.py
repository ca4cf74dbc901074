"""An edited label: one region gets another class, and whether the prediction follows it."""

import torch
from torch import Tensor

from labkit.datasets import DatasetInfo
from labkit.explore.regions import region_at
from labkit.method import IGNORE_INDEX

AS_IT_IS, REMOVED = "as it is", "removed (void)"
LEAST = 25  # percent of a region that a prediction has to cover to follow label or image


def edit_label(
    truth: Tensor, info: DatasetInfo, *, x: float, y: float, edit: str
) -> tuple[Tensor, Tensor]:
    """The region under a point, and the label with that region edited.

    Args:
        truth: (H, W) class ids.
        x, y: of the point, percent of width and height.
        edit: a class name, "removed (void)" or "as it is".

    Returns:
        (H, W) bool, and (H, W) class ids.
    """
    height, width = truth.shape
    row, column = (
        min(int(share * size / 100), size - 1) for share, size in ((y, height), (x, width))
    )
    region = torch.from_numpy(region_at(truth.numpy(), row, column))
    if edit == AS_IT_IS:
        return region, truth
    new = IGNORE_INDEX if edit == REMOVED else info.class_names.index(edit)
    return region, truth.masked_fill(region, new)


def describe_effect(
    region: Tensor, truth: Tensor, answers: dict[str, Tensor], info: DatasetInfo, *, edit: str
) -> tuple[str, str]:
    """The edited region in words, and a verdict: whether the prediction follows label or image.

    Args:
        region: (H, W) bool; truth: (H, W) class ids.
        answers: predictions (H, W) with the "true label" and with the "edited label".
    """
    old_id = int(truth[region][0])
    names = [*info.class_names, "void"]
    old = names[min(old_id, info.num_classes)]
    description = f"the {old} region of {int(region.sum())} pixels, {_edit_text(edit, old)}"
    before, after = answers["true label"], answers["edited label"]
    if edit in (AS_IT_IS, old) or old_id == IGNORE_INDEX:
        return (
            description,
            "Click a labelled region and give it another class to see what the prediction follows.",
        )
    kept, had = (100 * (one[region] == old_id).float().mean().item() for one in (after, before))
    elsewhere = 100 * (before != after)[~region].float().mean().item() if (~region).any() else 0.0
    text = f"{old} on {had:.0f} % of the edited region before, {kept:.0f} % after"
    taken = 0.0
    if edit != REMOVED:
        new = [one[region] == names.index(edit) for one in (before, after)]
        shares = [100 * one.float().mean().item() for one in new]
        taken = 100 * (new[1] & ~new[0]).float().mean().item()
        text += f"; {edit} {shares[0]:.0f} % before, {shares[1]:.0f} % after"
    follows = _followed(had, kept, taken, removed=edit == REMOVED)
    description += f"; {elsewhere:.1f} % of the prediction elsewhere changed"
    return description, f"The prediction follows {follows}: {text}."


def _followed(had: float, kept: float, taken: float, *, removed: bool) -> str:
    """What the prediction of an edited region follows: the label, the image or neither.

    Args:
        had, kept: percent of the region predicted as its true class before and after.
        taken: percent predicted as the new class only after.
        removed: the region has no new class.
    """
    if taken >= LEAST and taken > kept:
        return "the label"
    if had < LEAST:  # the edit had nothing to change, or to leave
        return "neither"
    if removed:
        return "the image" if kept >= had / 2 else "the label"
    return "the image" if kept >= LEAST else "neither"


def _edit_text(edit: str, old: str) -> str:
    if edit in (AS_IT_IS, old):
        return "left as it is"
    return "removed (void)" if edit == REMOVED else f"labelled {edit}"
