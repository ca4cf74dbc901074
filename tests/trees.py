"""Small trees of files in the exact public layouts, with pictures of a few pixels.

Every writer takes the data folder and returns raw labels by (split, frame name).
"""

import json
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from labkit.datasets import open_split
from labkit.errors import DataError

Labels = dict[tuple[str, str], np.ndarray]
SIZES = ((20, 30), (31, 18), (20, 33))  # height, width of photographs


def blocks(seed: int, values, height: int, width: int) -> np.ndarray:
    """Blocks of 5 x 5 pixels of the values, each value at least once where there is room."""
    rng = np.random.default_rng(seed)
    rows, columns = -(-height // 5), -(-width // 5)
    values = np.asarray(values)
    cells = np.resize(rng.permutation(values), rows * columns)
    if len(values) > len(cells):
        cells = rng.choice(values, rows * columns, replace=False)
    ids = rng.permutation(cells).reshape(rows, columns).repeat(5, 0).repeat(5, 1)
    return ids[:height, :width].astype(np.uint8)


def write_image(path: Path, height: int, width: int, *, mode: str = "RGB", seed: int = 0) -> None:
    """A picture of noise in a mode: RGB, L, CMYK or P."""
    path.parent.mkdir(parents=True, exist_ok=True)
    seed = seed or zlib.crc32("/".join(path.parts[-3:]).encode())
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    Image.fromarray(pixels).convert(mode).save(path)


def write_label(path: Path, ids: np.ndarray, *, palette: bool = False) -> None:
    """A PNG of ids: grey, or with a palette whose colours say something else."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(np.asarray(ids, np.uint8))
    if palette:
        picture = picture.convert("L")
        picture.putpalette(
            [c for i in range(256) for c in ((37 * i) % 256, 255 - i, (i * i) % 256)]
        )
    picture.save(path)


# Cityscapes

CITIES = {"train": ("aachen", "zurich"), "val": ("munster",), "test": ("berlin",)}


def write_cityscapes(root: Path, *, frames: int = 2, end: str = "labelIds") -> Labels:
    """Two cities to train, one for each other split; colour and instance files beside labels."""
    folder, raw = root / "cityscapes", {}
    values = range(34) if end == "labelIds" else [*range(19), 255]
    for split, cities in CITIES.items():
        for city in cities:
            for i in range(frames):
                name = f"{city}_{i:06}_000019"
                ids = blocks(len(raw), values, 32, 64)
                if split == "test":
                    ids = np.full_like(ids, 1)
                write_image(
                    folder / "leftImg8bit" / split / city / f"{name}_leftImg8bit.png", 32, 64
                )
                labels = folder / "gtFine" / split / city
                write_label(labels / f"{name}_gtFine_{end}.png", ids)
                write_image(labels / f"{name}_gtFine_color.png", 32, 64, mode="RGBA")
                write_label(labels / f"{name}_gtFine_instanceIds.png", ids)
                (labels / f"{name}_gtFine_polygons.json").write_text("{}", encoding="utf-8")
                raw[split, name] = ids
    return raw


# Pascal VOC

VOC_TRAIN = ("2007_000032", "2007_000039", "2007_000063")
VOC_VAL = ("2007_000033", "2007_000042")
SBD_ONLY = ("2008_000002", "2008_000008", "2009_000006")


def write_voc(root: Path, *, augmented: str = "") -> Labels:
    """Palette labels with void contours.

    Args:
        augmented: "" = plain; "pictures" = SegmentationClassAug of all SBD masks (VOC's val image
            2007_000033 among them) without a list; "list" = with trainaug.txt; "sbd" = .mat files.
    """
    folder, raw = root / "VOCdevkit" / "VOC2012", {}
    lists = folder / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    for split, names in (("train", VOC_TRAIN), ("val", VOC_VAL)):
        (lists / f"{split}.txt").write_text("\n".join(names) + "\n", encoding="utf-8")
        for i, name in enumerate(names):
            height, width = SIZES[i % 3]
            write_image(folder / "JPEGImages" / f"{name}.jpg", height, width)
            raw[split, name] = blocks(i, [*range(21), 255], height, width)
            write_label(
                folder / "SegmentationClass" / f"{name}.png", raw[split, name], palette=True
            )
    if not augmented:
        return raw
    for i, name in enumerate((*SBD_ONLY, VOC_TRAIN[0], VOC_VAL[0])):
        known = {n: ids for (_, n), ids in raw.items()}
        height, width = known[name].shape if name in known else SIZES[i % 3]
        ids = blocks(100 + i, range(21), height, width)  # SBD has no void
        if name in SBD_ONLY:
            write_image(folder / "JPEGImages" / f"{name}.jpg", height, width)
            raw["train", name] = ids
        _write_augmented(root, folder, name, ids, augmented)
    if augmented == "list":
        names = [name for split, name in raw if split == "train"]
        (lists / "trainaug.txt").write_text("\n".join(reversed(names)) + "\n", encoding="utf-8")
    return raw


def _write_augmented(root: Path, folder: Path, name: str, ids: np.ndarray, form: str) -> None:
    if form != "sbd":
        write_label(folder / "SegmentationClassAug" / f"{name}.png", ids)
        return
    from scipy.io import savemat

    path = root / "VOCdevkit" / "VOCaug" / "dataset" / "cls" / f"{name}.mat"
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"Boundaries": np.zeros((1, 1)), "Segmentation": ids, "CategoriesPresent": [1.0]}
    savemat(path, {"GTcls": content})


# ADE20K


def write_ade20k(root: Path) -> Labels:
    """Images of mixed sizes, one grey; values 0-150."""
    folder, raw = root / "ADEChallengeData2016", {}
    for split, place, count in (("train", "training", 4), ("val", "validation", 2)):
        for i in range(count):
            name = f"ADE_{split}_{i + 1:08}"
            height, width = SIZES[i % 3]
            mode = "L" if i == 1 else "RGB"
            write_image(folder / "images" / place / f"{name}.jpg", height, width, mode=mode)
            raw[split, name] = blocks(i, range(151), height, width)
            write_label(folder / "annotations" / place / f"{name}.png", raw[split, name])
    (folder / "objectInfo150.txt").write_text("Idx\tName\n", encoding="utf-8")
    return raw


# COCO-Stuff

UNUSED = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83, 91}  # of labels.txt
USED = [i for i in range(1, 183) if i not in UNUSED]


def write_coco_stuff_10k(root: Path, *, converted: bool = False) -> Labels:
    """Raw .mat files with lists, or mmsegmentation's folders of PNG."""
    folder, raw, names = root / "coco_stuff10k", {}, {"train": [], "val": []}
    for i, split in enumerate(("train", "train", "train", "val", "val")):
        name = f"COCO_train2014_{77 + i:012}"
        height, width = SIZES[i % 3]
        ids = blocks(i, [0, *(range(1, 172) if converted else USED)], height, width)
        place = {"train": "train2014", "val": "test2014"}[split] if converted else ""
        mode = "CMYK" if i == 1 else "RGB"
        write_image(folder / "images" / place / f"{name}.jpg", height, width, mode=mode)
        if converted:
            write_label(folder / "annotations" / place / f"{name}_labelTrainIds.png", ids)
        else:
            _write_stuff(folder / "annotations" / f"{name}.mat", ids)
        raw[split, name] = ids
        names[split].append(name)
    if not converted:
        (folder / "imageLists").mkdir()
        for split, file in (("train", "train.txt"), ("val", "test.txt")):
            text = "\n".join(names[split]) + "\n"
            (folder / "imageLists" / file).write_text(text, encoding="utf-8")
    return raw


def _write_stuff(path: Path, ids: np.ndarray) -> None:
    from scipy.io import savemat

    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"S": ids, "names": np.array(["person"], object), "captions": np.array(["x"], object)}
    savemat(path, content, do_compression=True)


