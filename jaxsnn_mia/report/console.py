"""What a console shows: plain tables of at most 120 characters a line."""

import json
from pathlib import Path

from jaxsnn_mia.report import seeds, tables

# left out of a table that is too wide, in this order
SPARED = ("non-members (distinct)", "bal. acc", "gap", "train acc", "dataset", "paired", "test accuracy")
NAMES = ("model", "variant", "less")


def summary(workdir: Path) -> str:
    """What a console shows of a run: the means over seeds where there are any, every variant and attack, and the
    differences between variants."""
    written = json.loads((workdir / "summary.json").read_text())
    shown = {
        "Over seeds": seeds.table(written["over_seeds"]),
        "Every variant and attack": tables.table(tables.read(workdir)),
        "Differences": written["differences"],
    }
    texts = [f"{head}\n{for_console(lines)}" for head, lines in shown.items() if lines]
    return "\n\n".join(texts)


def for_console(lines: list[dict[str, str]], most: int = 120) -> str:
    """A plain table of at most `most` characters a line: without the realised rates, then without what is least needed,
    then with the names of models on lines of their own."""
    lines = [{head: cell.partition(f" {tables.AT}")[0] for head, cell in line.items()} for line in lines]
    for head in SPARED:
        if width_of(lines) > most:
            lines = [without(line, head) for line in lines]
    return as_text(lines) if width_of(lines) <= most else under_names(lines)


def width_of(lines: list[dict[str, str]]) -> int:
    return max(map(len, as_text(lines).splitlines()))


def without(line: dict[str, str], *heads: str) -> dict[str, str]:
    return {name: cell for name, cell in line.items() if name not in heads}


def under_names(lines: list[dict[str, str]]) -> str:
    """The table with each name once, above its lines."""
    head, *rows = as_text([without(line, *NAMES) for line in lines]).splitlines()
    out, last = [f"  {head}"], ""
    for line, row in zip(lines, rows, strict=True):
        name = " less ".join(line[column] for column in NAMES if column in line)
        out += [name] if name != last else []
        out.append(f"  {row}")
        last = name
    return "\n".join(out)


def as_text(lines: list[dict[str, str]]) -> str:
    """A plain table with aligned columns."""
    heads = list(lines[0])
    widths = [max(len(head), *(len(line[head]) for line in lines)) for head in heads]
    out = ["  ".join(head.ljust(width) for head, width in zip(heads, widths, strict=True)).rstrip()]
    out += ["  ".join(line[h].ljust(w) for h, w in zip(heads, widths, strict=True)).rstrip() for line in lines]
    return "\n".join(out)
