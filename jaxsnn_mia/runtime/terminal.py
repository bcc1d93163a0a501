"""What a run says on a terminal: plain lines on stderr, above a progress bar."""

import logging
import sys
from pathlib import Path

from absl import logging as absl_logging
from tqdm import tqdm

PACKAGE = str(Path(__file__).parents[1])


class Terminal(logging.Handler):
    """Everybody's warnings, and what this package has to say; Orbax, which says much by the same means, is left out."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.WARNING or record.pathname.startswith(PACKAGE):
            kind = "" if record.levelno < logging.WARNING else f"{record.levelname.lower()}: "
            tqdm.write(kind + record.getMessage(), file=sys.stderr)


def plain() -> None:
    """From now on messages are lines without time, process and place, down to INFO."""
    absl_logging.set_verbosity(absl_logging.INFO)
    logging.root.removeHandler(absl_logging.get_absl_handler())
    logging.root.addHandler(Terminal())
