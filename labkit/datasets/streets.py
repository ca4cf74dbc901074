"""streets: an embedded generator of street scenes, so that everything runs where there is no data.

Eight classes seen from a moving car: textured, noisy, low in contrast, with thin poles and small persons.
A scene is a function of (split, index) and of the size asked for; nothing is stored.
"""

from functools import lru_cache

import numpy as np
import torch

from labkit.config import Recipe
from labkit.datasets._info import DatasetInfo, Sample
from labkit.lnm import IGNORE_INDEX
from labkit.streams import stream_seed

ROAD, PAVEMENT, BUILDING, SKY, TREE, POLE, CAR, PERSON = range(8)

INFO = DatasetInfo(
    name="streets",
    class_names=("road", "pavement", "building", "sky", "tree", "pole", "car", "person"),
    palette=((128, 64, 128), (244, 35, 232), (102, 102, 112), (70, 130, 180), (107, 142, 35), (250, 200, 30), (0, 0, 200), (220, 20, 60)),
    mean=(0.45, 0.45, 0.45),
    std=(0.16, 0.16, 0.16),
    recipes={
        # The distance was chosen by trials of one seed (figures/streets/trials): of KD and CWD at several weights and temperatures,
        # only CWD at temperature 1 and the decoder's own stride was better than no teacher.
        "default": Recipe(
            train_size=400, val_size=300, height=64, width=128, crop_height=64, crop_width=128,
            scale_min=1, scale_max=1, brightness=0, architecture="unet", encoder="tu-mobilenetv3_small_100",
            teacher_steps=1200, student_steps=800, batch_size=8, optimiser="adamw", learning_rate=2e-3,
            weight_decay=1e-2, warmup_steps=30, label_scale=3, consistency_weight=0.1,
            distance="cwd", distillation_weight=3, distillation_temperature=1,
        ),
    },
    is_video=False,
)  # fmt: skip

# Mean colour of each class (RGB, 0-1): near one another, so that texture and place must be read too.
COLOURS = np.array([
    [.40, .40, .42], [.48, .46, .45], [.47, .43, .41], [.60, .63, .68], [.36, .43, .33], [.42, .42, .43], [.44, .42, .44], [.45, .41, .40],
])  # fmt: skip
COLOUR_SPREAD = np.array([.04, .05, .08, .08, .06, .09, .16, .14])  # std of an object's own colour  # fmt: skip
TEXTURE = np.array([.035, .045, .05, .02, .10, .03, .06, .06])  # strength of the blotches of a class  # fmt: skip
SENSOR_NOISE = 0.07  # std of the pixel noise
DEFAULT_SIZES = {"train": 400, "val": 300, "test": 300}


def open_split(split: str, *, root: str, size: int, height: int, width: int) -> "Streets":
    """Scenes of one split; any size and number. `root` is not used."""
    return Streets(split, size or DEFAULT_SIZES[split], height, width)


class Streets:
    """Scenes made on first use and kept."""

    def __init__(self, split: str, size: int, height: int, width: int) -> None:
        self.split, self.size, self.height, self.width = split, size, height, width
        self._made: dict[int, Sample] = {}

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < self.size:
            raise IndexError(f"streets {self.split}: no scene {index}; it has {self.size}.")
        if index not in self._made:
            seed = stream_seed(f"streets {self.split}", index)
            image, target = make_scene(seed, height=self.height, width=self.width)
            self._made[index] = Sample(torch.from_numpy(image), torch.from_numpy(target))
        return self._made[index]

    def frame_name(self, index: int) -> str:
        return f"{self.split}_{index:05d}"


