"""coco_stuff_164k: COCO-Stuff on all of COCO 2017, 171 classes, photographs of mixed size.

Source: Caesar et al. 2018, "COCO-Stuff: thing and stuff classes in context". A raw PNG holds the id
of labels.txt minus 1: 0-181, and 255 for void.
"""

from dataclasses import replace

from labkit.datasets import coco_stuff_10k
from labkit.datasets.coco_stuff_10k import CLASSES, CONVERTED_END
from labkit.datasets.files import FileSplit, LabelFormat, id_table
from labkit.datasets.pairing import data_folder, files_by_stem, first_frames, pair_frames

RAW = LabelFormat(
    table=id_table({255: 255} | CLASSES.raw_ids(shift=-1)),
    expected="the 171 used ids of 0-181, and 255 for void",
    all_void=True,
)
CONVERTED = LabelFormat(
    table=id_table({255: 255} | {i: i for i in range(171)}),
    expected="0-170, and 255 for void",
    all_void=True,
)
FOLDERS = {"train": "train2017", "val": "val2017"}

INFO = replace(
    coco_stuff_10k.INFO,
    name="coco_stuff_164k",
    sizes={"train": 118287, "val": 5000},
    contains=frozenset({"coco_stuff_10k"}),
    source=(
        "http://images.cocodataset.org/zips/{train2017,val2017}.zip (18 + 1 GB) into images/, and "
        "http://calvin.inf.ed.ac.uk/wp-content/uploads/data/cocostuffdataset/"
        "stuffthingmaps_trainval2017.zip (659 MB) into annotations/; "
        "not stuff_trainval2017.zip, which has all things as one class"
    ),
    layout=(
        "coco_stuff164k/images/{train2017,val2017}/<id of 12 digits>.jpg\n"
        "coco_stuff164k/annotations/{train2017,val2017}/<id>.png                0-181, 255 = void\n"
        "                          or <id>_labelTrainIds.png, converted:       0-170, 255 = void"
    ),
)


def open_split(split: str, *, root: str = "", size: int = 0) -> FileSplit:
    """Open the frames of one split, sorted by name; raw labels stand over converted ones.

    Raises:
        DataError: folders are missing, or files do not pair up.
    """
    folder = data_folder("coco_stuff_164k", root, "coco_stuff164k", layout=INFO.layout)
    title = f"coco_stuff_164k {split}"
    images = files_by_stem(folder / "images" / FOLDERS[split], suffixes=(".jpg",))
    files = files_by_stem(folder / "annotations" / FOLDERS[split], suffixes=(".png",))
    labels = {
        name.removesuffix(CONVERTED_END): (path, CONVERTED)
        for name, path in files.items()
        if name.endswith(CONVERTED_END)
    }
    labels |= {n: (path, RAW) for n, path in files.items() if not n.endswith(CONVERTED_END)}
    frames = pair_frames(title, images, labels)
    return FileSplit(first_frames(title, frames, size), any_orientation=True)
