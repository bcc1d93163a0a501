"""What commands of experiments come to, all run in forks of one process."""

import functools

from jaxsnn_mia.store.stage import STAGES
from tests import forks
from tests.runs import ROOT

RUN = "experiments/run.py"
CONFIG = f"--config={ROOT / 'experiments/configs/quickstart.py'}"
WORKDIR = "--workdir=/nonexistent/never/made"
HELPED = (
    *(f"experiments/{name}.py" for name in ("run", "audit_logits", "compare", "threats")),
    *(f"experiments.study.{name}" for name in ("run", "as_released", "tables", "waterfall")),
    "experiments.benchmarks.neurons",
)
HELPED_OF_ALL = tuple(
    f"experiments.benchmarks.{name}" for name in ("attacks", "convolutions", "integer", "quantization_sweep", "shadows")
)
# case -> flags of experiments/run.py, and what the error says
BAD = {
    "a typo in a flag": (["--confg=x"], "did you mean"),
    "no config": ([WORKDIR], "--config=FILE"),
    "no such config file": (["--config=none.py", WORKDIR], "none.py"),
    "a typo in a setting": ([CONFIG, WORKDIR, "--config.quantization.bitz=4"], "did you mean"),
    "another program's name": (
        [CONFIG, WORKDIR, "--config.train.learning_rate=1e-3"],
        "did you mean `config.train.lr`",
    ),
    "a field of no section": ([CONFIG, WORKDIR, "--config.epochs=3"], "did you mean `config.train.epochs`"),
    "an infinite rate": ([CONFIG, WORKDIR, "--config.train.lr=inf"], "`train.lr` must be above 0, got inf"),
    "a workdir for a config": ([f"--config={ROOT}", WORKDIR], "pass --config=experiments/resolved.py:"),
    "a page for a config": (["--config=runs/mine/report.html", WORKDIR], "resolved.py:runs/mine/config.json"),
    "an unknown name in a plain list": ([CONFIG, WORKDIR, "--config.attacks.names=lira,lyra"], 'did you mean "lira"'),
    "an empty workdir": ([CONFIG, "--workdir="], "--workdir=DIR"),
    "a store that is not known": ([CONFIG, "--workdir=hdfs://cluster/run"], "gs:// or s3://"),
    "a real number for an integer": ([CONFIG, WORKDIR, "--config.train.epochs=0.5"], "epochs"),
    "None for an integer": ([CONFIG, WORKDIR, "--config.train.epochs=None"], "epochs"),
    "an unknown stage": ([CONFIG, WORKDIR, "--stage=atack"], f"<{'|'.join(STAGES)}>"),
    "two ways to share": (["--worker", "--spmd", WORKDIR], "--worker and --spmd exclude each other"),
    "a patience of less than nothing": (["--patience=-1", WORKDIR], "patience"),
    "a list of no workdir": (["--list", WORKDIR], "there is no workdir"),
    "yes to nothing": (["--yes", WORKDIR], "--yes is for --clean"),
    "a stray argument": ([CONFIG, WORKDIR, "digits"], "unexpected argument 'digits'"),
    "bits out of range": (
        [CONFIG, WORKDIR, "--config.quantization.bits=1"],
        "`quantization.bits` must be an int in [2, 16]",
    ),
    "an unknown data set": ([CONFIG, WORKDIR, "--config.sweep.dataset=('mnist',)"], "breast_cancer"),
}
IMPORTED = (
    "absl.app", "ml_collections.config_flags", "sklearn.svm", "jaxsnn_mia.pipeline.run", "jaxsnn_mia.pipeline.cost",
    "jaxsnn_mia.pipeline.inventory", "jaxsnn_mia.runtime.spmd", "jaxsnn_mia.store.remote",
)  # fmt: skip


def help_of(name: str) -> list[str]:
    """The command that asks a script or a module for its help."""
    return [name, "--help"] if name.endswith(".py") else ["-m", name, "--help"]


@functools.cache
def outcomes() -> dict[str, forks.Outcome]:
    """By name in `HELPED`, whose help is asked for, and by case of `BAD`."""
    commands = {name: help_of(name) for name in HELPED}
    commands |= {case: [RUN, *flags] for case, (flags, _) in BAD.items()}
    return dict(zip(commands, forks.run(list(commands.values()), IMPORTED), strict=True))
