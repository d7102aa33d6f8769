"""Images come in as they are, or are refused by name."""

import numpy as np
import pytest
import torch
from PIL import Image

from isinglass.data.digits import LEVELS, load_digits
from isinglass.data.images import read_images, save_png
from isinglass.data.picture import Picture
from isinglass.errors import DomainError, FileError, IsinglassError
from tests.seeds import shifted


@pytest.fixture
def grey(tmp_path):
    pixels = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20
    Image.fromarray(pixels).save(tmp_path / "grey.png")
    return tmp_path / "grey.png", torch.from_numpy(pixels).float()[..., None] / 255


def test_grey_and_colour_files(tmp_path, grey):
    path, pixels = grey
    read = read_images([path])
    torch.testing.assert_close(read.pixels[0], pixels)
    assert read.known.all()
    Image.new("RGB", (5, 6), (255, 0, 51)).save(tmp_path / "red.JPG", quality=100)
    red = read_images([tmp_path / "red.JPG"])
    assert red.pixels.shape == (1, 6, 5, 3)
    assert (red.pixels - torch.tensor([1.0, 0, 0.2])).abs().max() < 0.02


def test_transparent_pixels_are_unknown(tmp_path):
    image = Image.new("RGBA", (2, 1), (255, 0, 0, 255))
    image.putpixel((1, 0), (0, 0, 0, 0))
    image.save(tmp_path / "half.png")
    read = read_images([tmp_path / "half.png"])
    assert read.known.tolist() == [[[True, False]]]


def test_folders_and_arrays(tmp_path, grey):
    np.save(tmp_path / "one.npy", np.full((3, 4), 0.5))
    np.savez(
        tmp_path / "two.npz", a=np.zeros((2, 3, 4), np.uint8), b=np.ones((3, 4, 3)), labels=[1, 2]
    )
    (tmp_path / "notes.txt").write_text("not an image")
    read = read_images([tmp_path])
    names = [name.rsplit("/", 1)[-1] for name in read.names]
    assert names == ["grey.png", "one.npy", "two.npz:a[0]", "two.npz:a[1]", "two.npz:b"]
    assert read.pixels.shape == (5, 3, 4, 3)
    assert read.known.all()
    assert read.notes == ["Passed over, being no PNG, JPEG or array: 1 .txt"]
    assert read_images([tmp_path], (6, 8), color=False).pixels.shape == (5, 6, 8, 1)
    assert read_images([tmp_path], 6).pixels.shape == (5, 6, 8, 3)
    with pytest.raises(FileError, match="nothing there"):
        read_images([])


def test_bad_files(tmp_path, grey):
    path, _ = grey
    whole = path.read_bytes()
    for length in (0, 10, len(whole) // 2, len(whole) - 20):
        (tmp_path / "cut.png").write_bytes(whole[:length])
        with pytest.raises(FileError, match=r"cut\.png: not a whole image"):
            read_images([tmp_path / "cut.png"])
    (tmp_path / "cut.npy").write_bytes(b"\x93NUMPY")
    (tmp_path / "cut.npz").write_bytes(b"PK\x03\x04")
    for name in ("cut.npy", "cut.npz"):
        with pytest.raises(FileError, match="not a whole array file"):
            read_images([tmp_path / name])
    for name in ("absent.png", "absent.npy"):
        with pytest.raises(FileError, match="no such file"):
            read_images([tmp_path / name])
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileError, match=r"empty: no image \(nothing there\)"):
        read_images([tmp_path / "empty"])
    np.save(tmp_path / "pickled.npy", np.array([{"a": 1}], dtype=object))
    with pytest.raises(FileError, match="not a whole array file"):
        read_images([tmp_path / "pickled.npy"])


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
    with pytest.raises(IsinglassError, match=r"bad\.npy"):
        read_images([tmp_path / "bad.npy"])


def test_png_carries_its_note(tmp_path):
    pixels = torch.rand(3, 4, 1)
    save_png(tmp_path / "out.png", pixels, "a note")
    with Image.open(tmp_path / "out.png") as image:
        assert image.info["isinglass"] == "a note"
    read = read_images([tmp_path / "out.png"])
    assert (read.pixels[0] - pixels).abs().max() <= 0.5 / 255 + 1e-6


