"""Privacy, accuracy and energy together: an ANN and its spiking twin at several numbers of time steps, on digits.

    python experiments/run.py --config=experiments/configs/triangle.py --workdir=runs/triangle

The report's section Energy has test accuracy, the AUC of the strongest attack, firing rates, synaptic operations and
an estimate of the energy of one inference. Expected on 2 x86 cores: 70 seconds. Expected result, at 2, 4 and 10 steps:
test accuracy .97 (ANN) and .96, .96, .95 (SNN), AUC .67 and .72, .72, .70, energy 44 and 38, 39, 41 nJ.
`triangle.py:smoke` is a run on 600 rows.
"""

from ml_collections import ConfigDict


def get_config(mode: str = "") -> ConfigDict:
    from jaxsnn_mia import config
    from jaxsnn_mia.settings import Config, as_dict

    c = ConfigDict(as_dict(Config()))
    c.splits.n_shadows = 32
    c.model.readout = "leaky_integrator"
    c.signals.names = ("phi", "correct", "rates")
    c.sweep.family = ("ann", "snn")
    c.sweep.time_steps = (2, 4, 10)
    c.report.title = "Privacy, accuracy, energy"
    return config.smoke(c, mode, data__rows=600, model__hidden=(16,), train__epochs=3, sweep__time_steps=(2,))
