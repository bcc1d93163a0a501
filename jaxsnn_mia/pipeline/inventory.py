"""What a workdir holds, finished or not, and how to be rid of what is not."""

import json
import re
import shutil
import time
from pathlib import Path
from typing import Any, NamedTuple

from jaxsnn_mia.store.files import StoreError, digest, intact
from jaxsnn_mia.store.stage import MANIFEST, STAGE_VERSION, broken
from jaxsnn_mia.store.workdir import lock
from jaxsnn_mia.training.claims import is_dead

STAGE = re.compile(rf"({'|'.join(STAGE_VERSION)})-[0-9a-f]{{12}}")

LEFT = re.compile(r"\..+\.tmp|group-\d+\.claim|\.writing-.+|.+\.orbax-checkpoint-tmp.*")


class Item(NamedTuple):
    """A stage's folder: `variant` is "" where all share it, `about` its manifest, empty where it is not finished."""

    path: Path
    variant: str
    about: dict[str, Any]


def items(workdir: Path) -> list[Item]:
    """Every stage, those that all variants share first. StoreError where there is no such workdir."""
    if not (workdir / "config.json").is_file() and not any(STAGE.fullmatch(path.name) for path in workdir.glob("*-*")):
        raise StoreError(f"there is no workdir {workdir}. Pass the --workdir of a run, a local folder.")
    folders = (("", workdir), *((path.name, path) for path in sorted(workdir.iterdir()) if is_folder(path)))
    order = list(STAGE_VERSION)
    stages = [
        Item(path, variant, manifest(path))
        for variant, folder in folders
        for path in folder.iterdir()
        if STAGE.fullmatch(path.name) and is_folder(path)
    ]
    return sorted(stages, key=lambda item: (item.variant, order.index(item.path.name[:-13]), item.path.name))


def is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def manifest(path: Path) -> dict[str, Any]:
    """Empty where there is none; one that cannot be read is an error."""
    try:
        return json.loads((path / MANIFEST).read_text())
    except FileNotFoundError:
        return {}


def size(path: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    files = path.rglob("*") if is_folder(path) else [path]
    return sum(file.lstat().st_size for file in files if file.is_symlink() or file.is_file())


def age(seconds: float) -> str:
    """Seconds in the largest unit that there is more than one of, as "3 hours"."""
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= 2 * length:
            return f"{int(seconds / length)} {unit}s"
    return f"{int(max(seconds, 0))} seconds"


def as_text(stages: list[Item]) -> str:
    """The table that --list prints."""
    lines = [f"{'variant':24} {'stage':26} {'of':16} {'state':10} {'age':>11} {'MB':>9} {'seconds':>8} {'peak MB':>8}"]
    for item in stages:
        written = max(path.stat().st_mtime for path in (item.path, *item.path.glob(MANIFEST)))
        seconds, peak = (item.about.get(name) for name in ("seconds", "peak_host_bytes"))
        taken = "" if seconds is None else f"{seconds:.1f}", "" if peak is None else f"{peak / 1e6:.0f}"
        lines.append(
            f"{item.variant:24} {item.path.name:26} {item.about.get('inputs', {}).get('name', ''):16} "
            f"{'finished' if item.about else progress(item.path):10} "
            f"{age(time.time() - written):>11} {size(item.path) / 1e6:9.2f} "
            f"{taken[0]:>8} {taken[1]:>8}"
        )
    unfinished = sum(not item.about for item in stages)
    lines.append(f"{len(stages)} stages, {unfinished} unfinished, {sum(size(i.path) for i in stages) / 1e6:.2f} MB")
    return "\n".join(lines)


def progress(path: Path) -> str:
    """ "unfinished", or how much of a training is done, by the checkpoints of its groups."""
    try:
        plan = json.loads((path / "plan.json").read_text())
        epochs = json.loads((path.parents[1] / "config.json").read_text())["config"]["train"]["epochs"]
    except (OSError, ValueError, KeyError, TypeError):
        return "unfinished"
    done = 0
    for group in path.glob("group-?????"):
        kept = [int(folder.name.removeprefix("epoch-")) for folder in group.glob("epoch-??????")]
        done += max(kept, default=0)
    return f"{100 * done / (plan['groups'] * epochs):.0f} % done"


def verify(workdir: Path) -> list[str]:
    """What is not as it was written, by its path in the workdir: files of finished stages, and what the report was made
    of. StoreError where there is no such workdir."""
    found = []
    for path in sorted({*workdir.glob("*-*"), *workdir.glob("*/*-*")}):
        if STAGE.fullmatch(path.name) and is_folder(path) and is_folder(path.parent):
            found += [str((path / name).relative_to(workdir)) for name in broken(path) or ()]
    if not found:
        items(workdir)
    return found + [name for name in ("config.json", "summary.json") if not agrees(workdir / name)]


def agrees(path: Path) -> bool:
    """Whether a file of JSON has the digest that it says; true where there is none, or it is of an earlier version."""
    try:
        held = json.loads(path.read_text())
        if path.name == "config.json":
            return held["hash"] == digest(held["config"])
        whole = held.pop("digest", None) in (None, digest(held))
        return whole and all(intact(path.parent / name, sha) for name, sha in held["files"].items())
    except FileNotFoundError:
        return True
    except (ValueError, KeyError, TypeError, AttributeError):
        return False


def leftovers(workdir: Path) -> list[Path]:
    """Unfinished stages, and what a kill left in others and beside them: files that were being written, claims of dead
    processes. Nothing outside of stages but in the workdir itself and the folders of its variants."""
    stages_of = items(workdir)
    unfinished = [item.path for item in stages_of if not item.about]
    beside = {workdir, *(item.path.parent for item in stages_of)}
    others = [path for folder in sorted(beside) for path in folder.iterdir()]
    inside = [path for item in stages_of if item.about for path in item.path.rglob("*")]
    return unfinished + sorted(path for path in {*others, *inside} if LEFT.fullmatch(path.name))


def check_free(workdir: Path) -> None:
    """StoreError where a process holds a group of shadows."""
    for claim in workdir.glob("*/*/*.claim"):
        if not is_dead(claim):
            raise StoreError(f"{claim} is held by {claim.read_text().strip()!r}. Wait for that process or stop it.")


def clean(workdir: Path, *, agreed: bool = False) -> None:
    """Lists the leftovers and removes them, once `agreed` or after a "y" on stdin. StoreError where a process works in
    the workdir."""
    items(workdir)
    with lock(workdir):
        check_free(workdir)
        unfinished = leftovers(workdir)
        sizes = {path: size(path) for path in unfinished}
        for path in unfinished:
            print(f"{sizes[path] / 1e6:9.2f} MB  {path.relative_to(workdir)}")
        if not unfinished:
            print(f"nothing to remove in {workdir}")
            return
        if any(path.name.startswith("train-") for path in unfinished):
            print("a training among them would begin anew; without --clean it goes on from its last checkpoint")
        if not agreed and not said_yes(f"remove these {len(unfinished)}? [y/N] "):
            print("nothing was removed")
            return
        for path in unfinished:
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        print(f"removed {len(unfinished)}, {sum(sizes.values()) / 1e6:.2f} MB")


def said_yes(question: str) -> bool:
    try:
        return input(question).strip().lower() in ("y", "yes")
    except EOFError:
        print()
        return False
