"""Colours that colour-blind readers tell apart."""

import itertools
import re
from pathlib import Path

import numpy as np
import pytest

from jaxsnn_mia.report import plots

# Machado, Oliveira and Fernandes 2009, IEEE Transactions on Visualization and Computer Graphics 15, table 1, severity 1
BLIND = {
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
    "none": np.eye(3).tolist(),
}


def linear(colour):
    c = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def lab(rgb):
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = to_xyz @ np.clip(rgb, 0, 1) / np.array([0.9505, 1, 1.089])
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("dark", [False, True])
def test_the_colours_are_told_apart_by_colour_blind_readers_and_from_the_page(dark):
    css = (Path(plots.__file__).parent / "style.css").read_text()
    assert css.count("{") == css.count("}")
    block = css.split("prefers-color-scheme: dark")[1] if dark else css
    colours = re.findall(r"--c\d: (#\w+)", block)[:7]
    assert dark or tuple(colours) == plots.COLOURS
    card = re.findall(r"--card: (#\w+)", block)[0]
    for seen in BLIND.values():
        for a, b in itertools.combinations(colours, 2):
            assert np.linalg.norm(lab(np.array(seen) @ linear(a)) - lab(np.array(seen) @ linear(b))) > 15, (a, b)
    weights = np.array([0.2126, 0.7152, 0.0722])
    for colour in colours:
        light = sorted((weights @ linear(colour) + 0.05, weights @ linear(card) + 0.05))
        assert light[1] / light[0] > 3  # WCAG 2.2, 1.4.11


def test_no_cell_of_a_table_is_a_formula_of_a_spreadsheet():
    ids = ["=1+1", "+cmd", "-2+3", "@sum", "-2.5", "+3", "1e-3", "anna", "\t=1"]
    rows = [{"id": one, "value": -0.5} for one in ids]
    cells = [line.rpartition(",")[0] for line in plots.as_csv(rows).splitlines()[1:]]
    assert cells == ["'=1+1", "'+cmd", "'-2+3", "'@sum", "-2.5", "+3", "1e-3", "anna", "'\t=1"]
    assert plots.as_csv(rows).splitlines()[1].endswith(",-0.5")
