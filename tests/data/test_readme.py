"""The page on data sources names every source, and no other."""

import re

from jaxsnn_mia import data
from tests.runs import ROOT


def test_every_source_has_a_line():
    page = (ROOT / "jaxsnn_mia/data/README.md").read_text()
    rows = re.findall(r"^\| (`.*?`(?:, `.*?`)*) \|", page, re.M)
    named = {name.partition(":")[0] for row in rows for name in re.findall(r"`([^`]+)`", row)}
    assert named == set(data.SOURCES)
    arguments = {name.partition(":")[0] for row in rows for name in re.findall(r"`([^`]+:[^`]+)`", row)}
    assert arguments == set(data.WITH_ARGUMENT)
