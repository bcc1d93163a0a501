"""64 shadow models of the dense ANN and its spiking twin on Location-30, the check-ins of the attack literature.

    python experiments/run.py --config=experiments/configs/location30.py --workdir=runs/location30 \\
        --config.data.dir=FOLDER

FOLDER holds `dataset_location.tgz`, which the error says where to get. Expected on 2 x86 cores: 80 seconds. Expected
result: every model fits its half, test accuracy .60 (ANN) and .50 (SNN); online LiRA has an AUC of .99 and finds 80 and
74 % of the members at 1 % FPR, where the loss threshold has .91, .92 and 2 %. `location30.py:smoke` is a run on 1,500
rows.
"""

from ml_collections import ConfigDict


def get_config(mode: str = "") -> ConfigDict:
    from jaxsnn_mia import config
    from jaxsnn_mia.settings import Config, as_dict

    c = ConfigDict(as_dict(Config()))
    c.data.name = "location30"
    c.model.hidden = (256,)
    c.sweep.family = ("ann", "snn")
    c.report.title = "Location-30: a dense ANN and its spiking twin"
    return config.smoke(c, mode, data__rows=1500, model__hidden=(32,), train__epochs=4)
