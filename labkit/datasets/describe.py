"""What to download for a data set, from where, in which layout, under which terms."""

from labkit.datasets import dataset_info, folder
from labkit.datasets.base import DatasetInfo

PROTOCOLS = {
    "native": "images and labels at native size",
    "short:512": "images with a short side of 512 pixels, labels at native size",
}


def describe_dataset(name: str) -> str:
    """Return the description of a data set.

    Raises:
        SettingsError: no such data set.
    """
    info = folder.TEMPLATE if name == "folder" else dataset_info(name)
    blocks = [
        ("Classes", _classes(info)),
        ("Frames", _frames(info)),
        ("From", info.source),
        ("Terms", info.terms),
        ("Files, below the data folder (LABKIT_DATA or data_root)", info.layout),
        ("Recipes", "\n".join(_recipe(info, recipe) for recipe in info.recipes)),
    ]
    if info.contains:
        blocks.append(
            ("Not to be scored", f"on {', '.join(sorted(info.contains))}: the training split of "
             f"{name} contains its images")
        )  # fmt: skip
    if not info.test_is_scored:
        blocks.append(("Test", "its labels are not public; it has no score here"))
    return "\n".join([name, *(f"\n{title}\n{_indented(text)}" for title, text in blocks if text)])


def _classes(info: DatasetInfo) -> str:
    if not info.class_names:
        return "your own, named in dataset.json"
    return f"{info.num_classes}: {', '.join(info.class_names)}; void is left out of every score"


def _frames(info: DatasetInfo) -> str:
    return ", ".join(f"{split} {count}" for split, count in info.sizes.items())


def _recipe(info: DatasetInfo, name: str) -> str:
    """Network, steps, crop and scoring of a recipe in one line."""
    recipe = info.recipes[name]
    steps = recipe.get("train_steps", recipe.get("teacher.train_steps"))
    size = recipe.get("score_size", "native")
    scoring = PROTOCOLS.get(size, f"images at {size}, labels at native size")
    encoder = recipe.get("encoder", recipe.get("student.encoder"))
    return (
        f"{name}: {recipe['architecture']} {encoder}, {steps} steps of {recipe['batch_size']}, "
        f"crop {recipe['crop_height']} x {recipe['crop_width']}; scored: {scoring}"
    )


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())
