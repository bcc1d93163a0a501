"""Attribute inference on breast cancer: one column guessed from the others, the label and the model.

    python experiments/run.py --config=experiments/configs/attribute.py --workdir=runs/attribute
    python experiments/threats.py runs/attribute --out=runs/attribute \
        --against=breast_cancer-ann-bits32,breast_cancer-snn-bits32

The mean texture of a tumour, in quarters of the data. What counts is the advantage over boosted trees that know no
model: the advantage on examples that a model trained on, less that on others. Expected on 2 x86 cores: 20 seconds.
`--config.attribute.column=NAME` guesses another; `attribute.py:smoke` is a run on 150 rows.
"""

from ml_collections import ConfigDict


def get_config(mode: str = "") -> ConfigDict:
    from jaxsnn_mia import config
    from jaxsnn_mia.attacks.attribute.scores import ATTRIBUTE_ATTACKS
    from jaxsnn_mia.settings import Config, as_dict

    c = ConfigDict(as_dict(Config()))
    c.data.name = "breast_cancer"
    c.splits.n_shadows = 64
    c.model.readout = "leaky_integrator"
    c.quantization.what = "both"
    c.attacks.names = ("loss", "lira")
    c.attribute.names = tuple(ATTRIBUTE_ATTACKS)
    c.attribute.column = "mean texture"
    c.attribute.bins = 4
    c.sweep.family = ("ann", "snn")
    c.sweep.bits = (32, 8, 4)
    c.report.title = "A column guessed with the help of a model"
    return config.smoke(
        c, mode, data__rows=150, model__hidden=(16,), model__time_steps=3, train__epochs=3, sweep__bits=(32,)
    )
