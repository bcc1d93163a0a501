"""64 shadow models of the dense ANN and of its spiking twin on two real tables, attacked by four attacks.

    python experiments/run.py --config=experiments/configs/quickstart.py --workdir=runs/quickstart

Expected on 2 x86 cores: under a minute. Expected result: online LiRA has an AUC of about .66 (ANN) and .70 (SNN) on
digits, .56 and .57 on breast cancer, where the loss threshold has .54, .57 and .51, .51. `quickstart.py:smoke` is a run
on 500 rows of digits.
"""

from ml_collections import ConfigDict


def get_config(mode: str = "") -> ConfigDict:
    from jaxsnn_mia import config
    from jaxsnn_mia.settings import Config, as_dict

    c = ConfigDict(as_dict(Config()))
    c.sweep.dataset = ("digits", "breast_cancer")
    c.sweep.family = ("ann", "snn")
    return config.smoke(c, mode, sweep__dataset=("digits",), model__hidden=(32,), train__epochs=5, data__rows=500)