def write_coco_stuff_164k(root: Path, *, form: str = "raw") -> Labels:
    """Raw values 0-181 and 255; form "both" has converted files beside them, "converted" alone."""
    folder, raw = root / "coco_stuff164k", {}
    for split, place, count in (("train", "train2017", 3), ("val", "val2017", 2)):
        for i in range(count):
            name = f"{1000 * (split == 'val') + i + 9:012}"
            height, width = SIZES[i % 3]
            ids = blocks(i, [*(source - 1 for source in USED), 255], height, width)
            mode = "L" if i == 1 else "RGB"
            write_image(folder / "images" / place / f"{name}.jpg", height, width, mode=mode)
            annotations = folder / "annotations" / place
            if form != "converted":
                write_label(annotations / f"{name}.png", ids)
            if form != "raw":
                train_ids = [USED.index(v + 1) if v != 255 else 255 for v in ids.ravel().tolist()]
                converted = np.array(train_ids, np.uint8).reshape(ids.shape)
                write_label(annotations / f"{name}_labelTrainIds.png", converted)
            raw[split, name] = ids
    return raw


# CamVid and a folder of one's own


def write_camvid(root: Path) -> Labels:
    """Frames of 24 x 32."""
    raw = {}
    for split, count in (("train", 4), ("val", 2), ("test", 2)):
        for i in range(count):
            name = f"{split}{i:02}"
            raw[split, name] = blocks(i, range(12), 24, 32)
            write_image(root / "camvid" / split / f"{name}.png", 24, 32)
            write_label(root / "camvid" / f"{split}annot" / f"{name}.png", raw[split, name])
    return raw


