"""Every attack of the suite on the dense ANN and its spiking twin, trained on digits.

    python experiments/run.py --config=experiments/configs/all_attacks.py --workdir=runs/all_attacks

The report says which attack is the strongest at each false positive rate, chosen on half of the pairs of shadows and
measured on the other half. `--config.data.name=...` audits other data.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    from jaxsnn_mia import attacks, config

    c = ConfigDict(config.as_dict(config.Config()))
    c.sweep.family = ("ann", "snn")
    c.train.snapshot_epochs = (5, 10, 20, 30)
    c.attacks.names = tuple(attacks.ATTACKS)
    c.report.title = "Every attack, on an ANN and its spiking twin"
    return c