def make_scene(seed: int, *, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """One street scene.

    Args:
        seed: the scene is a function of it and of the size.
        height, width: pixels.

    Returns:
        image (3, H, W) uint8 RGB; target (H, W) int64 with 255 = void (own bonnet, unknown things).
    """
    rng = np.random.Generator(np.random.Philox(seed))
    canvas = _Canvas(rng, height, width)
    horizon, vanishing = rng.uniform(0.34, 0.48), rng.uniform(0.7, 1.3)
    _paint_ground(canvas, horizon, vanishing)
    _paint_backdrop(canvas, horizon)
    for depth in np.sort(rng.uniform(0.04, 1, rng.integers(10, 17))):
        _paint_object(canvas, depth**1.6, horizon, vanishing)
    bonnet = canvas.y > 1 - 0.06 - 0.05 * np.cos((canvas.x - 1) * 1.6) + 0.05
    canvas.target[bonnet] = IGNORE_INDEX
    canvas.colour[bonnet] = rng.normal(0.3, 0.05, 3)
    return _photograph(canvas), canvas.target


class _Canvas:
    """Target and mean colour while a scene is painted. y runs 0-1 down, x runs 0-2 to the right at the usual 1:2 shape."""

    def __init__(self, rng: np.random.Generator, height: int, width: int) -> None:
        self.rng = rng
        self.y, self.x = _grid(height, width)
        self.target = np.full((height, width), SKY, dtype=np.int64)
        self.colour = np.broadcast_to(self.draw_colour(SKY), (height, width, 3)).copy()

    def draw_colour(self, category: int) -> np.ndarray:
        grey = self.rng.normal(0, COLOUR_SPREAD[category])
        return COLOURS[category] + grey + self.rng.normal(0, 0.4 * COLOUR_SPREAD[category], 3)

    def paint(self, region: np.ndarray, category: int, colour: np.ndarray | None = None) -> None:
        self.target[region] = category
        known = category if category != IGNORE_INDEX else CAR
        self.colour[region] = self.draw_colour(known) if colour is None else colour

    def box(self, left: float, right: float, top: float, bottom: float) -> np.ndarray:
        return (self.x >= left) & (self.x < right) & (self.y >= top) & (self.y < bottom)

    def ellipse(self, x: float, y: float, radius_x: float, radius_y: float) -> np.ndarray:
        return ((self.x - x) / radius_x) ** 2 + ((self.y - y) / radius_y) ** 2 < 1


@lru_cache(maxsize=8)
def _grid(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    y = (np.arange(height) + 0.5) / height
    x = 2 * (np.arange(width) + 0.5) / width
    return np.broadcast_to(y[:, None], (height, width)), np.broadcast_to(x[None], (height, width))


def _paint_ground(canvas: _Canvas, horizon: float, vanishing: float) -> None:
    """Pavement down from the horizon, road as a wedge to the vanishing point, a worn lane mark."""
    rng = canvas.rng
    canvas.paint(canvas.y >= horizon, PAVEMENT)
    fall = np.clip(canvas.y - horizon, 0, None) / (1 - horizon)
    left, right = rng.uniform(0.9, 1.5), rng.uniform(0.9, 1.5)
    road = (fall > 0) & (canvas.x > vanishing - 0.04 - left * fall) & (canvas.x < vanishing + 0.04 + right * fall)
    canvas.paint(road, ROAD)
    middle = vanishing + (right - left) / 2 * fall
    mark = road & (np.abs(canvas.x - middle) < 0.012 + 0.02 * fall) & (np.sin(9 / (fall + 0.12)) > 0)
    canvas.colour[mark] += rng.uniform(0.04, 0.14)


def _paint_backdrop(canvas: _Canvas, horizon: float) -> None:
    """A row of buildings with gaps, and trees before them."""
    rng = canvas.rng
    x = rng.uniform(-0.2, 0)
    while x < 2:
        breadth = rng.uniform(0.15, 0.5)
        if rng.random() < 0.75:
            top = horizon - rng.uniform(0.08, 0.42)
            block = canvas.box(x, x + breadth, top, horizon + 0.02)
            canvas.paint(block, BUILDING)
            pitch = rng.uniform(60, 110)
            windows = block & (np.sin(canvas.x * pitch) > 0.2) & (np.sin(canvas.y * pitch * 1.2) > 0.2)
            canvas.colour[windows] += rng.normal(0, 0.07)
        x += breadth
    for _ in range(rng.integers(1, 5)):
        centre, radius = rng.uniform(0, 2), rng.uniform(0.06, 0.2)
        canvas.paint(canvas.ellipse(centre, horizon - 0.7 * radius, radius, radius), TREE)


def _paint_object(canvas: _Canvas, depth: float, horizon: float, vanishing: float) -> None:
    """One car, person, pole, street tree or unknown thing, larger the nearer (depth 0 far, 1 near)."""
    rng = canvas.rng
    kind = rng.choice([CAR, PERSON, POLE, TREE, IGNORE_INDEX], p=[0.36, 0.27, 0.2, 0.12, 0.05])
    ground = horizon + 0.03 + 0.5 * depth
    size = 0.10 + 0.42 * depth  # of a standing person, in heights of the image
    side = rng.choice([-1, 1]) * rng.uniform(0.25, 1.3)
    if kind == CAR:
        _paint_car(canvas, vanishing + side * (0.15 + 0.6 * depth), ground, size)
    elif kind == PERSON:
        _paint_person(canvas, vanishing + side * (0.25 + depth), ground, size)
    elif kind == POLE:
        x = vanishing + np.sign(side) * (0.2 + 1.1 * depth * abs(side))
        breadth = 0.022 + 0.024 * depth
        pole = canvas.box(x, x + breadth, ground - size * rng.uniform(1.5, 2.4), ground)
        canvas.paint(pole, POLE)
    elif kind == TREE:
        x = vanishing + np.sign(side) * (0.3 + 1.2 * depth)
        crown = canvas.ellipse(x, ground - 1.3 * size, 0.45 * size, 0.6 * size)
        canvas.paint(crown | canvas.box(x - 0.05 * size, x + 0.05 * size, ground - 0.9 * size, ground), TREE)
    else:
        x = vanishing + side
        canvas.paint(canvas.box(x, x + size * rng.uniform(0.3, 0.8), ground - size * rng.uniform(0.2, 0.6), ground), IGNORE_INDEX)


def _paint_car(canvas: _Canvas, x: float, ground: float, size: float) -> None:
    rng = canvas.rng
    length, height = size * rng.uniform(0.8, 1.7), size * rng.uniform(0.55, 0.75)
    body = canvas.box(x - length / 2, x + length / 2, ground - 0.6 * height, ground)
    cabin = canvas.ellipse(x, ground - 0.55 * height, 0.38 * length, 0.5 * height) & (canvas.y < ground)
    canvas.paint(body | cabin, CAR)
    canvas.colour[cabin & ~body] -= 0.08
    canvas.colour[body & (canvas.y > ground - 0.12 * height)] -= 0.1


def _paint_person(canvas: _Canvas, x: float, ground: float, size: float) -> None:
    rng = canvas.rng
    trunk = canvas.ellipse(x, ground - 0.62 * size, 0.14 * size, 0.28 * size)
    legs = canvas.box(x - 0.1 * size, x + 0.1 * size, ground - 0.45 * size, ground)
    head = canvas.ellipse(x, ground - 0.93 * size, 0.08 * size, 0.09 * size)
    canvas.paint(trunk | legs | head, PERSON)
    canvas.colour[legs & ~trunk] += rng.normal(0, 0.08)


def _photograph(canvas: _Canvas) -> np.ndarray:
    """Light, class texture, blur and sensor noise: (3, H, W) uint8."""
    rng, (height, width) = canvas.rng, canvas.target.shape
    strength = np.append(TEXTURE, 0.04)[np.where(canvas.target == IGNORE_INDEX, 8, canvas.target)]
    blotches = _blotches(rng, height, width, 32) + _blotches(rng, height, width, 12)
    light = rng.uniform(0.8, 1.2) + 0.15 * _blotches(rng, height, width, 3)
    image = (canvas.colour + (strength * blotches)[..., None]) * light[..., None]
    image = _blurred(image) + rng.normal(0, SENSOR_NOISE, image.shape)
    return np.clip(255 * image, 0, 255).astype(np.uint8).transpose(2, 0, 1).copy()


def _blotches(rng: np.random.Generator, height: int, width: int, cells: int) -> np.ndarray:
    """Smooth noise of unit order: (H, W), `cells` cells down, twice as many across."""
    coarse = rng.normal(0, 1, (1, 1, cells, 2 * cells))
    smooth = torch.nn.functional.interpolate(torch.from_numpy(coarse), (height, width), mode="bilinear", align_corners=False)
    return smooth[0, 0].numpy()


def _blurred(image: np.ndarray) -> np.ndarray:
    """Three-tap blur both ways: (H, W, 3)."""
    padded = np.pad(image, ((1, 1), (1, 1), (0, 0)), mode="edge")
    down = (padded[:-2] + 2 * padded[1:-1] + padded[2:]) / 4
    return (down[:, :-2] + 2 * down[:, 1:-1] + down[:, 2:]) / 4
