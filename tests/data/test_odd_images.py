"""Folders as they are: a file that is no image has one line, the rest is read, one at a time."""

import os
import struct
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from isinglass.data.images import MOST_NAMED, read_images
from isinglass.errors import DomainError, FileError, ShapeError
from tests.seeds import numpy_seeded

PHOTO = (3000, 4000)


def names_of(read):
    return [name.rsplit("/", 1)[-1] for name in read.names]


@pytest.fixture
def folder(tmp_path):
    """Makes a folder of two images, and what else lies in folders of images."""
    rng = numpy_seeded(0)
    for name in ("a.png", "z.jpg"):
        Image.fromarray(rng.integers(0, 256, (6, 4, 3), dtype=np.uint8)).save(tmp_path / name)
    return tmp_path


def exif_bytes(*entries: tuple[int, int, int, int]) -> bytes:
    """Returns EXIF of one directory; an entry is a tag, a type, a count, and a value or offset."""
    body = b"".join(
        struct.pack("<HHI", *entry[:3]) + struct.pack("<I", entry[3]) for entry in entries
    )
    return b"Exif\0\0II*\0" + struct.pack("<IH", 8, len(entries)) + body + bytes(4)


RATIONAL, ORIENTATION = 5, (0x0112, 3, 1, 6)
RATIONALS = [
    (0x011A, RATIONAL, 1, 26),  # that lie in the directory itself
    (0x011A, RATIONAL, 1, 2**32 - 1),  # beyond the end
    (0x011A, RATIONAL, 2**31, 8),  # too many
    (0x8769, 4, 1, 2**31),  # a directory beyond the end
    (0x8825, RATIONAL, 3, 0),
]


@pytest.mark.parametrize("entry", RATIONALS)
def test_broken_rationals_turn_nothing(tmp_path, entry):
    upright = Image.fromarray(np.tile(np.uint8([0, 255]), (8, 16))[:, :16])
    upright.transpose(Image.Transpose.ROTATE_90).save(
        tmp_path / "p.jpg", exif=exif_bytes(ORIENTATION, entry)
    )
    assert read_images([tmp_path]).pixels.shape == (1, 8, 16, 1)


