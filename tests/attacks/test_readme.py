"""The page on attacks names every attack, in the order of the code, with what it needs."""

import re
from pathlib import Path

from jaxsnn_mia import attacks
from jaxsnn_mia.attacks.attribute import ATTRIBUTE_ATTACKS

PAGE = Path(attacks.__file__).with_name("README.md").read_text()


def listed(start, end):
    """{name: what it needs} of the entries between two headings: three lines each, the last one a source."""
    part = PAGE[PAGE.index(f"## {start}\n") : PAGE.index(f"## {end}\n")]
    entries = re.findall(r"^- \*\*`(\w+)`\*\* needs (.*)\.\n  It .*\.\n  Source: .*\.$", part, re.M)
    assert len(entries) == len(re.findall(r"^- ", part, re.M))
    return {name: tuple(re.findall(r"`(\w+)`", needs)) for name, needs in entries}


def test_every_membership_attack_is_on_the_page():
    entries = listed("Membership attacks", "Attribute attacks")
    assert list(entries.items()) == [(name, attack.needs) for name, attack in attacks.ATTACKS.items()]


def test_every_attribute_attack_is_on_the_page():
    entries = listed("Attribute attacks", "Add an attack")
    assert list(entries.items()) == [(name, attack.needs) for name, attack in ATTRIBUTE_ATTACKS.items()]
