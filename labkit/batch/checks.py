"""What is checked of a notebook's settings before its kernel starts."""

import os
from pathlib import Path

from labkit import distillers
from labkit.attribution.layers import named_layers
from labkit.attribution.subject import find_teacher
from labkit.batch.matrix import read_matrix
from labkit.datasets import DatasetInfo, dataset_info, open_split
from labkit.errors import SettingsError, nearest_name
from labkit.networks import build_network
from labkit.records.artifacts import figures_manifest
from labkit.settings.base import Settings, echo
from labkit.settings.views import (
    AttributionSettings,
    DistillersSettings,
    NoisingSettings,
    ResultsSettings,
)


def check_view(settings: Settings) -> None:
    """Refuse frames, classes, teachers and layers that do not exist.

    Raises:
        LabkitError: by kind; the message names the setting.
    """
    match settings:
        case NoisingSettings():
            frames = len(open_split(settings.dataset, "val", root=settings.data_root))
            if settings.frame >= frames:
                raise SettingsError(
                    f"setting frame: got {settings.frame}; expected 0 to {frames - 1}, a frame of "
                    f"the validation split of {settings.dataset}.",
                    names=["frame"],
                )
        case ResultsSettings():
            datasets = read_matrix(settings.matrix).datasets
            infos = [dataset_info(name, root=settings.data_root) for name in datasets]
            known = list(dict.fromkeys(name for info in infos for name in info.class_names))
            _check_class(settings.category, known)
        case AttributionSettings():
            _check_attribution(settings)
        case DistillersSettings():
            if settings.distiller not in distillers.available():
                raise SettingsError(
                    f"setting distiller: no distiller {echo(settings.distiller)}; "
                    f"{nearest_name(settings.distiller, distillers.available())}",
                    names=["distiller"],
                )


def check_figures(folder: Path) -> None:
    """Refuse a folder of figures that cannot be written, or that is another program's.

    Raises:
        SettingsError: it cannot be written.
        RecordError: its MANIFEST.json is not labkit's.
    """
    try:
        there = next(path for path in (folder, *folder.parents) if path.exists())
        usable = there.is_dir() and os.access(there, os.W_OK | os.X_OK)
    except (OSError, ValueError):
        usable = False
    if not usable:
        raise SettingsError(
            f"setting figures: got {echo(str(folder))}; expected a folder that can be written.",
            names=["figures"],
        )
    figures_manifest(folder)


def _check_attribution(settings: AttributionSettings) -> None:
    teacher = find_teacher(settings).settings
    if teacher.dataset != settings.dataset:
        raise SettingsError(
            f"setting teacher: was trained on {teacher.dataset}; expected {settings.dataset}.",
            names=["teacher"],
        )
    info: DatasetInfo = dataset_info(settings.dataset, root=settings.data_root)
    _check_class(settings.category, info.class_names)
    wanted = [name.strip() for name in settings.layers.split(",") if name.strip()]
    if not wanted:
        return
    network = build_network(
        teacher.architecture,
        teacher.encoder,
        num_classes=info.num_classes,
        label_channels=teacher.label_channels,
    )
    known = named_layers(network).keys()
    for name in wanted:
        if name not in known:
            raise SettingsError(
                f"setting layers: no layer {echo(name)}; {nearest_name(name[:100], known)}",
                names=["layers"],
            )


def _check_class(category: str, known: list[str] | tuple[str, ...]) -> None:
    if category and category not in known:
        raise SettingsError(
            f"setting category: no class {echo(category)}; {nearest_name(category, known)}",
            names=["category"],
        )