@pytest.mark.parametrize(
    "exif", [b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0MM", b"x"]
)
def test_unreadable_exif_leaves_the_image(tmp_path, exif):
    Image.new("L", (4, 6), 50).save(tmp_path / "p.jpg", exif=exif)
    assert read_images([tmp_path]).pixels.shape == (1, 6, 4, 1)


def test_each_odd_file_has_a_line_and_the_rest_is_read(folder, monkeypatch):
    whole = (folder / "a.png").read_bytes()
    (folder / "._a.png").write_bytes(b"\0\x05\x16\x07" + bytes(60))
    (folder / "cut.png").write_bytes(whole[: len(whole) // 2])
    (folder / "cut.jpg").write_bytes((folder / "z.jpg").read_bytes()[:-80])
    (folder / "empty.jpeg").touch()
    (folder / "folder.png").mkdir()
    (folder / "gone.png").symlink_to(folder / "nowhere.png")
    os.mkfifo(folder / "pipe.png")  # which would never end
    np.save(folder / "labels.npy", np.arange(3))
    for name in ("b.webp", "c.WEBP", "d.txt", "README"):
        (folder / name).write_text("no image")
    (folder / "more").mkdir()
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50)
    Image.new("L", (11, 10)).save(folder / "huge.png")
    read = read_images([folder])
    assert names_of(read) == ["a.png", "z.jpg"]
    *lines, passed_over = [note.removeprefix(f"{folder}/") for note in read.notes]
    assert passed_over.endswith(": 1 .txt, 2 .webp, 1 folder, 1 no suffix")
    reasons = {
        "._a.png": "notes of macOS", "cut.jpg": "not a whole image", "cut.png": "not a whole image",
        "empty.jpeg": "not a whole image", "folder.png": "a folder", "gone.png": "no file",
        "huge.png": "more than 100 pixels", "labels.npy": "an array of shape (3,)",
        "pipe.png": "no file",
    }  # fmt: skip
    found = dict(sorted(line.split(" is left out: ") for line in lines))
    assert found.keys() == reasons.keys()
    assert all(reason in found[name] for name, reason in reasons.items())


def test_images_above_the_limit_that_warns_are_read(folder, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 15)
    assert names_of(read_images([folder])) == ["a.png", "z.jpg"]


def test_many_odd_files_are_counted(folder):
    for number in range(MOST_NAMED + 5):
        (folder / f"{number}.png").touch()
    notes = read_images([folder]).notes
    assert len(notes) == MOST_NAMED + 1
    assert notes[-1] == "5 more files are left out"


def test_if_nothing_is_left_one_error_says_why(tmp_path):
    (tmp_path / "a.heic").touch()
    with pytest.raises(FileError, match=r"no image \(Passed over, .*: 1 \.heic\)\. It needs"):
        read_images([tmp_path])
    (tmp_path / "a.png").touch()
    with pytest.raises(FileError, match=r"reading .*a\.png: not a whole image"):
        read_images([tmp_path])
    np.save(tmp_path / "b.npy", np.full((2, 2), np.nan))
    with pytest.raises(FileError, match=r"a\.png is left out.*b\.npy is left out: float64 values"):
        read_images([tmp_path])
    with pytest.raises(DomainError, match=r"b\.npy"):
        read_images([tmp_path / "b.npy"])
    np.savez(tmp_path / "c.npz", a=np.zeros(3), b=np.zeros(4))
    with pytest.raises(ShapeError, match=r"c\.npz"):
        read_images([tmp_path / "c.npz"])


@pytest.mark.parametrize("name", ["a.png", "z.jpg", "a.npy", "a.npz"])
def test_damaged_bytes_are_read_or_named(folder, name):
    """Flips and cuts bytes: no decoder's own exception gets out, and no pixel is NaN."""
    array = numpy_seeded(1).random((2, 6, 4))
    np.save(folder / "a.npy", array)
    np.savez_compressed(folder / "a.npz", images=array)
    rng, whole, named = numpy_seeded(2), np.fromfile(folder / name, np.uint8), 0
    for _ in range(60):
        damaged = whole.copy()
        damaged[rng.integers(0, len(whole), 3)] = rng.integers(0, 256, 3, dtype=np.uint8)
        (folder / name).write_bytes(damaged[: rng.integers(1, 2 * len(whole))].tobytes())
        try:
            read = read_images([folder / name])
        except (FileError, ShapeError, DomainError):
            named += 1
        else:
            assert read.pixels.min() >= 0
            assert read.pixels.max() <= 1
    assert named > 10


def test_reduced_in_steps_is_as_resampled_at_once(tmp_path):
    """A photo of slow waves is within two levels of 8 bits of what all its pixels give."""
    rows, columns = np.mgrid[:300, :400]
    waves = np.stack([np.sin(rows / 40), np.cos(columns / 50), np.sin((rows + columns) / 60)], -1)
    photo = Image.fromarray((127.5 + 127 * waves).round().astype(np.uint8))
    photo.save(tmp_path / "p.png")
    whole = torch.from_numpy(np.asarray(photo) / np.float32(255)).movedim(-1, 0)[None]
    wanted = torch.nn.functional.interpolate(whole, (24, 32), mode="bilinear", antialias=True)
    found = read_images([tmp_path / "p.png"], 24).pixels
    assert (found - wanted.movedim(1, -1)).abs().max() < 2 / 255


def test_what_is_clear_does_not_show_when_reduced(tmp_path):
    pixels = np.full((64, 64, 4), 255, np.uint8)
    pixels[..., :3] = 40
    pixels[:, 33:] = 255, 0, 0, 0  # hides red
    Image.fromarray(pixels).save(tmp_path / "half.png")
    read = read_images([tmp_path / "half.png"], 4)
    assert read.known[0].tolist() == [[True, True, False, False]] * 4
    torch.testing.assert_close(
        read.pixels, torch.full((1, 4, 4, 3), 40 / 255), atol=1 / 255, rtol=0
    )


MEASURE = """
import resource, sys
from pathlib import Path
from isinglass.data.images import read_images

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

read_images([Path("small.png")], 24)
peaks = [peak()]
for pattern in ("one.*", "p*"):
    read_images(sorted(Path().glob(pattern)), 24)
    peaks.append(peak())
print(*peaks)
"""


def test_one_photo_at_a_time_is_in_memory(tmp_path):
    """One photo takes its bytes and two copies; four more after it take nothing besides."""
    gradient = np.add.outer(np.arange(PHOTO[0]) // 24, np.arange(PHOTO[1]) // 32).astype(np.uint8)
    photo = Image.fromarray(np.stack([gradient, gradient.T.reshape(PHOTO), gradient], -1))
    photo.save(tmp_path / "one.png", compress_level=1)
    photo.save(tmp_path / "one.jpg")
    photo.resize((8, 6)).save(tmp_path / "small.png")
    for number in range(2):
        for suffix in ("png", "jpg"):
            (tmp_path / f"p{number}.{suffix}").symlink_to(tmp_path / f"one.{suffix}")
    done = subprocess.run(
        [sys.executable, "-c", MEASURE], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    before, one, many = map(int, done.stdout.split())
    size = 3 * PHOTO[0] * PHOTO[1]
    assert one - before < 4 * size  # as floats alone it would be 4 × that
    assert many - one < size
