"""Every fault in a file names it, what came, what was expected and what to do."""

import os
import random

import numpy as np
import pytest
import torch
from PIL import Image

from labkit.datasets import open_split, pictures
from labkit.datasets.files import LabelFormat, id_table
from labkit.datasets.pairing import files_by_stem
from labkit.errors import DataError

IDS = np.arange(12).reshape(3, 4).repeat(8, 0).repeat(8, 1)  # 24 x 32, every id 0-11
LABEL, FRAME = "trainannot/b.png", "train/b.png"


def write_label(path, ids):
    Image.fromarray(np.asarray(ids, np.uint8)).save(path)


@pytest.fixture
def folder(tmp_path):
    """camvid/ with three sound training pairs: a and b as PNG, c with a JPEG frame."""
    frames, labels = tmp_path / "camvid" / "train", tmp_path / "camvid" / "trainannot"
    pixels = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)
    for path in (frames, labels):
        path.mkdir(parents=True)
    for name in ("a.png", "b.png", "c.jpg"):
        Image.fromarray(pixels).save(frames / name)
        write_label(labels / f"{name[0]}.png", IDS)
    return tmp_path / "camvid"


def opened(folder, *, split="train", size=0):
    return open_split("camvid", split, root=str(folder.parent), size=size)


def check(folder):
    split = opened(folder)
    for i in range(len(split)):
        split.check(i)


def read(folder):
    split = opened(folder)
    return [split[i] for i in range(len(split))]


def cut(path, kept):
    path.write_bytes(path.read_bytes()[:kept])


def two_of_a_stem(folder):
    (folder / "train" / "b.jpg").write_bytes((folder / "train" / "c.jpg").read_bytes())


def pipe(path):
    path.unlink()
    os.mkfifo(path)


BROKEN = "a broken or truncated picture .*; expected a whole PNG or JPEG. Fetch it again."
FAULTS = {
    "image without label": (lambda f: (f / LABEL).unlink(), f"{FRAME}: has no label of that name"),
    "label without image": (lambda f: (f / FRAME).unlink(), f"{LABEL}: has no image of that name"),
    "label of another size": (lambda f: write_label(f / LABEL, IDS[:16]),
        f"{LABEL}: has size 16 x 32; expected the image's, 24 x 32"),
    "unknown ids": (lambda f: write_label(f / LABEL, IDS + 1),
        f"{LABEL}: has unknown ids 12 .64 pixels.; expected class ids 0-10, and 11 for void"),
    "three channels": (lambda f: write_label(f / LABEL, np.stack([IDS] * 3, 2)),
        f"{LABEL}: has mode RGB; expected one channel of class ids"),
    "a JPEG named PNG": (lambda f: Image.fromarray(IDS.astype(np.uint8)).save(f / LABEL, "JPEG"),
        f"{LABEL}: a label as JPEG"),
    "truncated label": (lambda f: cut(f / LABEL, 60), f"{LABEL}: {BROKEN}"),
    "truncated frame": (lambda f: cut(f / FRAME, 1000), f"{FRAME}: {BROKEN}"),
    "truncated JPEG": (lambda f: cut(f / "train/c.jpg", 400), f"train/c.jpg: {BROKEN}"),
    "a text": (lambda f: (f / FRAME).write_text("no picture"), f"{FRAME}: {BROKEN}"),
    "empty label": (lambda f: cut(f / LABEL, 0), f"{LABEL}: the file is empty"),
    "empty frame": (lambda f: cut(f / FRAME, 0), f"{FRAME}: the file is empty"),
    "two of a stem": (two_of_a_stem, f"{FRAME}: lies beside b.jpg; expected one file of a name"),
    "another format": (lambda f: Image.fromarray(np.zeros((24, 32, 3), np.uint8)).save(
        f / FRAME, "BMP"), f"{FRAME}: {BROKEN}"),
    "16 bits": (lambda f: Image.fromarray(IDS.astype(np.uint16) << 8).save(f / FRAME),
        f"{FRAME}: has more than 8 bits per channel"),
    "a pipe": (lambda f: pipe(f / FRAME), f"{FRAME}: is no regular file"),
}  # fmt: skip


