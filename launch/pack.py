"""Packs a finished run as an artefact: settings, results, report, manifests and their hashes, without checkpoints.

    python launch/pack.py WORKDIR [--out=run.zip]

hashes.json in the archive has the sha256 of each file in it. `python launch/pack.py --check=run.zip` compares them.
"""

import argparse
import hashlib
import json
import sys
import zipfile
from pathlib import Path

TOP = ("config.json", "results.csv", "report.html", "summary.json", "records.csv", "left_out.txt", "scores.npz")
HASHES = "hashes.json"
LARGE = ("group-", "signals-", "attacks-")  # folders that stay: checkpoints, signals, scores
DATE = (1980, 1, 1, 0, 0, 0)  # of every member, so that equal runs make equal archives


def chosen(workdir: Path) -> list[Path]:
    """The files of an artefact. ValueError where no finished run is there."""
    if not (workdir / "summary.json").is_file():
        raise ValueError(f"{workdir} holds no finished run: summary.json is missing. Run it up to its report.")
    files = [workdir / name for name in TOP if (workdir / name).is_file()]
    for path in sorted(workdir.rglob("*")):
        inside = path.relative_to(workdir).parts
        small = path.suffix in (".json", ".jsonl") or any(part.startswith("metrics") for part in inside[:-1])
        if path.is_file() and small and len(inside) > 1 and not any(part.startswith(LARGE) for part in inside):
            files.append(path)
    return files


def pack(workdir: Path, out: Path) -> dict[str, str]:
    """Writes the archive and gives the hash of each file in it."""
    files = chosen(workdir)
    hashes = {}
    part = out.with_name(f".{out.name}.tmp")
    with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in files:
            name, content = str(path.relative_to(workdir)), path.read_bytes()
            hashes[name] = hashlib.sha256(content).hexdigest()
            archive.writestr(zipfile.ZipInfo(name, DATE), content, zipfile.ZIP_DEFLATED)
        archive.writestr(zipfile.ZipInfo(HASHES, DATE), json.dumps(hashes, indent=1, sort_keys=True))
    part.replace(out)
    return hashes


def check(archive: Path) -> list[str]:
    """The names of files that are missing, added or changed since the archive was made."""
    with zipfile.ZipFile(archive) as held:
        said = json.loads(held.read(HASHES))
        found = {n: hashlib.sha256(held.read(n)).hexdigest() for n in held.namelist() if n != HASHES}
    return sorted(name for name in said.keys() | found.keys() if said.get(name) != found.get(name))


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workdir", type=Path, nargs="?")
    parser.add_argument("--out", type=Path, help="the archive; WORKDIR.zip by default")
    parser.add_argument("--check", type=Path, help="an archive whose hashes are compared")
    given = parser.parse_args(argv)
    try:
        if given.check:
            changed = check(given.check)
            if changed:
                raise ValueError(f"{given.check}: other content than when it was packed: {', '.join(changed)}.")
            print(f"{given.check}: every file is as it was packed")
            return
        if given.workdir is None:
            raise ValueError("name a workdir, or an archive by --check.")
        out = given.out or given.workdir.with_name(f"{given.workdir.name}.zip")
        hashes = pack(given.workdir, out)
        print(f"{out}: {len(hashes)} files, {out.stat().st_size / 1e6:.2f} MB")
    except (ValueError, OSError, KeyError, zipfile.BadZipFile) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main(sys.argv[1:])
