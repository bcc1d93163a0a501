"""Arrays from a user's files: read as they are meant, or refused by file, line and column."""

import numpy as np
import pytest

from jaxsnn_mia.store import arrays

TABLE = np.array([[0.1, 0.9], [0.25, 0.75], [1.0, 0.0]])


@pytest.mark.parametrize(
    "text",
    [
        "0.1,0.9\n0.25,0.75\n1,0\n",
        "no,yes\n0.1,0.9\n0.25,0.75\n1,0",
        "\ufeffno,yes\r\n0.1,0.9\r\n0.25,0.75\r\n1,0\r\n",
        "0.1;0.9\n0.25;0.75\n1;0\n\n",
        "no;yes\n0,1;0,9\n0,25;0,75\n1;0\n",
        "0.1\t0.9\n0.25\t0.75\n1\t0\n",
        '"0.1","0.9"\n0.25,0.75\n1.0,0.0\n',
    ],
)
def test_a_table_is_read_whatever_divides_it(tmp_path, text):
    (tmp_path / "p.csv").write_text(text)
    np.testing.assert_array_equal(arrays.read(str(tmp_path / "p.csv")), TABLE)


@pytest.mark.parametrize(
    ("text", "shape"), [("0,1,1\n", (1, 3)), ("member\n1\n0\n", (2, 1)), ("true\nfalse\n", (2, 1)), ("3", (1, 1))]
)
def test_one_line_and_one_column(tmp_path, text, shape):
    (tmp_path / "p.csv").write_text(text)
    assert arrays.read(str(tmp_path / "p.csv")).shape == shape


def test_a_header_alone_is_no_table(tmp_path):
    (tmp_path / "p.csv").write_text("no,yes\n")
    with pytest.raises(ValueError, match=r"p\.csv has a header and no rows"):
        arrays.read(str(tmp_path / "p.csv"))


def test_a_column_of_names_is_text(tmp_path):
    (tmp_path / "ids.csv").write_text("anna\nbert\n7\n")
    assert arrays.read(str(tmp_path / "ids.csv")).ravel().tolist() == ["anna", "bert", "7"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "p.csv is empty"), ("1,2\n3\n", r"p.csv, line 2: expected 2 cells as in the first line, got 1"),
        ("1,2\n\n3,x\n", r"p.csv, line 3, column 2: a number is needed, got 'x'"),
        ("a,b\n1,2\n3,\n", r"line 3, column 2: a number is needed, got ''"),
        ("1,5;2,5\n", r"line 1: both , and ; divide cells"),
    ],
)  # fmt: skip
def test_what_is_no_table_is_refused_by_file_and_line(tmp_path, text, says):
    (tmp_path / "p.csv").write_text(text)
    with pytest.raises(ValueError, match=says):
        arrays.read(str(tmp_path / "p.csv"))


def test_files_that_are_not_there_or_damaged(tmp_path):
    np.savez(tmp_path / "two.npz", a=TABLE, b=TABLE)
    np.testing.assert_array_equal(arrays.read(f"{tmp_path}/two.npz:b"), TABLE)
    (tmp_path / "cut.npy").write_bytes(b"\x93NUMPY\x01")
    (tmp_path / "latin.csv").write_bytes(b"\xe9\xe8\n")
    for name, says in (
        ("absent.npy", "absent.npy is not there"), ("two.npz", r"name one by .*two.npz:NAME"),
        ("two.npz:c", r"it holds \['a', 'b'\], not 'c'"), ("cut.npy", "cut.npy cannot be read"),
        ("latin.csv", "not a text file in UTF-8"), ("", "is not there"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=says):
            arrays.read(f"{tmp_path}/{name}")
    (tmp_path / "a.xlsx").write_text("")
    with pytest.raises(ValueError, match=r"a .npy, .npz or .csv file is needed"):
        arrays.read(str(tmp_path / "a.xlsx"))