@pytest.mark.parametrize("look", [check, read])
@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_explained(folder, look, fault):
    spoil, words = FAULTS[fault]
    look(folder)
    spoil(folder)
    with pytest.raises(DataError, match=words):
        look(folder)


def test_void_everywhere_and_a_turned_frame_do_not_pass_the_check(folder):
    write_label(folder / LABEL, np.full((24, 32), 11))
    with pytest.raises(DataError, match=f"{LABEL}: void at every pixel"):
        check(folder)
    write_label(folder / LABEL, IDS)
    exif = Image.Exif()
    exif[pictures.ORIENTATION] = 6
    Image.fromarray(np.zeros((24, 32, 3), np.uint8)).save(folder / "train" / "c.jpg", exif=exif)
    with pytest.raises(DataError, match=r"c.jpg: has EXIF orientation 6"):
        check(folder)
    assert opened(folder)[2].image.shape == (3, 24, 32)  # as stored


@pytest.mark.parametrize("name", [LABEL, FRAME])
def test_a_file_without_permission_is_named(folder, name, monkeypatch):
    real = type(folder).open

    def forbidden(path, *args, **options):
        if path == folder / name:
            raise PermissionError(13, "Permission denied")
        return real(path, *args, **options)

    monkeypatch.setattr(type(folder), "open", forbidden)
    with pytest.raises(DataError, match=r"b.png: no permission to read it. Allow it .chmod"):
        check(folder)


def test_a_folder_without_permission_is_named(folder, monkeypatch):
    def forbidden(_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(folder), "iterdir", forbidden)
    with pytest.raises(DataError, match=r"train: no permission to list it"):
        opened(folder)


def test_missing_and_empty_folders_are_named(folder, monkeypatch):
    with pytest.raises(DataError, match=r"val: no such folder; expected one with the files"):
        opened(folder, split="val")
    (folder / "val").mkdir()
    (folder / "val" / "notes.txt").touch()
    with pytest.raises(DataError, match=r"val: an empty split; expected .png"):
        opened(folder, split="val")
    with pytest.raises(DataError, match=r"camvid: no folder .*trainannot|camvid: no folder"):
        opened(folder / "elsewhere")
    with pytest.raises(DataError, match=r"no data folder given.*LABKIT_DATA, or .* data_root"):
        open_split("camvid", "train")
    monkeypatch.setenv("LABKIT_DATA", str(folder.parent))
    assert len(open_split("camvid", "train")) == 3


def test_more_frames_than_there_are_is_refused_by_number(folder):
    assert len(opened(folder, size=2)) == 2
    with pytest.raises(DataError, match="has 3 frames; expected at least 4"):
        opened(folder, size=4)


def test_of_many_faults_ten_are_listed_and_the_rest_counted(folder):
    for i in range(13):
        write_label(folder / "trainannot" / f"x{i:02}.png", IDS)
    with pytest.raises(DataError) as caught:
        opened(folder)
    lines = str(caught.value).splitlines()
    assert len(lines) == 12
    assert lines[-1] == "... and 3 more."


def test_a_label_with_a_flipped_byte_never_passes_with_other_ids(folder):
    """Pillow compares the checksums of a PNG's image data only where it is asked to."""
    path = folder / LABEL
    content, rng = path.read_bytes(), random.Random(0)
    expected = torch.from_numpy(np.where(IDS == 11, 255, IDS))
    for position in range(len(content)):
        flipped = bytearray(content)
        flipped[position] ^= 1 << rng.randrange(8)
        path.write_bytes(flipped)
        split = opened(folder)
        try:
            split.check(1)
        except DataError:
            continue
        assert torch.equal(split[1].target, expected), f"byte {position}"


def test_camvid_pairs_by_stem_in_order_and_maps_void(folder):
    write_label(folder / "trainannot" / "a.png", IDS[::-1])
    split = opened(folder)
    assert [split.frame_name(i) for i in range(3)] == ["a", "b", "c"]
    expected = torch.from_numpy(np.where(IDS == 11, 255, IDS))
    assert torch.equal(split[1].target, expected)
    assert torch.equal(split[0].target, expected.flip(0))
    assert split.size(0) == (24, 32)
    assert [path.name for path in split.files(2)] == ["c.jpg", "c.png"]
    with Image.open(folder / "train" / "c.jpg") as file:
        assert torch.equal(split[2].image, torch.from_numpy(np.array(file)).permute(2, 0, 1))


