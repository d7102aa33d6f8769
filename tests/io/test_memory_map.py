"""Patterns that stay in their file."""

import json
import os

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from isinglass.errors import FileError
from isinglass.io import map_patterns
from isinglass.retrieval import Int8Index
from tests.cases import double


def test_npy(tmp_path):
    patterns = double(50, 7)
    np.save(tmp_path / "p.npy", patterns.numpy())
    assert torch.equal(map_patterns(tmp_path / "p.npy"), patterns)
    np.save(tmp_path / "columns.npy", np.asfortranarray(patterns.numpy()))
    assert torch.equal(map_patterns(tmp_path / "columns.npy"), patterns)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_safetensors(tmp_path, dtype):
    patterns = double(50, 7).to(dtype)
    save_file({"a": patterns, "b": patterns[-3:].clone()}, tmp_path / "p.safetensors")
    assert torch.equal(map_patterns(tmp_path / "p.safetensors", "a"), patterns)
    assert torch.equal(map_patterns(tmp_path / "p.safetensors", "b"), patterns[-3:])
    with pytest.raises(FileError, match=r"of \['a', 'b'\] none is named"):
        map_patterns(tmp_path / "p.safetensors")


def test_the_file_is_never_written(tmp_path):
    save_file({"a": torch.zeros(3, 2)}, tmp_path / "p.safetensors")
    before = (tmp_path / "p.safetensors").read_bytes()
    map_patterns(tmp_path / "p.safetensors").fill_(1.0)
    assert (tmp_path / "p.safetensors").read_bytes() == before


def test_a_file_larger_than_memory(tmp_path):
    """Twice the machine's memory on paper; on disk a hole, of which two pages are written."""
    size = 64
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    rows = 2 * memory // (4 * size)
    header = {"a": {"dtype": "F32", "shape": [rows, size], "data_offsets": [0, rows * size * 4]}}
    text = json.dumps(header).encode()
    with (tmp_path / "p.safetensors").open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        start = file.tell()
        file.write(torch.ones(size).numpy().tobytes())
        try:
            file.truncate(start + rows * size * 4)
        except OSError:
            pytest.skip("the file system has no room for holes")
    mapped = map_patterns(tmp_path / "p.safetensors")
    assert mapped.nbytes > memory
    assert mapped[0].sum() == size
    assert mapped[-1].sum() == 0


def test_screening_a_mapped_file(tmp_path):
    patterns = torch.nn.functional.normalize(double(5000, 32), dim=-1).float()
    np.save(tmp_path / "p.npy", patterns.numpy())
    found = Int8Index(map_patterns(tmp_path / "p.npy")).lookup(patterns[:3], 80.0)
    assert torch.equal(found.average, Int8Index(patterns).lookup(patterns[:3], 80.0).average)


def test_bad_files(tmp_path):
    with pytest.raises(FileError, match="no such file"):
        map_patterns(tmp_path / "none.npy")
    (tmp_path / "p.csv").write_text("1,2")
    with pytest.raises(FileError, match=r"\.csv"):
        map_patterns(tmp_path / "p.csv")
    np.save(tmp_path / "p.npy", np.ones((100, 100)))
    whole = (tmp_path / "p.npy").read_bytes()
    (tmp_path / "p.npy").write_bytes(whole[:5000])
    with pytest.raises(FileError, match="cannot be mapped"):
        map_patterns(tmp_path / "p.npy")
    np.save(tmp_path / "o.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(FileError, match="cannot be mapped"):
        map_patterns(tmp_path / "o.npy")
    save_file({"a": torch.ones(100, 100)}, tmp_path / "p.safetensors")
    whole = (tmp_path / "p.safetensors").read_bytes()
    for size in (4, 30, 5000):
        (tmp_path / "p.safetensors").write_bytes(whole[:size])
        with pytest.raises(FileError):
            map_patterns(tmp_path / "p.safetensors")
    header = json.dumps({"a": {"dtype": "I64", "shape": [1], "data_offsets": [0, 8]}}).encode()
    (tmp_path / "p.safetensors").write_bytes(
        len(header).to_bytes(8, "little") + header + b"8bytes!!"
    )
    with pytest.raises(FileError, match="cannot be mapped"):
        map_patterns(tmp_path / "p.safetensors")
