"""A workdir in an object store: the run works on a local copy, and what it finishes is copied there.

Object stores have no locks and no renames, so the stages keep to a local disk. Every `PUSH_SECONDS`, and at the end,
new files go out, those that make a stage or a checkpoint count last: whatever a kill leaves in the store is whole or is
passed over. One process at a time; processes that share groups need a workdir on a file system that they share.
"""

import contextlib
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

from absl import logging

from jaxsnn_mia.store import checkpoint
from jaxsnn_mia.store.files import StoreError
from jaxsnn_mia.store.stage import MANIFEST

SCHEMES = ("gs://", "s3://")
PUSH_SECONDS = 30.0
LAST = (checkpoint.DIGESTS, MANIFEST, "summary.json")


@contextlib.contextmanager
def opened(workdir: str, *, alone: bool = True) -> Iterator[Path]:
    """The folder to work in: `workdir` itself, or a mirror of an object store. ValueError for an object store where
    this process is not `alone`."""
    if not workdir.startswith(SCHEMES):
        if not workdir.strip() or "://" in workdir:
            raise ValueError(f"--workdir must be a folder, or a place in gs:// or s3://, got {workdir!r}.")
        yield Path(workdir).expanduser()
        return
    if not alone:
        raise ValueError(
            f"--workdir must be on a file system that all processes share, got {workdir}. "
            "Drop --worker, --distributed or --spmd, or pass a shared folder."
        )
    with mirrored(workdir) as local:
        yield local


@contextlib.contextmanager
def mirrored(url: str) -> Iterator[Path]:
    """A local folder with everything under `url` (gs://BUCKET/PATH or s3://BUCKET/PATH), copied back while the body
    runs and after it. StoreError where the store cannot be reached; needs gcsfs or s3fs."""
    from etils import epath

    root = epath.Path(url)
    with tempfile.TemporaryDirectory(prefix="jaxsnn_mia-") as folder, reachable(url):
        local = Path(folder)
        known = pull(root, local)
        stop = threading.Event()
        lock = threading.Lock()

        def copy() -> None:
            with lock:
                push(local, root, known)

        def keep_copying() -> None:
            while not stop.wait(PUSH_SECONDS):
                try:
                    copy()
                except Exception as error:  # a store that fails once may answer at the next push
                    logging.warning("could not copy to %s, trying again: %s", url, error)

        thread = threading.Thread(target=keep_copying, daemon=True)
        thread.start()
        try:
            yield local
        finally:
            stop.set()
            thread.join()
            copy()


@contextlib.contextmanager
def reachable(url: str) -> Iterator[None]:
    """Turns a missing client library or a store that does not answer into a StoreError."""
    try:
        yield
    except (ImportError, PermissionError, ConnectionError) as error:
        client = "gcsfs" if url.startswith("gs://") else "s3fs"
        raise StoreError(
            f"{url} cannot be used: {error}. Install {client} and give it credentials, or pass a local --workdir."
        ) from error


def pull(root, local: Path) -> dict[str, tuple[int, int]]:
    """Copies everything under `root` to `local`; gives the (size, time) of each file there."""
    known: dict[str, tuple[int, int]] = {}
    if not root.exists():
        return known
    for path in root.iterdir():
        target = local / path.name
        if path.is_dir():
            target.mkdir()
            known |= {f"{path.name}/{name}": seen for name, seen in pull(path, target).items()}
        else:
            target.write_bytes(path.read_bytes())
            known[path.name] = stamp(target)
    return known


def push(local: Path, root, known: dict[str, tuple[int, int]]) -> None:
    """Copies the files of `local` that differ from `known` to `root`, and removes there what is gone here."""
    there = sorted(files(local), key=lambda name: (Path(name).name in LAST, name))
    for name in there:
        with contextlib.suppress(FileNotFoundError):  # an old checkpoint may go meanwhile
            now = stamp(local / name)
            if known.get(name) != now:
                content = (local / name).read_bytes()
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                (root / name).write_bytes(content)
                known[name] = now
    for name in set(known) - set(there):
        (root / name).unlink(missing_ok=True)
        del known[name]


def files(local: Path) -> list[str]:
    """The finished files: neither hidden, nor claims, nor what Orbax is still writing."""
    names = [path.relative_to(local) for path in local.rglob("*") if path.is_file()]
    return [
        str(name)
        for name in names
        if name.suffix != ".claim"
        and not any(".orbax-checkpoint-tmp" in part or part.startswith(".") for part in name.parts)
    ]


def stamp(path: Path) -> tuple[int, int]:
    about = path.stat()
    return about.st_size, about.st_mtime_ns