def write_folder(root: Path, *, pairs: int = 20, description: bool = True) -> Labels:
    """Pairs in images/ and labels/, ids 0-4 and 255, every 5th for validation."""
    raw = {}
    for i in range(pairs):
        name, height, width = f"pair{i:02}", 24 + i % 3, 32
        split = "val" if (i + 1) % 5 == 0 else "train"
        raw[split, name] = blocks(i, [*range(5), 255], height, width)
        write_image(root / "images" / f"{name}.jpg", height, width)
        write_label(root / "labels" / f"{name}.png", raw[split, name])
    if description:
        content = {
            "classes": {"a": [255, 0, 0], "b": [0, 255, 0], "c": [0, 0, 255],
                        "d": [9, 9, 9], "e": [0, 9, 9]},
            "train": {"images": "images", "labels": "labels"},
            "val_every": 5,
        }  # fmt: skip
        (root / "dataset.json").write_text(json.dumps(content), encoding="utf-8")
    return raw


WRITERS = {
    "ade20k": write_ade20k,
    "camvid": write_camvid,
    "cityscapes": write_cityscapes,
    "coco_stuff_10k": write_coco_stuff_10k,
    "coco_stuff_164k": write_coco_stuff_164k,
    "folder": write_folder,
    "voc": write_voc,
}


def train_both(name: str, root: Path, values: dict):
    """Train an assisted teacher and its student on a tree; their runs."""
    from labkit.training.fit import train_run

    values = {"dataset": name, "data_root": str(root), "runs": str(root / "runs")} | values
    teacher = train_run("teacher", values)
    return teacher, train_run("student", values | {"teacher": teacher.run_id})


def folder_of(root: Path, name: str) -> Path:
    """A set's own folder below the data folder."""
    return root / {"voc": "VOCdevkit/VOC2012", "ade20k": "ADEChallengeData2016",
                   "coco_stuff_10k": "coco_stuff10k", "coco_stuff_164k": "coco_stuff164k",
                   "folder": "."}.get(name, name)  # fmt: skip


def first_fault(name: str, root: Path, split: str = "train") -> str:
    """The message of the first fault that the check before a training meets; "" for none."""
    try:
        frames = open_split(name, split, root=str(root))
        for i in range(len(frames)):
            frames.check(i)
    except DataError as error:
        return str(error)
    return ""