def test_digits():
    train, valid, test = load_digits(seed=shifted(3))
    assert [len(d.images) for d in (train, valid, test)] == [1097, 300, 400]
    assert torch.equal(load_digits(seed=shifted(3))[0].images, train.images)
    assert not torch.equal(load_digits(seed=shifted(4))[0].images, train.images)
    assert set(train.spins().unique().tolist()) == {-1.0, 1.0}
    assert torch.equal(train.bits(), (train.spins() + 1) / 2)
    levels = train.one_hot().unflatten(-1, (64, LEVELS)).argmax(-1)
    assert torch.equal(levels.double(), train.images)


DEEP = np.array([[0, 1000, 65535], [32768, 50000, 7]], np.uint16)


@pytest.mark.parametrize("mode", ["I;16", "I", "F"])
def test_deep_grey_keeps_its_range(tmp_path, mode):
    pixels = {"I;16": DEEP, "I": DEEP.astype(np.int32), "F": DEEP.astype(np.float32) / 65535}[mode]
    path = tmp_path / ("deep.png" if mode == "I;16" else "deep.tiff")
    Image.fromarray(pixels).save(path)
    with Image.open(path) as image:
        assert image.mode == mode
    read = read_images([path])
    torch.testing.assert_close(read.pixels[0, ..., 0], torch.from_numpy(DEEP / 65535).float())
    assert read.known.all()


def test_deep_grey_has_its_transparent_level(tmp_path):
    Image.fromarray(DEEP).save(tmp_path / "deep.png", transparency=1000)
    read = read_images([tmp_path / "deep.png"])
    assert read.known[0].tolist() == [[True, False, True], [True, True, True]]


def test_sixteen_bit_arrays_keep_their_range(tmp_path):
    for order in ("<u2", ">u2"):
        np.save(tmp_path / "deep.npy", DEEP.astype(order))
        read = read_images([tmp_path / "deep.npy"])
        torch.testing.assert_close(read.pixels[0, ..., 0], torch.from_numpy(DEEP / 65535).float())
    np.save(tmp_path / "wide.npy", np.array([[0, 51, 255]], np.int64))
    read = read_images([tmp_path / "wide.npy"])
    torch.testing.assert_close(read.pixels[0, ..., 0], torch.tensor([[0.0, 0.2, 1.0]]))


@pytest.mark.parametrize(
    ("array", "found"),
    [
        (np.array([[-3, 700]]), "int64 values from -3 to 700"),
        (np.array([[0, 256]], np.uint32), "uint32 values from 0 to 256"),
        (np.array([[0.0, 1e300]]), r"float64 values from 0 to 1e\+300"),
    ],
)
def test_values_out_of_range_are_shown(tmp_path, array, found):
    np.save(tmp_path / "bad.npy", array)
    with pytest.raises(DomainError, match=found):
        read_images([tmp_path / "bad.npy"])


def test_exif_orientation_is_followed(tmp_path):
    upright = Image.new("RGB", (16, 8), (0, 0, 0))
    upright.paste((255, 255, 255), (0, 0, 8, 8))
    exif = Image.Exif()
    exif[0x0112] = 6  # shown after a quarter turn clockwise
    upright.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.jpg", exif=exif)
    read = read_images([tmp_path / "turned.jpg"])
    assert read.pixels.shape == (1, 8, 16, 3)
    assert (read.pixels[:, :, :8] > 0.9).all()
    assert (read.pixels[:, :, 8:] < 0.1).all()


def test_what_transparency_hides_does_not_show():
    known = torch.tensor([[True, True], [False, False]])
    pixels = torch.tensor([[[0.2], [0.4]], [[1.0], [1.0]]])
    same = Picture("a", pixels, known).resized((2, 2))
    torch.testing.assert_close(same.pixels[1], torch.full((2, 1), 0.3))
    torch.testing.assert_close(same.pixels[0], pixels[0])
    hidden = torch.where(known.unsqueeze(-1), pixels, 0.0)
    assert torch.equal(
        Picture("a", pixels, known).resized((3, 3)).pixels,
        Picture("b", hidden, known).resized((3, 3)).pixels,
    )
    assert Picture("c", pixels, known & False).resized((2, 2)).pixels.count_nonzero() == 0
