"""Arrays from a user's files: .npy, .npz and tables of numbers as .csv."""

import csv
from pathlib import Path

import numpy as np

from jaxsnn_mia.store import untrusted

DELIMITERS = ",;\t"


def read(path: str) -> np.ndarray:
    """The array of a file; FILE.npz:NAME where a .npz holds several. Of a .csv a table [rows, columns], float64, or of
    text where a cell is no number.

    Raises:
      ValueError: what is wrong with the file, by its name and line.
    """
    file, _, key = path.partition(".npz:") if ".npz:" in path else (path, "", "")
    file += ".npz" if key else ""
    where = Path(file).expanduser()
    if not where.is_file():
        raise ValueError(f"{file} is not there.")
    if where.suffix.lower() in (".csv", ".tsv", ".txt"):
        return read_csv(where)
    try:
        if where.suffix == ".npy":
            return np.load(where, mmap_mode="r", allow_pickle=False)
        if where.suffix == ".npz":
            return read_npz(where, key)
    except untrusted.UNREADABLE as error:
        raise ValueError(f"{file} cannot be read: {untrusted.first_line(error)}") from None
    raise ValueError(f"a .npy, .npz or .csv file is needed, got {path}.")


def read_npz(path: Path, key: str) -> np.ndarray:
    there = untrusted.names(path)
    if not key and len(there) != 1:
        raise ValueError(f"it holds {there}; name one by {path}:NAME.")
    if key and key not in there:
        raise ValueError(f"it holds {there}, not {key!r}.")
    return untrusted.npz(path, (key or there[0],))[key or there[0]]


def read_csv(path: Path) -> np.ndarray:
    """A table [rows, columns] of a CSV: with or without a header and a byte-order mark, cells divided by comma,
    semicolon or tab; between semicolons and tabs a decimal comma is read as a point."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not a text file in UTF-8.") from None
    lines = [(number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    if not lines:
        raise ValueError(f"{path} is empty.")
    first = lines[0][1]
    delimiter = max(reversed(DELIMITERS), key=first.count)  # a comma where there is none of them
    if delimiter == "," and ";" in first:
        raise ValueError(f"{path}, line {lines[0][0]}: both , and ; divide cells. Keep one of them.")
    rows = [(number, next(csv.reader([line], delimiter=delimiter))) for number, line in lines]
    numbers = [(number, [as_number(cell, delimiter) for cell in cells]) for number, cells in rows]
    width = len(rows[0][1])
    for number, cells in rows:
        if len(cells) != width:
            raise ValueError(f"{path}, line {number}: expected {width} cells as in the first line, got {len(cells)}.")
    is_header = len(rows) > 1 and None in numbers[0][1] and all(None not in cells for _, cells in numbers[1:])
    body = numbers[1:] if is_header else numbers
    if all(None not in cells for _, cells in body):
        return np.array([cells for _, cells in body], np.float64)
    return text_table(path, rows, numbers)


def text_table(path: Path, rows: list, numbers: list) -> np.ndarray:
    """A table of text, if it has one column; otherwise ValueError for the first cell that is no number."""
    if len(rows[0][1]) == 1:
        return np.array([cells for _, cells in rows])
    start = 1 if all(number is None for number in numbers[0][1]) else 0  # a header
    for (line, cells), (_, values) in zip(rows[start:], numbers[start:], strict=True):
        for column, (cell, value) in enumerate(zip(cells, values, strict=True), 1):
            if value is None:
                raise ValueError(f"{path}, line {line}, column {column}: a number is needed, got {cell!r}.")
    raise ValueError(f"{path} has a header and no rows.")


def as_number(cell: str, delimiter: str) -> float | None:
    """The number of a cell; None where it is none. true and false are 1 and 0."""
    cell = cell.strip()
    if cell.lower() in ("true", "false"):
        return float(cell.lower() == "true")
    if delimiter != ",":
        cell = cell.replace(",", ".")
    try:
        return float(cell)
    except ValueError:
        return None
