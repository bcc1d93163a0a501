"""Model inversion and gradient leakage on digits: an ANN and its spiking twin, in float and at 8 and 4 bits.

    python experiments/run.py --config=experiments/configs/inversion.py --workdir=runs/inversion
    python experiments/threats.py runs/inversion --against=digits-ann-bits32,digits-snn-bits32 --out=runs/inversion

32 examples are reconstructed from each of 16 models, and every class. The error on examples that a model trained on,
less that on others, is what training gave away. Expected on 2 x86 cores: 2 minutes.
`inversion.py:smoke` is a run on 300 rows.
"""

from ml_collections import ConfigDict


def get_config(mode: str = "") -> ConfigDict:
    from jaxsnn_mia import config
    from jaxsnn_mia.settings import Config, as_dict

    c = ConfigDict(as_dict(Config()))
    c.data.name = "digits"
    c.splits.n_shadows = 16
    c.model.readout = "leaky_integrator"
    c.quantization.what = "both"
    c.attacks.names = ("loss", "lira")
    c.inversion.names = ("white_class", "white_example", "black", "gradients", "gradients_layer", "gradients_ratio")
    c.inversion.image = (8, 8, 1)
    c.inversion.shadows = 16
    c.inversion.restarts = 2
    c.inversion.steps = 150
    c.sweep.family = ("ann", "snn")
    c.sweep.bits = (32, 8, 4)
    c.report.title = "Reconstructions from an ANN and its spiking twin"
    return config.smoke(
        c,
        mode,
        data__rows=300,
        model__hidden=(16,),
        model__time_steps=3,
        train__epochs=3,
        sweep__bits=(32,),
        inversion__targets=4,
        inversion__shadows=4,
        inversion__steps=5,
        inversion__batch_sizes=(2,),
    )
