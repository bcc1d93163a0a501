"""The last section of the page: the samples, the machine, the cost and the config."""

import json
import os
import platform
import time
from importlib.metadata import version
from typing import Any

from jaxsnn_mia import __version__
from jaxsnn_mia.report import reading
from jaxsnn_mia.report.contents import Contents, Section
from jaxsnn_mia.store.files import digest

PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy", "scikit-learn")  # whose versions the page names
AGAIN = "python experiments/run.py --config=experiments/resolved.py:config.json --workdir=runs/again"
COUNTS = {  # keys of a variant's summary, and heads of the table of samples
    "shadows": "shadow models",
    "diverged": "diverged",
    "candidates": "candidates",
    "distinct_examples": "distinct examples",
}


def made_section(page: Contents, show: Any) -> Section | None:
    """How many models and examples there were, on which machine, at which cost, by which config."""
    samples = [
        {"variant": name, **{head: str(variant.summary[key]) for key, head in COUNTS.items()}}
        for name, variant in page.variants.items()
    ]
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    parts = [
        show.table("Samples", samples, "samples"),
        show.note(
            "The pooled non-members of all targets are these same examples again, so the distinct ones bound what a "
            "small false positive rate can mean."
        ),
        show.paragraph(
            f"This page was written by jaxsnn_mia {__version__}, {time.strftime('%Y-%m-%d %H:%M')}, on {hardware()}; "
            f"{versions}. Config {digest(page.settings)}."
        ),
    ]
    costs = reading.costs({name: variant.paths for name, variant in page.variants.items()})
    if costs:
        said = (
            "Signals that one pass asked for, and variants that were trained together, have the time and memory of "
            "the whole each; a training that was resumed has those of its last part."
        )
        title = "Stages: time and memory"
        parts.append(show.details(title, [show.table(title, costs, "stages"), show.note(said)]))
    config = json.dumps(page.settings, indent=1)
    parts.append(show.details("The whole config", [show.json_button("config"), show.code(config)]))
    if "train" in page.settings:  # one run of this project, which can be made again
        said = (
            "To do it again: check out the commit above, install the versions of launch/constraints.txt, save the "
            "config as config.json, and"
        )
        parts += [show.paragraph(said), show.code(AGAIN)]
    return Section("made", "How it was made", "How it was made", parts)


def hardware() -> str:
    """The machine in one line."""
    import jax

    kinds = {device.device_kind for device in jax.devices()}
    return f"{platform.machine()}, {os.cpu_count()} cores, {jax.device_count()} x {', '.join(sorted(kinds))}"
