"""The committed transcript of hostile inputs is what they come to."""

import pytest

from tests import hostile


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")
def test_every_hostile_input_is_refused_in_one_line_as_the_transcript_says():
    lines = hostile.transcript()
    assert len(lines) >= 150
    assert not [line for line in lines if "| NOT " in line]
    assert hostile.TRANSCRIPT.read_text().splitlines() == lines
