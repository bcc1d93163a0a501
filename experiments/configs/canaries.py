"""The worst of rows: 200 mislabelled digits beside 200 natural ones, in the dense ANN and its spiking twin, float and 4
bits.

    python experiments/run.py --config=experiments/configs/canaries.py --workdir=runs/canaries

All other rows train in every model, so a model has nearly twice the rows of the quickstart. `--config.splits.poison=4`
adds four copies of each canary with another label; `--config.splits.canary_kind=noise` makes other canaries.
EXPECTED `canaries.py:smoke` is a run on 500 rows.
"""

from ml_collections import ConfigDict


def get_config(mode: str = "") -> ConfigDict:
    from jaxsnn_mia import config
    from jaxsnn_mia.settings import Config, as_dict

    c = ConfigDict(as_dict(Config()))
    c.splits.canaries = 200
    c.splits.natural = 200
    c.sweep.family = ("ann", "snn")
    c.sweep.bits = (32, 4)
    c.report.title = "Canaries beside natural rows"
    return config.smoke(
        c, mode, splits__canaries=60, splits__natural=60, data__rows=500, model__hidden=(32,), train__epochs=5
    )
