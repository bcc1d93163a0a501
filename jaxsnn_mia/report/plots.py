"""How every figure is drawn: SVG whose ink follows the page, with the numbers behind it as rows."""

import csv
import functools
import hashlib
import io
import re
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any, NamedTuple
from urllib.parse import quote, unquote

import numpy as np

# told apart by colour-blind readers, and 3.3 : 1 against the page; lines and markers differ as well. style.css has the
# same, and those of a dark page
COLOURS = ("#2155C1", "#D76103", "#004C2D", "#A6457C", "#6E4900", "#0B93C2", "#603684")
LINES = ("-", (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (6, 1.5, 1.2, 1.5)))
MARKERS = "osD^vPX*"
INK = "#010203"  # becomes the colour of the page's text
GREY = "#808080"
TIP = "tip:"  # begins the id of a mark that says something
STYLE = {
    "svg.fonttype": "none", "svg.hashsalt": "jaxsnn_mia", "font.family": "sans-serif", "font.size": 10,
    "axes.spines.top": False, "axes.spines.right": False, "savefig.transparent": True,
    **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), INK),
}  # fmt: skip
SIZE = (4.4, 3.5)  # inches: one column of the page, and a phone's whole width


class Figure(NamedTuple):
    """A figure of the page: its caption, what it shows in words, its SVG, and the numbers behind it as CSV."""

    caption: str
    words: str
    svg: str
    csv: str

    @property
    def file(self) -> str:
        """A name for what is downloaded of it."""
        return re.sub(r"[^a-z0-9]+", "-", self.caption.lower()).strip("-")


def pyplot():
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot as plt

    return plt


def styled(draw: Callable[..., Figure]) -> Callable[..., Figure]:
    """Draws in the style of the page, and leaves matplotlib's settings as they were."""

    @functools.wraps(draw)
    def drawn(*args: Any) -> Figure:
        with pyplot().rc_context(STYLE):
            return draw(*args)

    return drawn


def tip(artist, text: str) -> None:
    """Shows the text where a pointer rests on a mark; `as_svg` makes a title of it."""
    artist.set_gid(TIP + quote(text))


def as_svg(figure) -> str:
    """The figure without the ids that would be there twice in a page, its ink and colours variables of the page."""
    out = io.StringIO()
    figure.savefig(out, format="svg", bbox_inches="tight", metadata={"Date": None, "Creator": None})
    pyplot().close(figure)
    svg = out.getvalue()[out.getvalue().index("<svg") :]
    svg = re.sub(rf'<g id="{TIP}([^"]*)">', lambda at: f"<g><title>{escape(unquote(at[1]))}</title>", svg)
    svg = re.sub(r'<g id="[^"]*">', "<g>", svg)
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.S)
    own = f"f{hashlib.sha256(svg.encode()).hexdigest()[:8]}-"
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{own}", svg)
    for i, colour in enumerate(COLOURS):
        svg = svg.replace(colour.lower(), f"var(--c{i}, {colour})")
    return svg.replace(INK, "currentColor").replace("<svg ", '<svg aria-hidden="true" focusable="false" ', 1)


def as_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows under the heads of the first one."""
    out = io.StringIO()
    if rows:
        writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows({key: written(x) for key, x in row.items()} for row in rows)
    return out.getvalue()


def written(cell: Any) -> Any:
    """A cell of a CSV. No spreadsheet may take it for a formula: text that begins as one gets an apostrophe."""
    if isinstance(cell, float):
        return f"{cell:.6g}"
    if isinstance(cell, str) and cell[:1] in tuple("=+-@\t\r") and not is_number(cell):
        return f"'{cell}"
    return cell


def is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def bars(row: Mapping[str, Any]) -> np.ndarray:
    """[2, 1] distances to the ends of an interval, none below 0, whatever was rounded."""
    return np.maximum([[row["value"] - row["low"]], [row["high"] - row["value"]]], 0)


def below(axes, left: float = -0.1, down: float = -0.2) -> None:
    """The legend under the axes, in two columns where its labels are short."""
    labels = axes.get_legend_handles_labels()[1]
    if not labels:  # of models that all diverged
        return
    columns = 2 if max(map(len, labels)) <= 20 else 1
    axes.legend(fontsize=8, loc="upper left", bbox_to_anchor=(left, down), ncols=columns, frameon=False)


def logarithmic(axis) -> None:
    """Few plain numbers on an axis that spans little more than one decade."""
    plt = pyplot()
    axis.set_major_locator(plt.LogLocator(subs=(1, 2, 5), numticks=6))
    axis.set_major_formatter(lambda x, _: f"{x:g}")
    axis.set_minor_formatter(plt.NullFormatter())


def decades(axis) -> None:
    """The powers of ten in plain numbers."""
    plt = pyplot()
    axis.set_major_locator(plt.LogLocator(numticks=9))
    axis.set_major_formatter(lambda x, _: f"{x:g}")
    axis.set_minor_locator(plt.NullLocator())
