"""Float, 16, 8, 4 and 2 bits of weights, activations, both, and membranes, in the dense ANN and its spiking twin.

    python experiments/run.py --config=experiments/configs/quantization_sweep.py --workdir=runs/quantization_sweep

All widths of a family are trained as one ensemble with shared splits and keys: 35 variants of 64 shadows on digits,
seven programs. `--config.data.name=...` audits other data. Expected on 2 x86 cores: two to five minutes.
`quantization_sweep.py:smoke` is a run on 500 rows at two widths.
"""

from ml_collections import ConfigDict


def get_config(mode: str = "") -> ConfigDict:
    from jaxsnn_mia import config
    from jaxsnn_mia.settings import Config, as_dict

    c = ConfigDict(as_dict(Config()))
    c.sweep.family = ("ann", "snn")
    c.sweep.bits = (32, 16, 8, 4, 2)
    c.sweep.quantize = ("weight", "activation", "both", "state")
    c.report.title = "Membership inference under quantization"
    return config.smoke(c, mode, data__rows=500, model__hidden=(16,), train__epochs=4, sweep__bits=(32, 4))
