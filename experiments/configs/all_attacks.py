"""Every attack of the suite on the dense ANN and its spiking twin, trained on digits.

    python experiments/run.py --config=experiments/configs/all_attacks.py --workdir=runs/all_attacks

The report says which attack is the strongest at each false positive rate, chosen on half of the pairs of shadows and
measured on the other half. `--config.data.name=...` audits other data. Expected on 2 x86 cores: three minutes (with 16
shadows 47 seconds). Expected result: `combine` and LiRA are the strongest. `all_attacks.py:smoke` is a run on 500 rows.
"""

from ml_collections import ConfigDict


def get_config(mode: str = "") -> ConfigDict:
    from jaxsnn_mia import attacks, config
    from jaxsnn_mia.settings import Config, as_dict

    c = ConfigDict(as_dict(Config()))
    c.sweep.family = ("ann", "snn")
    c.train.snapshot_epochs = (5, 10, 20, 30)
    c.attacks.names = tuple(attacks.ATTACKS)
    c.report.title = "Every attack, on an ANN and its spiking twin"
    return config.smoke(
        c,
        mode,
        data__rows=500,
        splits__n_shadows=12,
        model__hidden=(16,),
        train__epochs=6,
        train__snapshot_epochs=(2, 4),
    )
