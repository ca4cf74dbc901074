"""frames.npz holds counts of one shape, or is refused by the run's name."""

import io
import zipfile

import numpy as np
import pytest

from labkit.errors import RecordError
from labkit.records.artifacts import npz_bytes
from labkit.records.counts import read_counts
from tests.runs import counts

SOUND = counts(("image",), 3, 50.0)
NAME = "image.whole.hits"


def huge_header() -> bytes:
    """An archive whose array claims far more values than it holds."""
    header = io.BytesIO()
    shape = {"descr": "<i8", "fortran_order": False, "shape": (10**12, 10**3)}
    np.lib.format.write_array_header_1_0(header, shape)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("frames.npy", header.getvalue())
    return packed.getvalue()


def test_sound_counts_are_read(tmp_path):
    (tmp_path / "frames.npz").write_bytes(npz_bytes(SOUND))
    read = read_counts(tmp_path / "frames.npz", run="r")
    assert read.keys() == SOUND.keys()
    assert (read[NAME] == SOUND[NAME]).all()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PK\x03\x04",
        npz_bytes({}),
        npz_bytes({"frames": SOUND["frames"]}),
        npz_bytes({name: value for name, value in SOUND.items() if name != "frames"}),
        npz_bytes(SOUND | {"frames": np.arange(3)}),
        npz_bytes(SOUND | {NAME: SOUND[NAME].astype(float)}),
        npz_bytes(SOUND | {NAME: -SOUND[NAME]}),
        npz_bytes(SOUND | {NAME: SOUND[NAME][:2]}),
        npz_bytes(SOUND | {NAME: SOUND[NAME][:, :2]}),
        npz_bytes(SOUND | {"image.elsewhere.hits": SOUND[NAME]}),
        npz_bytes(SOUND | {"x": SOUND[NAME]}),
        npz_bytes(SOUND | {NAME: np.array([[{}]], dtype=object)}),
        npz_bytes(SOUND)[:-300],
        huge_header(),
    ],
)
def test_anything_else_is_refused_by_name(tmp_path, content):
    (tmp_path / "frames.npz").write_bytes(content)
    with pytest.raises(RecordError, match=r"run r: frames\.npz ") as caught:
        read_counts(tmp_path / "frames.npz", run="r")
    assert str(caught.value).isprintable()


def test_an_archive_that_unpacks_to_gigabytes_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("labkit.records.counts.LARGEST_COUNTS", 10_000)
    packed = npz_bytes(SOUND | {NAME: np.zeros((3, 10_000), np.int64)})
    assert len(packed) < 10_000
    (tmp_path / "frames.npz").write_bytes(packed)
    with pytest.raises(RecordError, match="too large"):
        read_counts(tmp_path / "frames.npz", run="r")
