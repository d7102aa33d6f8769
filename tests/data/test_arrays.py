"""Tables of numbers are read from every kind of file, and refused by line."""

import numpy as np
import pytest
import torch

from isinglass.data.arrays import read_table, save_table
from isinglass.errors import DomainError, FileError, ParameterError, ShapeError

WHOLE = [[1.5, np.nan], [-2.0, 3e4]]


@pytest.mark.parametrize(
    "text",
    [
        "1.5,\n-2,3e4\n",
        "size,mass\n1.5,NA\n-2,30000\n",
        "size;mass\n1,5;?\n-2,0;3e4\n",
        "1.5\tnan\n\n -2 \t3E4\n",
        '\ufeff"1.5",""\n"-2","30000"\n',
    ],
)
def test_numbers_are_read_as_they_are_written_anywhere(tmp_path, text):
    path = tmp_path / "table.csv"
    path.write_text(text, encoding="utf-8")
    np.testing.assert_array_equal(read_table(path), WHOLE)


def test_a_column_alone_keeps_its_holes(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("size\n1\n\n3\n")
    np.testing.assert_array_equal(read_table(path), [[1.0], [np.nan], [3.0]])


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".csv"])
def test_what_is_saved_is_read_back(tmp_path, suffix):
    table = torch.tensor([[1.0, -0.25], [1e-3, 4e7]], dtype=torch.float64)
    save_table(tmp_path / f"table{suffix}", table)
    assert torch.equal(read_table(tmp_path / f"table{suffix}"), table)


@pytest.mark.parametrize(
    ("text", "error", "found"),
    [
        ("a,b\n1,2\n3\n", ShapeError, "line 3 has 1 cell, the first line has 2"),
        ("a,b\n1,2\n3,x\n", DomainError, "'x' in line 3"),
        ("1,5\n2,1 000\n", DomainError, "'1 000' in line 2"),
        ('1,2\n"3,4\n', FileError, "a quote in line 2 is not closed"),
        ("a,b\n", ShapeError, "no rows"),
        ("1,inf\n", DomainError, "infinite"),
    ],
)
def test_what_is_no_number_is_refused_by_its_line(tmp_path, text, error, found):
    path = tmp_path / "table.csv"
    path.write_text(text)
    with pytest.raises(error, match=found):
        read_table(path)


def test_other_files_are_refused(tmp_path):
    with pytest.raises(ParameterError, match=r"Name it \.npy, \.npz, \.csv"):
        read_table(tmp_path / "table.txt")
    np.savez(tmp_path / "two.npz", a=np.eye(2), b=np.eye(2))
    with pytest.raises(ShapeError, match="2 arrays"):
        read_table(tmp_path / "two.npz")
    np.save(tmp_path / "names.npy", np.array([["a"]]))
    with pytest.raises(ShapeError, match="Give a table of numbers"):
        read_table(tmp_path / "names.npy")
