"""The worst of rows: 200 mislabelled digits beside 200 natural ones, in the dense ANN and its spiking twin, float and 4
bits.

    python experiments/run.py --config=experiments/configs/canaries.py --workdir=runs/canaries

All other rows train in every model, so a model has nearly twice the rows of the quickstart. Expected on 2 x86 cores: a
minute. Expected result of LiRA on natural rows: an AUC of .68, .67 (ANN, float and 4 bits) and .74, .72 (SNN), and 7 to
10 % of the members at 1 % false positives. On canaries: an AUC above .998 and 98 to 99 % of the members.

`--config.splits.canary_kind=noise` makes other canaries. `--config.splits.canary_kind=unchanged
--config.splits.poison=4` leaves the canaries as they are and adds four mislabelled copies of each: LiRA then has an AUC
of .92 on them and finds 37 %, without the copies .66 and 10 % (both families, float). `canaries.py:smoke` is a run on
500 rows.
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
