"""Attacks several releases of one model together: its float and its quantized versions, or snapshots of it.

    python experiments/releases.py --workdir=runs/quantization digits-ann-bits32 digits-ann-bits8 digits-ann-bits4

The names are variants of a finished run whose models share their splits, as those of a sweep over bits or epochs do.
The report of such a run has the same table.
"""

import argparse
import os
import sys
from pathlib import Path

os.environ.setdefault("PJRT_NPROC", str(min(os.cpu_count() or 1, 4)))


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("variants", nargs="+")
    parser.add_argument("--workdir", type=Path, required=True)
    given = parser.parse_args(argv)

    from jaxsnn_mia.pipeline import releases, trained
    from jaxsnn_mia.report import console, sections

    try:
        models = {name: trained.load(given.workdir, name) for name in given.variants}
        rows = releases.attacked_together(models, next(iter(models.values())).config.metrics)
    except (ValueError, OSError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)
    print(console.for_console([sections.releases_line(row) for row in rows]))


if __name__ == "__main__":
    main(sys.argv[1:])