# forms of pictures

COLOUR = np.full((4, 6, 3), (200, 100, 50), np.uint8)


def saved(tmp_path, mode, suffix=".png", **options):
    path = tmp_path / f"{mode}{suffix}"
    picture = Image.fromarray(COLOUR)
    picture = picture.quantize(4) if mode == "P" else picture.convert(mode)
    picture.save(path, **options)
    return path


@pytest.mark.parametrize(
    ("mode", "suffix", "options"),
    [("RGB", ".png", {}), ("RGBA", ".png", {}), ("P", ".png", {}), ("P", ".png", {"bits": 4}),
     ("P", ".png", {"transparency": bytes([0, 9, 9, 9])}), ("CMYK", ".jpg", {"quality": 100})],
)  # fmt: skip
def test_colours_of_every_form_arrive_as_rgb(tmp_path, mode, suffix, options):
    pixels = pictures.read_image(saved(tmp_path, mode, suffix, **options)).astype(int)
    assert pixels.shape == COLOUR.shape
    assert np.abs(pixels - COLOUR).max() <= 3


@pytest.mark.parametrize(("mode", "suffix"), [("L", ".png"), ("LA", ".png"), ("L", ".jpg")])
def test_grey_images_have_three_equal_channels(tmp_path, mode, suffix):
    pixels = pictures.read_image(saved(tmp_path, mode, suffix)).astype(int)
    assert pixels.shape == COLOUR.shape
    assert np.ptp(pixels, axis=2).max() == 0


@pytest.mark.parametrize(
    ("dtype", "form"), [("uint8", "L"), ("uint8", "P"), ("uint16", "I;16"), ("uint8", "4 bits")]
)
def test_ids_of_every_form_arrive_unchanged(tmp_path, dtype, form):
    ids = np.array([[0, 1, 2], [3, 9, 15]], dtype)
    picture = Image.fromarray(ids)
    if form in ("P", "4 bits"):
        picture = picture.convert("L")
        picture.putpalette([value for i in range(256) for value in (i, 255 - i, i // 2)])
    picture.save(tmp_path / "ids.png", **({"bits": 4} if form == "4 bits" else {}))
    assert pictures.read_ids(tmp_path / "ids.png").tolist() == ids.tolist()


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_grey_ids_of_few_bits_are_not_stretched(tmp_path, bits):
    """Pillow returns grey PNGs of 2 and 4 bits in the range 0-255."""
    import struct
    import zlib

    ids = np.array([[0, 1, 2, 3], [3, 2, 1, 0]]) % 2**bits
    rows = b""
    for row in ids:
        packed = int("".join(f"{value:0{bits}b}" for value in row).ljust(8 * 2, "0"), 2)
        rows += b"\0" + packed.to_bytes(2, "big")[: (4 * bits + 7) // 8]

    def chunk(name, body):
        return (
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        )

    header = struct.pack(">IIBBBBB", 4, 2, bits, 0, 0, 0, 0)
    (tmp_path / "few.png").write_bytes(
        pictures.PNG_SIGNATURE
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )
    assert pictures.read_ids(tmp_path / "few.png").tolist() == ids.tolist()


def test_an_id_table_maps_and_refuses(tmp_path):
    labels = LabelFormat(table=id_table({7: 0, 8: 1, 0: 255}), expected="0, 7 and 8")
    ids = np.array([[0, 7], [8, 8]], np.uint8)
    assert labels.target(ids, tmp_path).tolist() == [[255, 0], [1, 1]]
    for dtype, wrong in ((np.uint8, 9), (np.uint16, 300), (np.int32, -1)):
        wide = ids.astype(dtype)
        wide[0, 0] = wrong
        with pytest.raises(DataError, match=rf"unknown ids {wrong} \(1 pixels\); expected 0, 7"):
            labels.target(wide, tmp_path)
    with pytest.raises(ValueError, match="expected 0-255"):
        id_table({-1: 255})


def test_only_pictures_are_listed(tmp_path):
    for name in ("b.png", "a.PNG", "notes.txt", ".hidden"):
        (tmp_path / name).touch()
    assert list(files_by_stem(tmp_path)) == ["a", "b"]
