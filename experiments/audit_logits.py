"""Audits models trained elsewhere, in any framework, by what they say; makes the report of experiments/run.py.

    python experiments/audit_logits.py --logits=logits.npy --labels=labels.npy --keep=keep.npy --workdir=runs/audit

--logits holds what S models say of N examples: logits, probabilities or log probabilities [S, N, C] or [S, N, A, C] (A
aligned queries of an example; of a binary model [S, N] of class 1), losses [S, N], or predicted labels [S, N].
--outputs says which; where the values leave two readings it is asked for. --keep [S, N] tells who trained on what
(true/false or 0/1), --labels [N] the true classes. One model alone has [N, C] and --keep [N], and meets the attacks
that need no references. Files are .npy, .npz (FILE.npz:NAME where it holds several arrays) or .csv (tables). One target
with its own references:

    ... --target_logits=target.npy --target_member=member.npy        [K, N, C] and [K, N]

All S models are then references and nothing is left out. Where they did not train on most of the examples, the offline
attacks run. Examples with too few models are left out and counted. --population_logits, --population_labels and
--target_population_logits are of examples that no model trained on; RMIA and attack P need them.
"""

import os
import sys

os.environ.setdefault("PJRT_NPROC", str(min(os.cpu_count() or 1, 4)))

from absl import app, flags

OUTPUTS = ("logits", "probabilities", "log_probabilities", "losses", "labels")
PATHS = {
    name: flags.DEFINE_string(name, None, help_)
    for name, help_ in {
        "logits": "What the models say, [S, N, C], [S, N, A, C] or [S, N]; see --outputs.",
        "labels": "Whole numbers [N].",
        "keep": "[S, N], who trained on what.",
        "target_logits": "[K, N, C] of separate targets.",
        "target_member": "[K, N], what they trained on.",
        "population_logits": "[S, Z, C] on examples that no model trained on.",
        "population_labels": "Whole numbers [Z].",
        "target_population_logits": "[K, Z, C].",
        "ids": "Your names of the examples [N], for records.csv and the page.",
    }.items()
}
OUTPUTS_ARE = flags.DEFINE_enum("outputs", None, OUTPUTS, "What --logits and its like hold.")
ATTACKS = flags.DEFINE_list("attacks", None, "Names of attacks; all that the arrays are enough for by default.")
FPRS = flags.DEFINE_list("fprs", ["0.01", "0.001"], "False positive rates.")
SEED = flags.DEFINE_integer("seed", 0, "Of the bootstrap.")
TITLE = flags.DEFINE_string("title", "Membership-inference audit", "Of the report.")
WORKDIR = flags.DEFINE_string("workdir", None, "Where the report goes.")
LISTS = ("labels", "population_labels", "ids")  # one value of each example


def load(path, name):
    """The array of a flag's file; ValueError names the flag."""
    from jaxsnn_mia.store import arrays

    if path is None:
        return None
    try:
        array = arrays.read(path)
    except ValueError as error:
        raise ValueError(f"--{name}: {error}") from None
    is_table = array.ndim == 2 and 1 in array.shape
    return array.ravel() if name in LISTS and is_table else array


def as_bool(array, name):
    """A membership; of one column it is that of one model."""
    import numpy as np

    if array is None:
        return None
    if array.ndim == 2 and array.shape[1] == 1 and array.shape[0] > 1:
        array = array[:, 0]
    if array.dtype == bool:
        return array
    if array.dtype.kind not in "fiu" or not np.isin(array, (0, 1)).all():
        raise ValueError(f"--{name} must hold true and false, or 0 and 1, got {array.dtype} {array.ravel()[:3]}.")
    return np.asarray(array, bool)


def rates(texts):
    try:
        return tuple(map(float, texts))
    except ValueError:
        raise ValueError(f"--fprs must be numbers, as in 0.01,0.001, got {','.join(texts)}.") from None


def main(argv):
    from pathlib import Path

    from jaxsnn_mia import audit
    from jaxsnn_mia.report import console, tables
    from jaxsnn_mia.runtime import terminal
    from jaxsnn_mia.settings import Metrics
    from jaxsnn_mia.store.files import StoreError

    if not flags.FLAGS["verbosity"].present:
        terminal.plain()
    try:
        if argv[1:]:
            raise ValueError(f"unexpected argument {argv[1]!r}; flags start with --.")
        for name in ("logits", "keep", "workdir"):
            if not flags.FLAGS[name].value:
                raise ValueError(f"--{name} is needed.")
        settings = Metrics(fprs=rates(FPRS.value), seed=SEED.value)
        a = {name: load(flag.value, name) for name, flag in PATHS.items()}
        kind = OUTPUTS_ARE.value
        models = audit.Models(a["logits"], a["labels"], a["population_logits"], a["population_labels"], kind)
        targets = None
        if a["target_logits"] is not None:
            targets = audit.Models(
                a["target_logits"], a["labels"], a["target_population_logits"], a["population_labels"], kind
            )
        keep, member = as_bool(a["keep"], "keep"), as_bool(a["target_member"], "target_member")
        names = None if ATTACKS.value is None else tuple(ATTACKS.value)
        workdir = Path(WORKDIR.value).expanduser()
        rows = audit.run(
            models, keep, workdir, targets=targets, member_kn=member, names=names, settings=settings,
            title=TITLE.value, ids=a["ids"],
        )  # fmt: skip
    except (ValueError, OSError, StoreError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)
    print(audit.how(workdir))
    print(console.for_console(tables.table(rows)))
    for line in tables.strongest_table(rows):
        print("\nstrongest, chosen on half of the pairs and measured on the rest: ", end="")
        print("; ".join(f"{head} {cell}" for head, cell in line.items() if head != "variant"))
    print(f"\n{workdir}/report.html")


if __name__ == "__main__":
    app.run(main)
