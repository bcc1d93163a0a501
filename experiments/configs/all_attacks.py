"""Every attack of the suite on the dense ANN and its spiking twin, trained on digits.

    python experiments/run.py --config=experiments/configs/all_attacks.py --workdir=runs/all_attacks

The report says which attack is the strongest at each false positive rate, chosen on half of the pairs of shadows and
measured on the other half. `--config.data.name=...` audits other data. Expected on 2 x86 cores: some ten minutes.
`all_attacks.py:smoke` is a run on 500 rows.

Which wins where, on digits (64 shadows, ANN and SNN; TPR at 1 % FPR in brackets; AMD EPYC, jax 0.10.2, 2026-11-27):
`lira` among all, AUC .674 (9.2 %) and .712 (11.1 %). Of RMIA, temperature 2 has the AUC in spiking networks
(`rmia_online_t2` .705, `rmia_online` .688), and gamma 1 the TPR at few false positives (`rmia_gamma1` 7.5 and 9.3 %,
`rmia` 4.9 and 8.1 %). Where labels alone are given, up to 17 of an example, `label_only_transfer`: .616 (6.5 %) and
.631 (7.1 %), beside .538 and .558 (1 %) of `boundary`. With one model and a population, `quantile`: .543 and .572 (1.3
%).
"""

from ml_collections import ConfigDict


def get_config(mode: str = "") -> ConfigDict:
    from jaxsnn_mia import attacks, config
    from jaxsnn_mia.settings import Config, as_dict

    c = ConfigDict(as_dict(Config()))
    c.sweep.family = ("ann", "snn")
    c.train.snapshot_epochs = (5, 10, 20, 30)
    # of one query it is lira_pooled
    c.attacks.names = tuple(name for name in attacks.ATTACKS if name != "lira_multivariate")
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
