"""Audits models trained elsewhere, in any framework, by their logits or losses; makes the report of experiments/run.py.

    python experiments/audit_logits.py --logits=logits.npy --labels=labels.npy --keep=keep.npy --workdir=runs/audit

logits are [S, N, C] or [S, N, A, C] (A aligned queries of an example) of S models on N examples, or losses [S, N];
keep [S, N] tells who trained on what (true/false or 0/1); labels [N]. Files are .npy, .npz (FILE.npz:NAME where it
holds several arrays) or .csv (tables: losses, keep, labels). One target with its own references:

    ... --target_logits=target.npy --target_member=member.npy        [K, N, C] and [K, N]

All S models are then references and nothing is left out. Where they did not train on most of the examples, the offline
attacks run. Examples with too few models are left out and counted. --population_logits, --population_labels and
--target_population_logits are of examples that no model trained on; RMIA and attack P need them.
"""

import os
import sys

os.environ.setdefault("PJRT_NPROC", str(min(os.cpu_count() or 1, 4)))

from absl import app, flags

PATHS = {
    name: flags.DEFINE_string(name, None, help_)
    for name, help_ in {
        "logits": "[S, N, C], [S, N, A, C], or losses [S, N].",
        "labels": "Integers [N].",
        "keep": "[S, N], who trained on what.",
        "target_logits": "[K, N, C] of separate targets.",
        "target_member": "[K, N], what they trained on.",
        "population_logits": "[S, Z, C] on examples that no model trained on.",
        "population_labels": "Integers [Z].",
        "target_population_logits": "[K, Z, C].",
    }.items()
}
ATTACKS = flags.DEFINE_list("attacks", None, "Names of attacks; all that the arrays are enough for by default.")
FPRS = flags.DEFINE_list("fprs", ["0.01", "0.001"], "False positive rates.")
SEED = flags.DEFINE_integer("seed", 0, "Of the bootstrap.")
WORKDIR = flags.DEFINE_string("workdir", None, "Where the report goes.")


def load(path, name):
    """The array of a file; ValueError says what is wrong with it."""
    import numpy as np

    if path is None:
        return None
    file, _, key = path.partition(".npz:") if ".npz:" in path else (path, "", "")
    file += ".npz" if key else ""
    if not os.path.exists(file):
        raise ValueError(f"--{name}: {file} is not there.")
    if file.endswith(".csv"):
        array = np.loadtxt(file, delimiter=",", ndmin=1)
        return array.astype(np.int64) if name.endswith("labels") else array
    if file.endswith(".npy"):
        return np.load(file, mmap_mode="r", allow_pickle=False)
    if file.endswith(".npz"):
        with np.load(file, allow_pickle=False) as arrays:
            if not key and len(arrays.files) != 1:
                raise ValueError(f"--{name}: {file} holds {arrays.files}; name one by {file}:NAME.")
            if key and key not in arrays.files:
                raise ValueError(f"--{name}: {file} holds {arrays.files}, not {key!r}.")
            return arrays[key or arrays.files[0]]
    raise ValueError(f"--{name} must be a .npy, .npz or .csv file, got {path}.")


def as_bool(array, name):
    import numpy as np

    if array is None or array.dtype == bool:
        return array
    if not np.isin(array, (0, 1)).all():
        raise ValueError(f"--{name} must hold true and false, or 0 and 1, got {array.dtype} up to {array.max()}.")
    return np.asarray(array, bool)


def main(argv):
    from pathlib import Path

    from jaxsnn_mia import audit
    from jaxsnn_mia.report import tables
    from jaxsnn_mia.runtime import terminal
    from jaxsnn_mia.settings import Metrics

    if not flags.FLAGS["verbosity"].present:
        terminal.plain()
    try:
        if argv[1:]:
            raise ValueError(f"unexpected argument {argv[1]!r}; flags start with --.")
        for name in ("logits", "keep", "workdir"):
            if flags.FLAGS[name].value is None:
                raise ValueError(f"--{name} is needed.")
        a = {name: load(flag.value, name) for name, flag in PATHS.items()}
        models = audit.Models(a["logits"], a["labels"], a["population_logits"], a["population_labels"])
        targets = None
        if a["target_logits"] is not None:
            targets = audit.Models(
                a["target_logits"], a["labels"], a["target_population_logits"], a["population_labels"]
            )
        settings = Metrics(fprs=tuple(map(float, FPRS.value)), seed=SEED.value)
        keep, member = as_bool(a["keep"], "keep"), as_bool(a["target_member"], "target_member")
        names = None if ATTACKS.value is None else tuple(ATTACKS.value)
        rows = audit.run(
            models, keep, Path(WORKDIR.value), targets=targets, member_kn=member, names=names, settings=settings
        )
    except (ValueError, OSError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)
    print(audit.attackable(keep, targets is not None).in_words(audit.partners(keep), targets))
    print(tables.as_text(tables.table(rows)))
    for line in tables.strongest_table(rows):
        print("\nstrongest, chosen on half of the pairs and measured on the rest: ", end="")
        print("; ".join(f"{head} {cell}" for head, cell in line.items() if head != "variant"))
    print(f"\n{WORKDIR.value.rstrip('/')}/report.html")


if __name__ == "__main__":
    app.run(main)
