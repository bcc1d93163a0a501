"""64 shadow models of the dense ANN and of its spiking twin on two real tables, attacked by four attacks.

python experiments/run.py --config=experiments/configs/quickstart.py --workdir=runs/quickstart
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    from jaxsnn_mia import config

    c = ConfigDict(config.as_dict(config.Config()))
    c.sweep.dataset = ("digits", "breast_cancer")
    c.sweep.family = ("ann", "snn")
    return c
