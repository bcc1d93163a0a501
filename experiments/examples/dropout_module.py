"""A JAX developer with a flax.nnx module of one network, with flax's standard dropout.

    python -m experiments.examples.dropout_module --workdir=runs/dropout_module

The module also applies the bits of weights, so that a sweep over them changes something: `hyper.qmax_weight` is the
largest code, 0 for float. A module that did not read it would be refused.
"""

import argparse
from pathlib import Path

import jax
from flax import nnx

from jaxsnn_mia import config
from jaxsnn_mia.kernels import quantize
from jaxsnn_mia.models import Output
from jaxsnn_mia.pipeline.run import run_pipeline
from jaxsnn_mia.report import console, tables


class Dropping(nnx.Module):
    """D - 32 - C with dropout between."""

    def __init__(self, spec, *, rngs):
        self.first = nnx.Linear(spec.n_features, 32, rngs=rngs)
        self.drop = nnx.Dropout(0.3, rngs=rngs)
        self.last = nnx.Linear(32, spec.n_classes, rngs=rngs)

    def __call__(self, x, hyper, key, train):
        hidden = self.drop(jax.nn.relu(self.first(x)))
        kernel = quantize.weight(self.last.kernel[...], axis=-1, qmax=hyper.qmax_weight)
        return Output(hidden @ kernel + self.last.bias[...][None], None, {})


def main(workdir: Path) -> dict[tuple[int, str], float]:
    """The AUC of each (bits, attack)."""
    c = config.from_dict({
        "data": {"name": "wine"},
        "model": {"architecture": "experiments.examples.dropout_module:Dropping", "family": "ann"},
        "splits": {"n_shadows": 8},
        "train": {"epochs": 20, "lr": 1e-2},
        "metrics": {"replicates_auc": 50, "replicates_tpr": 20},
        "sweep": {"bits": (32, 2)},
    })  # fmt: skip
    run_pipeline(c, workdir)
    rows = tables.read(workdir)
    print(console.for_console(tables.table(rows)))
    return {(row["bits_weight"], row["attack"]): row["value"] for row in rows if row["metric"] == "auc"}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workdir", type=Path, required=True)
    main(parser.parse_args().workdir)
