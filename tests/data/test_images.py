"""Images come in as they are, or are refused by name."""

import numpy as np
import pytest
import torch
from PIL import Image

from isinglass.data.digits import LEVELS, load_digits
from isinglass.data.images import read_pictures, save_png, stack_pictures
from isinglass.errors import FileError, ShapeError


@pytest.fixture
def grey(tmp_path):
    pixels = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20
    Image.fromarray(pixels).save(tmp_path / "grey.png")
    return tmp_path / "grey.png", torch.from_numpy(pixels).float()[..., None] / 255


def test_grey_and_colour_files(tmp_path, grey):
    path, pixels = grey
    (picture,) = read_pictures([path])
    torch.testing.assert_close(picture.pixels, pixels)
    assert picture.known.all()
    Image.new("RGB", (5, 6), (255, 0, 51)).save(tmp_path / "red.JPG", quality=100)
    (red,) = read_pictures([tmp_path / "red.JPG"])
    assert red.pixels.shape == (6, 5, 3)
    assert (red.pixels - torch.tensor([1.0, 0, 0.2])).abs().max() < 0.02


def test_transparent_pixels_are_unknown(tmp_path):
    image = Image.new("RGBA", (2, 1), (255, 0, 0, 255))
    image.putpixel((1, 0), (0, 0, 0, 0))
    image.save(tmp_path / "half.png")
    (picture,) = read_pictures([tmp_path / "half.png"])
    assert picture.known.tolist() == [[True, False]]


def test_folders_and_arrays(tmp_path, grey):
    np.save(tmp_path / "one.npy", np.full((3, 4), 0.5))
    np.savez(
        tmp_path / "two.npz", a=np.zeros((2, 3, 4), np.uint8), b=np.ones((3, 4, 3)), labels=[1, 2]
    )
    (tmp_path / "notes.txt").write_text("not an image")
    pictures = read_pictures([tmp_path])
    names = [picture.name.rsplit("/", 1)[-1] for picture in pictures]
    assert names == ["grey.png", "one.npy", "two.npz:a[0]", "two.npz:a[1]", "two.npz:b"]
    pixels, known = stack_pictures(pictures)
    assert pixels.shape == (5, 3, 4, 3)
    assert known.all()
    assert stack_pictures(pictures, (6, 8), colour=False)[0].shape == (5, 6, 8, 1)
    with pytest.raises(ShapeError, match="no pictures"):
        stack_pictures([])


def test_bad_files(tmp_path, grey):
    path, _ = grey
    whole = path.read_bytes()
    for length in (0, 10, len(whole) // 2, len(whole) - 20):
        (tmp_path / "cut.png").write_bytes(whole[:length])
        with pytest.raises(FileError, match=r"cut\.png: not a whole image"):
            read_pictures([tmp_path / "cut.png"])
    (tmp_path / "cut.npy").write_bytes(b"\x93NUMPY")
    (tmp_path / "cut.npz").write_bytes(b"PK\x03\x04")
    for name in ("cut.npy", "cut.npz"):
        with pytest.raises(FileError, match="not a whole array"):
            read_pictures([tmp_path / name])
    for name in ("absent.png", "absent.npy"):
        with pytest.raises(FileError, match="no such file"):
            read_pictures([tmp_path / name])
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileError, match="no image in this folder"):
        read_pictures([tmp_path / "empty"])
    np.save(tmp_path / "pickled.npy", np.array([{"a": 1}], dtype=object))
    with pytest.raises(FileError, match="not a whole array"):
        read_pictures([tmp_path / "pickled.npy"])


@pytest.mark.parametrize(
    "array",
    [
        np.zeros(5),
        np.zeros((0, 3)),
        np.full((2, 2), np.nan),
        np.full((2, 2), 7.0),
        np.array([["a"]]),
    ],
)
def test_bad_arrays(tmp_path, array):
    np.save(tmp_path / "bad.npy", array)
    with pytest.raises(ShapeError, match=r"bad\.npy"):
        read_pictures([tmp_path / "bad.npy"])


def test_png_carries_its_note(tmp_path):
    pixels = torch.rand(3, 4, 1)
    save_png(tmp_path / "out.png", pixels, "a note")
    with Image.open(tmp_path / "out.png") as image:
        assert image.info["isinglass"] == "a note"
    (picture,) = read_pictures([tmp_path / "out.png"])
    assert (picture.pixels - pixels).abs().max() <= 0.5 / 255 + 1e-6


def test_digits():
    train, valid, test = load_digits(seed=3)
    assert [len(d.images) for d in (train, valid, test)] == [1097, 300, 400]
    assert torch.equal(load_digits(seed=3)[0].images, train.images)
    assert not torch.equal(load_digits(seed=4)[0].images, train.images)
    assert set(train.spins().unique().tolist()) == {-1.0, 1.0}
    assert torch.equal(train.bits(), (train.spins() + 1) / 2)
    levels = train.one_hot().unflatten(-1, (64, LEVELS)).argmax(-1)
    assert torch.equal(levels.double(), train.images)
